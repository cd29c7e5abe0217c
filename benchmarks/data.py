"""Generating data: our generators against the same law written row by row, and what memory they take beside the result.

Both sides run in this process, on one thread, in turns, and each counts its best turn: what disturbs a machine only ever slows a run down.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recall_lab.tasks import IGNORE, MQAR, Stream

LENGTH, PAIRS, VOCABULARY, POWER = 512, 64, 8192, 0.01
"""the hardest setting that zoology publishes (arXiv:2312.04927, figure 2)"""

ROWS = 100_000
MEGABYTES = 200
"""what 100,000 samples may take beside themselves"""


def measure() -> list[dict[str, Any]]:
    """Rows {"what", "ours_s", "other_s", "ratio", "bar", "note"}; a ratio meets its bar where it is at least as large."""
    return [mqar_time(), mqar_memory()]


def mqar_time(turns: int = 5) -> dict[str, Any]:
    """Seconds for 100,000 samples of MQAR; the loop does 10,000 and counts tenfold."""
    task = mqar()
    ours, other = in_turns(
        lambda: task.sample(Stream(0), 0, ROWS // turns),
        lambda: mqar_row_by_row(np.random.RandomState(0), 10_000 // turns),
        turns,
    )
    ours, other = ours * turns, other * 10 * turns
    note = f"length {LENGTH}, {PAIRS} pairs, {VOCABULARY} tokens, {ROWS} samples; the loop draws rows with numpy.random.choice"
    return {"what": "mqar, time", "ours_s": ours, "other_s": other, "ratio": other / ours, "bar": 20.0, "note": note}


def mqar_memory() -> dict[str, Any]:
    """Peak memory of a process of its own that makes 100,000 samples, less what it had before and less the samples."""
    started = time.perf_counter()
    child = subprocess.run([sys.executable, __file__, "--peak"], capture_output=True, text=True, check=True)
    extra = int(child.stdout) / 2**20
    return {
        "what": "mqar, memory",
        "ours_s": time.perf_counter() - started,
        "other_s": None,
        "ratio": MEGABYTES / max(extra, 1.0),
        "bar": 1.0,
        "note": f"{extra:.0f} MiB beside {ROWS} samples, {MEGABYTES} allowed; ratio = allowed / taken",
    }


def mqar() -> MQAR:
    """The task that both sides generate."""
    return MQAR.zoology(vocab_size=VOCABULARY, input_seq_len=LENGTH, num_kv_pairs=PAIRS, power_a=POWER)


def mqar_row_by_row(chance: np.random.RandomState, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The law of `mqar` as one writes it down first."""
    tokens = chance.randint(VOCABULARY, size=(count, LENGTH), dtype=np.int32)
    targets = np.full((count, LENGTH), IGNORE, np.int32)
    space = (LENGTH - 2 * PAIRS) // 2
    weights = np.arange(1, space + 1) ** (POWER - 1)
    weights /= weights.sum()
    for row, labels in zip(tokens, targets, strict=True):
        keys = chance.choice(np.arange(1, VOCABULARY // 2), PAIRS, replace=False)
        values = chance.choice(np.arange(VOCABULARY // 2, VOCABULARY), PAIRS, replace=False)
        asked_at = 2 * PAIRS + 2 * chance.choice(space, PAIRS, replace=False, p=weights)
        row[0 : 2 * PAIRS : 2], row[1 : 2 * PAIRS : 2] = keys, values
        row[asked_at], labels[asked_at] = keys, values
    return tokens, targets


def in_turns(ours: Callable[[], object], other: Callable[[], object], turns: int) -> tuple[float, float]:
    """Seconds of the best run of each, run alternately."""
    best = [float("inf"), float("inf")]
    for _ in range(turns):
        for side, run in enumerate((ours, other)):
            started = time.perf_counter()
            run()
            best[side] = min(best[side], time.perf_counter() - started)
    return best[0], best[1]


def peak_beside_result() -> int:
    """Bytes by which this process's memory peaks above what it holds now and the result; for a process that does nothing else (Linux)."""
    task = mqar()
    task.sample(Stream(0), 0, 1)  # what is imported or cached on first use is no cost of the samples
    before = resident()["VmRSS"]
    batch = task.sample(Stream(0), 0, ROWS)
    return resident()["VmHWM"] - before - batch.tokens.nbytes - batch.targets.nbytes


def resident() -> dict[str, int]:
    """Resident memory of this process in bytes: now (VmRSS) and at its highest (VmHWM), which unlike getrusage's forgets the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS:", "VmHWM:"))}


if __name__ == "__main__":
    if "--peak" in sys.argv:
        print(peak_beside_result())
    else:
        for measured in measure():
            print(json.dumps(measured))
