"""Inequalities between scores that are sums over windows."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.theory.mamba.fixed_mixing import (
    OUTSIDE,
    Comparisons,
    answers_all,
    best_margin,
    comparisons,
    evidence,
    is_certificate,
    verdict,
)


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


CELLS = np.array([[bits >> 2 & 1, bits >> 1 & 1, bits & 1] for bits in range(8)])
"""all inputs of three binary cells"""
bits = st.integers(0, 1)
small_weights = st.lists(st.integers(-3, 3), min_size=6, max_size=6)


def odd_score(weights: list[int]) -> Callable[[int, tuple[int, ...], int], int]:
    """Scores 0 of symbol 0 and of at most 7 of symbol 1, whose sum over the cells is odd, hence never a tie."""
    return lambda place, view, symbol: symbol * (2 * weights[2 * place + view[0]] + (place == 0))


@given(weights=small_weights, chosen=st.lists(st.booleans(), min_size=8, max_size=8))
@settings(max_examples=50)
def test_what_is_answered_has_a_margin_and_no_certificate(weights: list[int], chosen: list[bool]) -> None:
    score = odd_score(weights)
    answers = np.array([sum(score(place, (cell,), 1) for place, cell in enumerate(row)) > 0 for row in CELLS.tolist()], np.int64)
    asked = comparisons(CELLS, answers, symbols=2, window=1)
    assert answers_all(asked, score)
    assert best_margin(asked) >= 1 / 7 - 1e-7
    assert not is_certificate(asked, np.array(chosen))


@given(alone=st.integers(0, 2), at=bits, flip=bits, elsewhere=st.lists(bits, min_size=8, max_size=8), weights=small_weights)
@settings(max_examples=50)
def test_what_has_a_certificate_is_answered_by_nothing_and_has_no_margin(
    alone: int, at: int, flip: int, elsewhere: list[int], weights: list[int]
) -> None:
    """An exclusive or of two cells where the third, `alone`, holds `at`; answers elsewhere are any."""
    square = CELLS[:, alone] == at
    parity = (CELLS.sum(axis=1) + flip) % 2
    asked = comparisons(CELLS, np.where(square, parity, elsewhere), symbols=2, window=1)
    assert is_certificate(asked, square)
    assert best_margin(asked) == pytest.approx(0, abs=1e-7)
    assert not answers_all(asked, odd_score(weights))


class OneCell(NamedTuple):
    """A cell is answered with itself, by f = 1 where it shows the symbol; `weight` and `possible` are right as 1 and True."""

    symbols: int = 3
    window: int = 1
    weight: int = 1
    possible: bool = True

    def inputs(self) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(3)[:, None], np.arange(3)

    def score(self, place: int, view: tuple[int, ...], symbol: int) -> int:
        return self.weight * (view[0] == symbol)

    def certificate(self, asked: Comparisons) -> np.ndarray:
        return np.zeros(len(asked.answer), np.bool_)


def test_evidence_holds_iff_program_proof_and_theorem_agree() -> None:
    assert evidence([OneCell(), OneCell()]).holds
    for fault in (OneCell(weight=-1), OneCell(possible=False)):
        assert not evidence([OneCell(), fault]).holds
