"""P[all n answers right] <= S / v^n for a memory of S states over v values, whatever it is and however it is read.

**Proof.** Fix all coins, and a state. Of the tables in it one at most is answered without error: two of them would agree in their answers
up to the first question where they differ, hence in the guess to it, also where answers are revealed (`hax.counting`). So S of the v^n
tables at most are answered without error, and with coins no more on average. [] The bound is met by a table in each state, and the others
anywhere.

So the error is at least 1 - S / v^n if it is the probability of *any* wrong answer. On the fraction of wrong answers it says little: a
memory of one bit less than n log2 v fails on half of the tables, and may yet have a single answer wrong in each of these. That fraction is
the affair of `hax.per_query`.
"""

import numpy as np
from jaxtyping import Int64

from ..claim import Claim, Evidence, Scale
from .encoders import best_memories, strategies, tables


def answered_whole(state: Int64[np.ndarray, " tables"], questions: int, values: int, *, revealed: bool) -> int:
    """Of `tables`, those whose answers are all right if a guess is the most frequent answer in the state, given those `revealed` before."""
    shown = tables(questions, values)
    known, right = state, np.ones(len(shown), np.bool_)
    for answer in shown.T:
        _, known = np.unique(known, return_inverse=True)
        counts = np.zeros((len(shown), values), np.int64)
        np.add.at(counts, (known, answer), 1)
        right &= counts.argmax(axis=1)[known] == answer
        known = known * values + answer if revealed else known
    return int(right.sum())


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on all memories for n = 2, v = 3, and on random ones of up to v^n states for n = v = 4, with the most frequent answers."""
    random = np.random.default_rng(seed)
    found, bound, tight = [], [], []
    for revealed in (False, True):
        whole = np.asarray(strategies(2, 3, revealed=revealed).all(axis=2))
        found.append(best_memories(whole, 9) / 9)
        bound.append(np.arange(1, 10) / 9)
        tight.append(np.ones(9, np.bool_))
    for revealed in (False, True):
        states = random.integers(1, 4**4 + 1, 40 if scale == "quick" else 1000)
        memories = [random.integers(0, count, 4**4) for count in states]
        found.append(np.array([answered_whole(memory, 4, 4, revealed=revealed) for memory in memories]) / 4**4)
        bound.append(states / 4**4)
        tight.append(np.zeros(len(states), np.bool_))
    most = np.concatenate(bound)
    return Evidence(
        quantity="fraction of the tables answered without error: best memories of 1 .. 9 states; then random memories",
        measured=np.concatenate(found),
        at_most=most,
        at_least=np.where(np.concatenate(tight), most, 0.0),
        tolerance=1e-12,
    )


COUNTING_ERROR = Claim(
    name="hax.counting_error",
    statement=(
        "A memory of S states answers all n questions over v values rightly with probability min(1, S / v^n) at most, also where each "
        "answer is revealed before the next question, and the best memory does so with exactly this probability: some answer is wrong "
        "with probability 1 - S / v^n at least."
    ),
    source="arXiv:2507.00449, corollary 3.1, in its form with errors; proof ours",
    standing="reconstructed",
    check=_check,
)
