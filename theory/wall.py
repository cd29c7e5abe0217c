"""b >= H - n (h2(e) + e log2(v-1)) for a memory of b bits with mean error e: no memory certifies more than it stores.

**Proof.** Let M be the memory, V_1 .. V_n the answers of joint entropy H, and e_i the error of what is answered to question i, a function of M
(and of coins that are independent of the answers). Then b >= I(V; M) >= H - sum_i H(V_i | M), as conditional entropies add up to no less than
the joint one; H(V_i | M) <= phi(e_i), phi(e) = h2(e) + e log2(v-1), by Fano's inequality; and sum_i phi(e_i) <= n phi(e), since phi is concave
and e is the mean of the e_i. []

Here the inequality is attacked with memories whose content is known to the bit: m of the n answers are kept whole, and the others are
guessed as well as they can be. It is met with equality where nothing or everything is kept.
"""

import math
from typing import NamedTuple

import numpy as np

from ..tasks import certified_bits, entropy_without_replacement
from .claim import Claim, Evidence, Scale


class Partial(NamedTuple):
    """Memories that keep 0 .. n answers whole, one entry each."""

    stored: np.ndarray
    """bits kept: m log2 v, or log2(v! / (v-m)!) for distinct answers"""
    certified: np.ndarray
    """bits certified by the accuracy that they reach"""


def keep_some(pairs: int, values: int, *, distinct: bool) -> Partial:
    """Bits kept and certified by memories that hold m = 0 .. pairs answers and guess each of the others with 1 chance in v, or v - m.

    Answers are independent and uniform, or `distinct` (drawn without replacement): then those that are kept narrow the guess.
    Raises ValueError for more distinct answers than values.
    """
    if distinct and pairs > values:
        raise ValueError(f"pairs must be at most values={values} for distinct answers, got {pairs}")
    kept = np.arange(pairs + 1)
    choices = np.maximum(values - kept, 1) if distinct else np.full(pairs + 1, values)
    accuracy = (kept + (pairs - kept) / choices) / pairs
    stored = np.array([_entropy(m, values, distinct=distinct) for m in range(pairs + 1)])
    certified = certified_bits(accuracy, stored=float(pairs), values=values, entropy=_entropy(pairs, values, distinct=distinct))
    return Partial(stored, certified)


def _entropy(answers: int, values: int, *, distinct: bool) -> float:
    return entropy_without_replacement(answers, values) if distinct else answers * math.log2(values)


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on random (n, v): the memory that keeps nothing, the one in between nearest to the wall, and the one that keeps all."""
    random = np.random.default_rng(seed)
    stored, certified = [], []
    for _ in range(1000 if scale == "quick" else 20_000):
        values = round(2 ** random.uniform(1, 12))
        independent = random.random() < 0.5
        pairs = int(random.integers(2, 65 if independent else min(64, values) + 1))
        memory = keep_some(pairs, values, distinct=not independent)
        nearest = 1 + int(np.argmax((memory.certified - memory.stored)[1:-1]))
        stored.append(memory.stored[[0, nearest, -1]])
        certified.append(memory.certified[[0, nearest, -1]])
    wall = np.array(stored)
    example = keep_some(16, 32, distinct=True)
    return Evidence(
        quantity="certified bits of a memory that keeps none, some or all of its answers",
        measured=np.array(certified),
        at_most=wall,
        at_least=wall * [1, 0, 1],  # equality at both ends
        tolerance=1e-9,
        arrays={"stored": example.stored, "certified": example.certified},
    )


WALL = Claim(
    name="recall.wall",
    statement=(
        "A memory of b bits that answers n questions over v values, of joint entropy H, with mean error e <= 1 - 1/v has "
        "b >= H - n (h2(e) + e log2(v-1)). Keeping m answers whole and guessing the rest never certifies more than is kept, "
        "and exactly as much at m = 0 and m = n."
    ),
    source=(
        "new; builds on Fano's inequality (Cover & Thomas, Elements of Information Theory, 2nd ed., thm 2.10.1) for each answer; for "
        "independent uniform answers the bound is rate distortion under Hamming distance (ibid., ch. 10)"
    ),
    standing="new",
    check=_check,
)
