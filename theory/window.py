"""acc(R) = P(D <= R) + (1 - P(D <= R)) g: recall through a window is the law of the distance D between a query and its value.

Where `mqar` is packed, pair i shows its value in cell 2i + 1 and slot s asks in cell 2K + 2s, so D = 2K + 2s - 2i - 1 with probability
P(i, s) / Q: P(i, s) that pair i is asked in slot s (`Packed.law`, which is `slot_law` for Q = K), Q the number of questions. A window of w
positions sees D <= w - 1, and behind a causal convolution of c >= 2 taps R = w + c - 3: the last position in the window still carries a key
and its value from c - 1 and c - 2 positions back. What is not seen is guessed, with accuracy g between 1/v (0 for the weights of
`constructions/mqar.py`, which answer nothing they do not see) and the best guess among the values that are seen.

This is one hop, and without a convolution (c = 1) there is none: no position carries a key with its value, so that a single layer cannot tell
which value a key has, however near. L layers may relay: their receptive field is L (w-1) + L (c-1), and what is recalled between the two is a
result about training, not an error of the law.
"""

import numpy as np

from ..tasks import IGNORE, MQAR, Stream
from ..tasks.layouts import Packed
from .claim import Claim, Evidence, Scale
from .constructions.mqar import answered, mqar_construction


def window_reach(window: int, short_conv: int) -> int:
    """R = w + c - 3: the largest distance of a value that a window of w positions sees together with its key behind c taps.

    Raises ValueError for c < 2, where no position carries both.
    """
    if short_conv < 2:
        raise ValueError(f"short_conv must be at least 2 (one tap for a value, one for the key before it), got {short_conv}")
    return window + short_conv - 3


def window_accuracy(task: MQAR, reach: int, *, guess: int | float = 0.0) -> float:
    """acc(R) of this module, `guess` being g.

    Raises ValueError for a task whose pairs are scattered: its distances have another law.
    """
    if not isinstance(task.places, Packed):
        raise ValueError(f"layout must be 'packed' for the law of distances, got {task.layout!r}")
    law = task.places.law
    pairs, slots = np.ogrid[: law.shape[0], : law.shape[1]]
    distance = 2 * (task.pairs + slots - pairs) - 1
    seen = float(law[distance <= reach].sum()) / task.answers
    return seen + (1 - seen) * guess


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence by weights set by hand: a sliding window that answers what it sees and nothing else, on samples of several tasks."""
    settings = [
        (MQAR(length=64, pairs=4, keys=32, values=32), 16),
        (MQAR(length=64, pairs=16, keys=32, values=32), 32),
        (MQAR(length=32, pairs=8, keys=32, values=32, order="shuffled"), 8),
        (MQAR(length=64, pairs=8, keys=32, values=32, order="shuffled"), 16),
    ]
    count = 500 if scale == "quick" else 5000
    law, seen, recalled, noise = [], [], [], []
    for task, window in settings:
        batch = task.sample(Stream(seed, "test"), 0, count)
        asked = batch.targets != IGNORE
        distance = task.stratum(batch.tokens)[asked].reshape(count, task.pairs)
        for lags in ((0,), (0, 2)):  # 2 taps and 4
            reach = window_reach(window, max(lags) + 2)
            within = distance <= reach
            law.append(window_accuracy(task, reach))
            seen.append(within.mean())
            recalled.append(answered(mqar_construction(task, "sliding_window", lags=lags, window=window), batch).mean())
            noise.append(4 * within.mean(axis=1).std(ddof=1) / count**0.5)
    return Evidence(
        quantity="fraction answered by a sliding window, against the law, then against the questions whose value it sees",
        measured=np.array([recalled, recalled]),
        predicted=np.array([law, seen]),
        tolerance=np.array([noise, np.zeros(len(noise))]),
    )


WINDOW = Claim(
    name="recall.window",
    statement=(
        "One hop through a window of w positions behind a causal convolution of c >= 2 taps recalls a fraction P(D <= R) of packed mqar, "
        "R = w + c - 3, D the distance from a query to its value: exactly the questions whose value it sees; it guesses the others."
    ),
    source="new; the law of slots is that of zoology's mqar (arXiv:2312.04927), the window that of arXiv:2004.05150, sec. 3.1",
    standing="new",
    check=_check,
)
