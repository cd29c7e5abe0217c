"""How many states exact answers take."""

import numpy as np
import pytest

from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import counting
from recall_lab.theory.hax.encoders import strategies


def test_strategies_that_hear_the_answer_before_they_guess_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(questions, values, *, revealed):
        right = strategies(questions, values, revealed=revealed)
        return right | (np.arange(questions) == questions - 1) & revealed  # the last answer leaks

    monkeypatch.setattr(counting, "strategies", told)
    assert not CLAIMS["hax.counting"].check("quick", seed=0).holds


def test_a_lost_strategy_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then not even a state a table is enough."""
    monkeypatch.setattr(counting, "strategies", lambda questions, values, *, revealed: strategies(questions, values, revealed=revealed)[1:])
    assert not CLAIMS["hax.counting"].check("quick", seed=0).holds
