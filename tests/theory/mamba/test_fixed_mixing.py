"""Inequalities between scores that are sums over windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.theory.mamba.fixed_mixing import OUTSIDE, answers_all, best_margin, comparisons, is_certificate, verdict


def test_an_inequality_has_the_windows_of_its_input_at_the_answer_and_at_the_rival() -> None:
    asked = comparisons(np.array([[0, 1], [1, 1]]), np.array([0, 1]), symbols=3, window=2)
    np.testing.assert_array_equal(asked.answer, [0, 0, 1, 1])
    np.testing.assert_array_equal(asked.rival, [1, 2, 0, 2])
    views = [{(place, view) for (place, view, _), entry in zip(asked.columns, row, strict=True) if entry} for row in asked.matrix]
    assert views[0] == {(0, (OUTSIDE, 0)), (1, (0, 1)), (2, (1, OUTSIDE))}
    assert views[3] == {(0, (OUTSIDE, 1)), (1, (1, 1)), (2, (1, OUTSIDE))}
    for row, answer, rival in zip(asked.matrix, asked.answer, asked.rival, strict=True):
        for (_, _, symbol), entry in zip(asked.columns, row, strict=True):
            assert entry in (0, (symbol == answer) - int(symbol == rival))


def test_what_a_single_window_shows_is_answered_with_the_largest_margin() -> None:
    asked = comparisons(np.arange(3)[:, None], np.arange(3), symbols=3, window=1)
    assert best_margin(asked) == pytest.approx(2)
    assert answers_all(asked, lambda place, view, symbol: int(view[0] == symbol))
    assert not answers_all(asked, lambda place, view, symbol: 1)  # a tie is no answer


def test_exclusive_or_of_two_cells_has_a_certificate_until_a_window_sees_both() -> None:
    tokens = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    answers = tokens.sum(axis=1) % 2
    apart = comparisons(tokens, answers, symbols=2, window=1)
    assert best_margin(apart) == pytest.approx(0, abs=1e-7)
    assert is_certificate(apart, np.ones(4, np.bool_))
    assert not is_certificate(apart, np.arange(4) < 3)
    assert not is_certificate(apart, np.zeros(4, np.bool_))
    together = comparisons(tokens, answers, symbols=2, window=2)
    assert best_margin(together) > 0.5
    assert not is_certificate(together, np.ones(4, np.bool_))


def test_without_a_proof_either_way_there_is_no_verdict() -> None:
    asked = comparisons(np.arange(2)[:, None], np.arange(2), symbols=2, window=1)
    nothing = np.zeros(2, np.bool_)
    assert np.isnan(verdict(asked, lambda *_: 0, nothing).exact)
    assert verdict(asked, lambda place, view, symbol: int(view[0] == symbol), nothing).exact == 1.0


@given(answers=st.lists(st.integers(0, 1), min_size=8, max_size=8), weights=st.lists(st.integers(-3, 3), min_size=12, max_size=12))
@settings(max_examples=50)
def test_what_is_answered_has_a_margin_and_no_certificate(answers: list[int], weights: list[int]) -> None:
    """All ways to answer all inputs of three binary cells."""
    tokens = np.array([[bits >> 2 & 1, bits >> 1 & 1, bits & 1] for bits in range(8)])
    asked = comparisons(tokens, np.array(answers), symbols=2, window=1)
    if answers_all(asked, lambda place, view, symbol: weights[4 * place + 2 * view[0] + symbol]):
        assert best_margin(asked) > 0.01
        assert not is_certificate(asked, np.ones(8, np.bool_))
    if is_certificate(asked, np.ones(8, np.bool_)):
        assert best_margin(asked) == pytest.approx(0, abs=1e-7)
