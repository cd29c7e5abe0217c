"""What a sweep costs beside its runs: the wall-clock time of a sweep of runs that do nothing, for each run.

Handing out, the pipe to the worker, the claim, the row with its checksum and its way to the disk: all that stands between two trainings.
"""

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recall_lab.engine import run_all
from recall_lab.store import Store, content_hash

from .paired import Row

RUNS = 200


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """A run without work."""

    number: int

    @property
    def hash(self) -> str:
        """Its name in the store."""
        return content_hash(self.to_dict())[:16]

    def to_dict(self) -> dict[str, Any]:
        """The run as JSON has it."""
        return asdict(self)


def work(run: dict[str, Any]) -> dict[str, Any]:
    """What a worker does for such a run; ideally a sweep of them takes no time."""
    return run


def measure() -> list[Row]:
    """One row: `ours_s` is the time of a run."""
    ended: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        outcome = run_all(
            [Nothing(number=number) for number in range(RUNS + 1)],
            Store(Path(folder)),
            work=f"{__name__}:work",
            workers=1,
            on_event=lambda event: ended.append(time.perf_counter()) if event.kind == "finished" else None,
        )
    assert outcome.finished == RUNS + 1
    overhead = (ended[-1] - ended[0]) / RUNS
    note = f"{RUNS} runs that do nothing, 1 worker; the first run and the start of its worker, {ended[0] - began:.2f} s, not counted"
    return [Row("sweep, beside each run", overhead, None, None, None, note)]
