import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from recall_lab.tasks.top_count import expected_top_counts


@pytest.mark.parametrize("values", [1, 2, 3, 5])
def test_it_is_the_mean_over_all_outcomes(values: int) -> None:
    for draws in range(1, 7):
        outcomes = list(itertools.product(range(values), repeat=draws))
        mean = Fraction(sum(max(Counter(outcome).values()) for outcome in outcomes), len(outcomes))
        assert expected_top_counts(draws, values)[draws] == pytest.approx(float(mean), rel=1e-12)


def test_two_draws_agree_once_in_as_many_times_as_there_are_values() -> None:
    for values in (2, 16, 4096):
        np.testing.assert_allclose(expected_top_counts(2, values), [0, 1, 1 + 1 / values], rtol=1e-12)


def test_hundreds_of_draws_are_as_exact_as_few() -> None:
    """The largest of two counts is known in closed form: n/2 + n/2^n C(n-1, floor(n/2))."""
    draws = 512
    closed = Fraction(draws, 2) + Fraction(draws, 2**draws) * _binomial(draws - 1, draws // 2)
    assert expected_top_counts(draws, 2)[draws] == pytest.approx(float(closed), rel=1e-12)


def _binomial(n: int, k: int) -> int:
    return 1 if k == 0 else _binomial(n, k - 1) * (n - k + 1) // k


def test_the_share_of_the_most_frequent_value_falls_towards_chance() -> None:
    share = expected_top_counts(300, 16)[1:] / np.arange(1, 301)
    assert (np.diff(share) < 0).all()
    assert share[-1] > 1 / 16
