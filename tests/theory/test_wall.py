"""Certified bits against memories and channels whose information is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recall_lab.tasks import certified_bits
from recall_lab.theory import CLAIMS, wall
from recall_lab.theory.wall import keep_some


@given(pairs=st.integers(1, 64), values=st.integers(2, 4096), distinct=st.booleans())
def test_no_partial_memory_certifies_more_than_it_keeps(pairs: int, values: int, distinct: bool) -> None:
    memory = keep_some(min(pairs, values) if distinct else pairs, values, distinct=distinct)
    assert np.all(memory.certified <= memory.stored + 1e-9)
    assert memory.certified[0] == pytest.approx(0, abs=1e-9)
    assert memory.certified[-1] == pytest.approx(memory.stored[-1], abs=1e-9)


@given(data=st.data(), values=st.integers(2, 6))
def test_no_channel_certifies_more_than_its_mutual_information(data: st.DataObject, values: int) -> None:
    shape = (values, values)
    channel = data.draw(arrays(np.float64, shape, elements=st.floats(0.01, 1)))
    joint = channel / channel.sum(axis=1, keepdims=True) / values  # a uniform value, and what is answered for it
    answered = joint.sum(axis=0)
    information = float((joint * np.log2(joint / (answered / values))).sum())
    assert certified_bits(float(np.trace(joint)), stored=1.0, values=values) <= information + 1e-9


@given(values=st.integers(2, 4096), wrong=st.floats(1e-6, 1))
def test_a_channel_that_errs_evenly_touches_the_wall_at_every_accuracy(values: int, wrong: float) -> None:
    error = wrong * (1 - 1 / values)
    right = (1 - error) * math.log2((1 - error) * values)
    astray = error * math.log2(error / (values - 1) * values)
    assert certified_bits(1 - error, stored=1.0, values=values) == pytest.approx(right + astray, abs=1e-9)


def test_the_bits_of_distinct_answers_are_those_of_the_specified_cases() -> None:
    assert keep_some(16, 32, distinct=True).stored[-1] == pytest.approx(73.41, abs=0.005)
    assert keep_some(64, 4096, distinct=True).stored[-1] == pytest.approx(767.29, abs=0.005)
    assert keep_some(16, 32, distinct=False).stored[-1] == 80


def test_the_last_of_all_values_need_not_be_kept() -> None:
    memory = keep_some(8, 8, distinct=True)
    assert memory.stored[7] == pytest.approx(memory.stored[8])
    assert memory.certified[7] == pytest.approx(memory.certified[8])


def test_more_distinct_answers_than_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at most values=4"):
        keep_some(5, 4, distinct=True)


def test_taking_distinct_answers_for_independent_ones_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def n_log2_v(accuracy: np.ndarray, *, stored: float, values: int, entropy: float) -> np.ndarray:
        return certified_bits(accuracy, stored=stored, values=values)

    monkeypatch.setattr(wall, "certified_bits", n_log2_v)
    assert not CLAIMS["recall.wall"].check("quick", seed=0).holds
