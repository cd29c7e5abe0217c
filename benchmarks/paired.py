"""What every benchmark returns, and how it times two sides against each other."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Row(NamedTuple):
    """One comparison; None where there is nothing to say."""

    what: str
    ours_s: float
    """seconds, as `note` defines them"""
    other_s: float | None
    ratio: float | None
    """other / ours, or allowed / taken: more is better"""
    bar: float | None
    """what the ratio must reach"""
    note: str


def in_turns(ours: Callable[[], object], other: Callable[[], object], turns: int) -> tuple[float, float]:
    """Seconds of the best run of each, run alternately: what disturbs a machine only ever slows a run down."""
    best = [float("inf"), float("inf")]
    for _ in range(turns):
        for side, run in enumerate((ours, other)):
            started = time.perf_counter()
            run()
            best[side] = min(best[side], time.perf_counter() - started)
    return best[0], best[1]


def growth_exponents(sizes: Sequence[int], times: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope of log time over log size of either side, by least squares."""
    ours, other = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    return float(ours), float(other)
