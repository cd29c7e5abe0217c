"""The law of query slots: which of K pairs is asked in which slot, when slots are drawn by weight and given out in order."""

import math
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64

Order = Literal["race", "shuffled"]

EARLIEST = 1e-15
"""start of the integral over time; all slots together ring at rate 1, so this is also the probability that is lost"""
LATEST = 40.0
"""end of the integral, in mean waiting times of the slowest slot: e^-40 is lost there"""
NODES = 1.6
"""quadrature nodes per unit of log time and per sqrt(pairs): the narrowest peak, of width about 1/sqrt(pairs), is still resolved"""
FLATTEST = 4.0
"""sqrt(pairs) counts as at least this: with few pairs the peaks are as wide as those of single waiting times"""
BLOCK = 64
"""quadrature nodes treated at once: bounds the memory of the tables to BLOCK * space * pairs numbers"""


def slot_weights(space: int, power: float) -> Float64[np.ndarray, " space"]:
    """p_s = (s+1)^(power-1) / Z for s = 0 .. space-1, the weights of zoology's MQAR (arXiv:2312.04927): uniform at 1, early slots first at 0."""
    weights: Float64[np.ndarray, " space"] = np.arange(1, space + 1, dtype=np.float64) ** (power - 1)
    weights /= weights.sum()
    return weights


@lru_cache(maxsize=256)  # a table asks for the law of one task many times
def slot_law(space: int, pairs: int, power: float, order: Order = "race") -> Float64[np.ndarray, "pairs space"]:
    """P[i, s] = integral of p_s e^(-p_s t) Pr(i of the other slots rang before t) dt: pair i is asked in slot s.

    Slot s rings after an exponential time of rate p_s (`slot_weights`); under "race" the i-th slot to ring is pair i's. The number of other
    slots that rang by t is Poisson-binomial, with probabilities 1 - e^(-p_r t): its law is joined from a table over the slots before s and
    one over those after it, never by dividing a slot out, which is unstable where its probability is near 1. Gauss-Legendre quadrature in
    log t. Under "shuffled" each pair has the mean of the rows. Rows sum to 1, columns to the probability that the slot is used; error
    below 1e-9. Read-only. Raises ValueError unless 1 <= pairs <= space and 0 < power < infinity.
    """
    if not 1 <= pairs <= space:
        raise ValueError(f"pairs must lie in 1..space={space} (each has a slot of its own), got {pairs}")
    if not 0 < power < math.inf:
        raise ValueError(f"power must be positive and finite, got {power}")
    if order not in get_args(Order):
        raise ValueError(f"order must be one of {', '.join(get_args(Order))}, got {order!r}")
    rates = slot_weights(space, power)
    low, high = math.log(EARLIEST), math.log(LATEST / rates.min())
    nodes, weights = np.polynomial.legendre.leggauss(math.ceil(NODES * (high - low) * max(math.sqrt(pairs), FLATTEST)))
    times = np.exp(low + (high - low) * (nodes + 1) / 2)
    weights = weights * times * (high - low) / 2
    law = np.zeros((pairs, space))
    for at in range(0, len(times), BLOCK):
        law += _law_over(rates, pairs, times[at : at + BLOCK], weights[at : at + BLOCK])
    law.flags.writeable = False  # because it is kept
    return law if order == "race" else np.broadcast_to(law.mean(axis=0), law.shape)


def _law_over(
    rates: Float64[np.ndarray, " space"], pairs: int, times: Float64[np.ndarray, " nodes"], weights: Float64[np.ndarray, " nodes"]
) -> Float64[np.ndarray, "pairs space"]:
    """The part of the integral that these nodes contribute."""
    space = len(rates)
    silent = np.exp(-np.outer(rates, times))  # [space, nodes]: not rung by t
    after = np.zeros((space + 1, len(times), pairs))  # after[s, t, j]: j of the slots s .. space-1 rang by t, for j < pairs
    after[space, :, 0] = 1
    for s in reversed(range(space)):
        after[s] = _with_one_more(after[s + 1], silent[s])
    before = after[space]  # the same over the slots 0 .. s-1, carried along
    index_sum = np.add.outer(np.arange(pairs), np.arange(pairs)).ravel()
    law = np.empty((pairs, space))
    for s in range(space):
        density = weights * rates[s] * silent[s]
        joint = (before * density[:, None]).T @ after[s + 1]  # [j, k]: j before and k after s rang
        law[:, s] = np.bincount(index_sum, joint.ravel())[:pairs]
        before = _with_one_more(before, silent[s])
    return law


def _with_one_more(rung: Float64[np.ndarray, "nodes pairs"], silent: Float64[np.ndarray, " nodes"]) -> Float64[np.ndarray, "nodes pairs"]:
    """The law of the count after one more slot that has not rung with probability `silent`."""
    more: Float64[np.ndarray, "nodes pairs"] = rung * silent[:, None]
    more[:, 1:] += rung[:, :-1] * (1 - silent)[:, None]
    return more
