"""How long a user waits for `recall-lab --help`: the median of five processes, against half a second."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from .paired import Row

ALLOWED = 0.5
CALLS = 5


def measure() -> list[Row]:
    """One row; the ratio is that of the time allowed to the time taken."""
    script = [str(Path(sys.executable).with_name("recall-lab")), "--help"]
    taken, bare = median_seconds(script), median_seconds([sys.executable, "-c", ""])
    note = f"median of {CALLS} processes; ratio = {ALLOWED} s / ours; Python alone takes {bare:.3f} s"
    return [Row("recall-lab --help", taken, None, ALLOWED / taken, 1.0, note)]


def median_seconds(command: list[str]) -> float:
    """Wall-clock time of a process, the median of several, after one that warms the disk's cache."""
    times = []
    for _ in range(CALLS + 1):
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
