"""(1/Q) sum_s max_i P(i, s) is the most that can be recalled from packed mqar by who reads the values and where it is asked, but no key.

P(i, s) is the probability that pair i is asked in slot s, for Q of the K pairs, each asked at most once (`Packed.law`). **Proof**: with
distinct values an answer in slot s is right iff it names the pair that is asked, and values tell nothing about slots; so the best answer is
the likeliest pair. The maximum over i is at least the mean, and Q/K is the sum over s of the means: hence at least 1/K, with equality iff
every slot is asked about all pairs alike. So it is when questions are shuffled or weights equal, and for Q = 1, where the one question asks
a uniformly random pair wherever it stands.

In race order with unequal weights and 2 <= Q <= K it is not. Let B_j be the probability that the heaviest slot s is drawn as the j-th,
j = 0 .. Q-1. Where r is drawn just before s, at total weight R, the draws exchanged have probability p_s p_r / (R (R - p_s)) in place of
p_r p_s / (R (R - p_r)), no less, and more where p_r < p_s: so B_0 >= B_1 >= ..., and B_0 = p_s > B_1, as some slot is lighter. The first pair
is always the first of those asked, P(0, s) = Q/K B_0, which exceeds the mean over pairs, (B_0 + ... + B_{Q-1}) / K. []

So "better than 1/K" is no evidence of recall under zoology's law, whose weights are nearly 1 / (s+1).
"""

import numpy as np
from jaxtyping import Float64, Int64

from ..tasks import IGNORE, MQAR, Stream
from ..tasks.layouts import Packed
from .claim import Claim, Evidence, Scale


def asked_pairs(task: MQAR, stream: Stream, count: int) -> Int64[np.ndarray, "pairs slots"]:
    """How often, in samples 0 .. count-1, a question in slot s (column) asked for pair i (row), read off the tokens."""
    batch = task.sample(stream, 0, count)
    row, at = np.nonzero(batch.targets != IGNORE)
    shown, asked = batch.tokens[row, : 2 * task.pairs : 2], batch.tokens[row, at, None]
    counts = np.zeros((task.pairs, (task.length - 2 * task.pairs) // 2), np.int64)
    np.add.at(counts, ((shown == asked).argmax(axis=1), (at - 2 * task.pairs) // 2), 1)
    return counts


def accuracy_by_slot(counts: Int64[np.ndarray, "pairs slots"], likelihood: Float64[np.ndarray, "pairs slots"]) -> float:
    """Accuracy, on questions counted as in `asked_pairs`, of naming in each slot the pair that `likelihood` has for the likeliest."""
    right = np.take_along_axis(counts, likelihood.argmax(axis=0)[None], axis=0)
    return float(right.sum() / counts.sum())


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence by two strategies on fresh samples: one knows the law of slots, one has learned it from as many other samples."""
    tasks = [MQAR(length=64, pairs=4), MQAR(length=64, pairs=8), MQAR(length=64, pairs=8, order="shuffled")]
    tasks += [MQAR(length=64, pairs=8, power=power) for power in (0.5, 1.0)]
    tasks += [MQAR(length=64, pairs=8, queries=queries) for queries in (1, 2, 5)]
    count = 4000 if scale == "quick" else 40_000
    measured, ceiling, floor, noise = [], [], [], []
    for task in tasks:
        asked = asked_pairs(task, Stream(seed, "test"), count)
        learned = asked_pairs(task, Stream(seed, "train"), count)
        assert isinstance(task.places, Packed)  # the layout of all of them
        measured.append([accuracy_by_slot(asked, task.places.law), accuracy_by_slot(asked, learned.astype(np.float64))])
        ceiling.append(task.controls()["key_blind"])
        floor.append(1 / task.pairs)
        noise.append(4 * (ceiling[-1] * (1 - ceiling[-1]) / asked.sum()) ** 0.5)
    most, least = np.array(ceiling), np.array(floor)
    return Evidence(
        quantity="accuracy on mqar without reading a key, by the law of slots and by counting",
        measured=np.array(measured),
        at_most=most[:, None],
        at_least=np.stack([most, least], axis=1),
        tolerance=np.array(noise)[:, None],
        arrays={"key_blind": most, "one_in_pairs": least},
    )


KEY_BLIND = Claim(
    name="recall.key_blind",
    statement=(
        "Reading the values, which are distinct, and the position of a question, but no key, recalls (1/Q) sum_s max_i P(i, s) of packed "
        "mqar with Q of K pairs asked once, and no more: above 1/K where slots are given out in race order with power < 1 and "
        "2 <= Q <= K, exactly 1/K where they are shuffled, power = 1 or Q = 1."
    ),
    source="new; the race is the law of zoology's mqar (arXiv:2312.04927), which draws query slots without replacement",
    standing="new",
    check=_check,
)
