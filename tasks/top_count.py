"""How often the most frequent of some random values occurs: what a guesser who knows only their multiset can count on."""

from functools import cache

import numpy as np
from jaxtyping import Float64

NEGLIGIBLE = 1e-17
"""counts of smaller probability are left out of an expectation"""


def expected_top_counts(draws: int, values: int) -> Float64[np.ndarray, " draws_plus_one"]:
    """m_r = E[largest multiplicity among r independent uniform draws from `values` values], for r = 0 .. draws.

    m_r = sum_{t >= 0} P(some value occurs more than t times), to rounding. m_r / r is the best accuracy on r answers of which only the
    multiset is known: name the most frequent one every time.
    """
    return _up_to(1 << max(draws - 1, 0).bit_length(), values)[: draws + 1]


@cache
def _up_to(draws: int, values: int) -> Float64[np.ndarray, " draws_plus_one"]:
    """The same for a power of two, so that one table serves all smaller numbers of draws; read-only because it is kept."""
    from scipy.stats import binom  # half a second to import, and only controls need it

    # union bound over the values: larger counts are too rare to show in a float
    limits = int(binom.isf(NEGLIGIBLE / values, draws, 1 / values)) + 1
    expected: Float64[np.ndarray, " draws_plus_one"] = (1 - _none_above(limits, draws, values)).sum(axis=0)
    expected.flags.writeable = False
    return expected


def _none_above(limits: int, draws: int, values: int) -> Float64[np.ndarray, "limits draws_plus_one"]:
    """P[t, r]: none of the values occurs more than t times among r draws. The values are split in halves until one is left."""
    if values == 1:
        return (np.arange(draws + 1) <= np.arange(limits)[:, None]).astype(np.float64)
    half = _none_above(limits, draws, values // 2)
    both = _united(half, half, 0.5)
    return both if values % 2 == 0 else _united(_none_above(limits, draws, 1), both, 1 / values)


def _united(
    left: Float64[np.ndarray, "limits draws_plus_one"], right: Float64[np.ndarray, "limits draws_plus_one"], share: float
) -> Float64[np.ndarray, "limits draws_plus_one"]:
    """P[t, r] for two sets of values together: a of the r draws fall into the left set, binomially with probability `share`."""
    from scipy.stats import binom

    united = np.empty_like(left)
    for r in range(left.shape[1]):
        in_left = binom.pmf(np.arange(r + 1), r, share)
        united[:, r] = (left[:, : r + 1] * right[:, r::-1]) @ in_left
    return united
