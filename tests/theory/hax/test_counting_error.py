"""How often all answers are right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import counting_error
from recall_lab.theory.hax.counting_error import answered_whole
from recall_lab.theory.hax.encoders import strategies


@given(state=arrays(np.int64, 27, elements=st.integers(0, 30)))
def test_no_more_tables_are_answered_whole_than_states_are_used(state: np.ndarray) -> None:
    used = len(np.unique(state))
    assert answered_whole(state, 3, 3, revealed=False) <= used
    assert answered_whole(state, 3, 3, revealed=True) == used  # the most frequent answers lead to a table of the state


def test_the_most_frequent_answers_of_a_state_need_not_be_a_table_of_it() -> None:
    tables_of_a_state = {(0, 0, 1), (0, 1, 0), (1, 0, 0)}
    state = np.array([0 if (a, b, c) in tables_of_a_state else 1 + 4 * a + 2 * b + c for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    assert answered_whole(state, 3, 2, revealed=False) == 5
    assert answered_whole(state, 3, 2, revealed=True) == 6


def test_one_wrong_answer_forgiven_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(questions, values, *, revealed):
        right = strategies(questions, values, revealed=revealed)
        return right | (right.sum(axis=2, keepdims=True) == questions - 1)

    monkeypatch.setattr(counting_error, "strategies", lenient)
    assert not CLAIMS["hax.counting_error"].check("quick", seed=0).holds


def test_one_wrong_answer_forgiven_to_random_memories_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(state, questions, values, *, revealed):
        return min(len(state), values * answered_whole(state, questions, values, revealed=revealed))

    monkeypatch.setattr(counting_error, "answered_whole", lenient)
    assert not CLAIMS["hax.counting_error"].check("quick", seed=0).holds


def test_a_memory_that_is_not_the_best_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting_error, "best_memories", lambda score, states: np.maximum(np.arange(states), 1))
    assert not CLAIMS["hax.counting_error"].check("quick", seed=0).holds
