"""Certified bits: a lower bound on memory that nothing passes and that perfect memories reach."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.tasks import certified_bits, entropy_without_replacement


def test_entropy_without_replacement_counts_ordered_draws() -> None:
    assert entropy_without_replacement(3, 5) == pytest.approx(math.log2(5 * 4 * 3))
    assert entropy_without_replacement(4, 4) == pytest.approx(math.log2(24))
    assert entropy_without_replacement(0, 9) == 0


def test_right_answers_certify_the_whole_entropy_and_guesses_nothing() -> None:
    assert certified_bits(1.0, stored=16.0, values=32) == pytest.approx(80)
    assert certified_bits(1.0, stored=16.0, values=32, entropy=73.41) == pytest.approx(73.41)
    assert certified_bits(1 / 32, stored=16.0, values=32) == pytest.approx(0, abs=1e-9)
    assert certified_bits(0.0, stored=16.0, values=32) == 0


def test_an_accuracy_by_hand() -> None:
    # v = 2, e = 1/4: n (1 - h2(1/4)) with h2(1/4) = 2 - (3/4) log2 3
    assert certified_bits(0.75, stored=10.0, values=2) == pytest.approx(10 * (1 - (2 - 0.75 * math.log2(3))))


def test_no_memory_of_m_answers_certifies_more_than_it_stores() -> None:
    """1,000 random cases, values independent and without replacement: it answers m of n and guesses the rest as well as it can."""
    choice = np.random.default_rng(0)
    for _ in range(1_000):
        values = int(choice.integers(2, 4_097))
        n = int(choice.integers(1, min(64, values) + 1))
        m = np.arange(n + 1)
        independent = certified_bits((m + (n - m) / values) / n, stored=float(n), values=values)
        assert np.all(independent <= m * math.log2(values) + 1e-9)
        guess = 1 / np.maximum(values - m, 1)  # the stored values are ruled out
        stores = np.array([entropy_without_replacement(int(k), values) for k in m])
        distinct = certified_bits((m + (n - m) * guess) / n, stored=float(n), values=values, entropy=stores[-1])
        assert np.all(distinct <= stores + 1e-9)
        assert independent[-1] == pytest.approx(n * math.log2(values))
        assert distinct[-1] == pytest.approx(stores[-1])


def test_without_replacement_the_entropy_of_independent_values_would_break_the_wall() -> None:
    assert certified_bits(1.0, stored=16.0, values=32) > entropy_without_replacement(16, 32) + 6


@given(st.integers(2, 5_000), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_certified_bits_rise_with_accuracy(values: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert certified_bits(low, stored=3.0, values=values) <= certified_bits(high, stored=3.0, values=values) + 1e-12


@given(st.integers(2, 500), st.lists(st.floats(0, 1), min_size=2, max_size=9))
@settings(deadline=None)
def test_the_mean_accuracy_certifies_no_more_than_the_accuracies_one_by_one(values: int, accuracies: list[float]) -> None:
    """The step from answers of unequal accuracy to their mean: n R(mean) <= sum R, by concavity of Fano's right-hand side."""
    alone = certified_bits(np.array(accuracies), stored=1.0, values=values)
    assert certified_bits(float(np.mean(accuracies)), stored=float(len(accuracies)), values=values) <= alone.sum() + 1e-9


def test_arrays_are_answered_in_their_shape() -> None:
    accuracies = np.linspace(0, 1, 6).reshape(2, 3)
    bits = certified_bits(accuracies, stored=2.0, values=4)
    assert bits.shape == (2, 3)
    assert bits[1, 1] == pytest.approx(certified_bits(float(accuracies[1, 1]), stored=2.0, values=4))


@pytest.mark.parametrize("accuracy", [-0.1, 1.1])
def test_an_accuracy_outside_its_range_is_refused(accuracy: float) -> None:
    with pytest.raises(ValueError, match=r"accuracy must lie in 0\.\.1"):
        certified_bits(accuracy, stored=1.0, values=2)


def test_a_single_value_is_refused() -> None:
    with pytest.raises(ValueError, match="values must be at least 2"):
        certified_bits(0.5, stored=1.0, values=1)
