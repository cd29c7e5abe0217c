"""The draws are exact: against their definition step by step, and against their law by chi-square tests on fixed words."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from recall_lab.tasks import below, distinct, halved, halves, race, unit_interval

some = settings(max_examples=60, deadline=None)


def words(seed: int, count: int, draws: int) -> np.ndarray:
    return np.random.Philox(key=seed).random_raw(count * draws).reshape(count, draws)


def fisher_yates(row: np.ndarray, population: int) -> list[int]:
    """The draw without replacement as a textbook has it."""
    cells = list(range(population))
    for step, word in enumerate(row.tolist()):
        hit = step + ((word >> 32) * (population - step) >> 32)
        cells[step], cells[hit] = cells[hit], cells[step]
    return cells[: len(row)]


@given(word=st.integers(0, 2**64 - 1), bound=st.integers(1, 2**32 - 1))
@some
def test_below_scales_the_upper_half_of_a_word(word: int, bound: int) -> None:
    expected = (word >> 32) * bound >> 32
    assert below(np.array([[word]], np.uint64), bound).tolist() == [[expected]]
    assert below(np.array([[word >> 32]], np.uint32), bound).tolist() == [[expected]]
    assert 0 <= expected < bound


@pytest.mark.parametrize("bound", [0, 2**32])
def test_below_refuses_a_bound_that_words_of_32_bits_cannot_serve(bound: int) -> None:
    with pytest.raises(ValueError, match="bound must lie in"):
        below(words(0, 1, 1), bound)


def test_below_is_uniform() -> None:
    counts = np.bincount(below(words(1, 1, 70_000), 7).ravel(), minlength=7)
    assert chisquare(counts).pvalue > 1e-3


@given(st.integers(0, 50))
def test_halved_words_hold_just_as_many_draws(draws: int) -> None:
    held = halves(words(0, 2, halved(draws))).shape[1]
    assert held - 1 <= draws <= held


def test_halves_are_the_two_halves_of_each_word_even_of_a_slice() -> None:
    whole = words(2, 3, 5)
    both = halves(whole[:, 1:4]).astype(np.uint64)
    np.testing.assert_array_equal(both[:, ::2] | both[:, 1::2] << np.uint64(32), whole[:, 1:4])


@given(seed=st.integers(0, 2**32), draws=st.integers(0, 40), more=st.integers(0, 30))
@some
def test_distinct_is_fisher_yates(seed: int, draws: int, more: int) -> None:
    population = max(1, draws + more)
    drawn = distinct(words(seed, 5, draws), population)
    assert drawn.tolist() == [fisher_yates(row, population) for row in words(seed, 5, draws)]


@given(seed=st.integers(0, 2**32), draws=st.integers(1, 200))
@some
def test_distinct_of_everything_is_a_permutation(seed: int, draws: int) -> None:
    assert (np.sort(distinct(words(seed, 3, draws), draws), axis=1) == np.arange(draws)).all()


def test_distinct_takes_words_of_32_bits_as_well() -> None:
    wide = words(3, 50, 20)
    np.testing.assert_array_equal(distinct((wide >> np.uint64(32)).astype(np.uint32), 23), distinct(wide, 23))


def test_distinct_is_uniform_over_ordered_triples() -> None:
    drawn = distinct(words(4, 60_000, 3), 5)
    counts = np.unique(drawn @ [25, 5, 1], return_counts=True)[1]
    assert len(counts) == 60
    assert chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("population", [4, 2**32])
def test_distinct_refuses_a_population_too_small_or_too_large(population: int) -> None:
    with pytest.raises(ValueError, match="population must lie in draws=5"):
        distinct(words(0, 1, 5), population)


def test_unit_interval_never_reaches_its_ends() -> None:
    extremes = unit_interval(np.array([[0, 2**64 - 1]], np.uint64))[0]
    assert 0 < extremes[0] < 1e-15
    assert 1 - 1e-15 < extremes[1] < 1


def test_race_is_the_law_of_weighted_draws_one_after_another() -> None:
    weights = np.array([0.5, 0.3, 0.15, 0.05])
    drawn = race(words(5, 100_000, 4), weights, 2)
    pairs = list(itertools.permutations(range(4), 2))
    law = [weights[i] * weights[j] / (1 - weights[i]) for i, j in pairs]
    counts = [np.sum((drawn == pair).all(axis=1)) for pair in pairs]
    assert chisquare(counts, np.array(law) * len(drawn)).pvalue > 1e-3


@given(seed=st.integers(0, 2**32), slots=st.integers(1, 70), data=st.data())
@some
def test_race_orders_slots_by_the_time_they_ring(seed: int, slots: int, data: st.DataObject) -> None:
    winners = data.draw(st.integers(0, slots))
    weights = np.arange(1.0, slots + 1) ** data.draw(st.floats(-2, 2))
    given_words = words(seed, 4, slots)
    rings = -np.log(unit_interval(given_words)) / weights
    np.testing.assert_array_equal(race(given_words, weights, winners), np.argsort(rings, axis=1)[:, :winners])


def test_race_gives_a_tie_to_the_lower_slot() -> None:
    assert race(np.full((1, 5), 7, np.uint64), np.ones(5), 3).tolist() == [[0, 1, 2]]


def test_race_refuses_more_winners_than_slots() -> None:
    with pytest.raises(ValueError, match="winners must be at most slots=2, got 3"):
        race(words(0, 1, 2), np.ones(2), 3)
