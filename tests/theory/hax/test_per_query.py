"""Certified bits of a mean accuracy, with answers revealed and without."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recall_lab.tasks import certified_bits
from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import per_query
from recall_lab.theory.hax.encoders import strategies
from recall_lab.theory.hax.per_query import allowed_accuracy, best_accuracy


@pytest.mark.parametrize("revealed", [False, True])
@pytest.mark.parametrize(
    "questions, values, states, best, allowed",
    [(2, 2, 2, 3 / 4, 0.8900), (2, 2, 3, 7 / 8, 0.9673), (2, 3, 2, 5 / 9, 0.7407), (3, 2, 2, 3 / 4, 0.8260)],
)
def test_the_best_memories_are_those_specified_and_below_the_bound(
    questions: int, values: int, states: int, best: float, allowed: float, revealed: bool
) -> None:
    assert best_accuracy(questions, values, states, revealed=revealed)[-1] == pytest.approx(best)
    assert allowed_accuracy(math.log2(states), stored=float(questions), values=values) == pytest.approx(allowed, abs=5e-5)


@pytest.mark.parametrize("questions, values", per_query.SIZES)
def test_revealed_answers_make_no_best_memory_better(questions: int, values: int) -> None:
    without, given_them = (best_accuracy(questions, values, values**questions, revealed=revealed) for revealed in (False, True))
    np.testing.assert_array_equal(without, given_them)


REVEALED = strategies(3, 2, revealed=True)


@given(states=st.integers(1, 8), data=st.data())
def test_no_memory_certifies_more_than_its_bits_however_answers_are_guessed(states: int, data: st.DataObject) -> None:
    state = data.draw(arrays(np.int64, 8, elements=st.integers(0, states - 1)))
    strategy = data.draw(arrays(np.int64, states, elements=st.integers(0, len(REVEALED) - 1)))
    accuracy = REVEALED[strategy[state], np.arange(8)].mean()
    assert certified_bits(float(accuracy), stored=3.0, values=2) <= math.log2(states) + 1e-9


@given(values=st.integers(2, 64), share=st.floats(0, 0.99), stored=st.floats(1, 300))
def test_the_accuracy_allowed_certifies_just_the_bits(values: int, share: float, stored: float) -> None:
    bits = share * stored * math.log2(values)
    assert certified_bits(allowed_accuracy(bits, stored=stored, values=values), stored=stored, values=values) == pytest.approx(
        bits, abs=1e-6
    )
    assert allowed_accuracy(stored * math.log2(values) + share, stored=stored, values=values) == 1.0


def test_answers_taken_as_revealed_before_they_are_asked_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(questions, values, *, revealed):
        right = strategies(questions, values, revealed=revealed)
        return right | (np.arange(questions) == questions - 1) & revealed

    monkeypatch.setattr(per_query, "strategies", told)
    assert not CLAIMS["hax.per_query"].check("quick", seed=0).holds


def test_taking_every_wrong_answer_for_one_and_the_same_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without e log2(v-1) the bound is that of two values, and false for three."""

    def of_two(accuracy, *, stored, values):
        return certified_bits(accuracy, stored=stored, values=values) + stored * (1 - accuracy) * math.log2(values - 1)

    monkeypatch.setattr(per_query, "certified_bits", of_two)
    assert not CLAIMS["hax.per_query"].check("quick", seed=0).holds
