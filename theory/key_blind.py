"""(1/Q) sum_s max_i P(i, s) is the most that can be recalled from packed mqar by who reads the values and where it is asked, but no key.

P(i, s) is the probability that pair i is asked in slot s (`slot_law`). **Proof**: with distinct values an answer in slot s is right iff it
names the pair that is asked, and values tell nothing about slots; so the best answer is the likeliest pair. The maximum over i is at least
the mean, and Q/K is the sum over s of the means: hence at least 1/K, with equality iff every slot is asked about all pairs alike. So it is
when questions are shuffled or weights equal. In race order with unequal weights it is not: the heaviest slot s goes to the first pair with
probability p_s, to the second with p_s sum_{r != s} p_r / (1 - p_r) < p_s sum_{r != s} p_r / (1 - p_s) = p_s. []

So "better than 1/K" is no evidence of recall under zoology's law, whose weights are nearly 1 / (s+1).
"""

import numpy as np
from jaxtyping import Float64, Int64

from ..tasks import IGNORE, MQAR, Stream, slot_law
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
    count = 4000 if scale == "quick" else 40_000
    measured, ceiling, floor, noise = [], [], [], []
    for task in tasks:
        asked = asked_pairs(task, Stream(seed, "test"), count)
        learned = asked_pairs(task, Stream(seed, "train"), count)
        law = slot_law((task.length - 2 * task.pairs) // 2, task.pairs, task.power, task.order)
        measured.append([accuracy_by_slot(asked, law), accuracy_by_slot(asked, learned.astype(np.float64))])
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
        "Reading the values and the position of a question, but no key, recalls (1/Q) sum_s max_i P(i, s) of packed mqar and no more: "
        "above 1/K where slots are given out in race order with power < 1, exactly 1/K where they are shuffled or power = 1."
    ),
    source="new; the race is the law of zoology's mqar (arXiv:2312.04927), which draws query slots without replacement",
    standing="new",
    check=_check,
)
