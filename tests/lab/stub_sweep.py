"""Stub runs, and `python -m lab.stub_sweep JSON`: a sweep over them in a process of its own, which tests may kill."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recall_lab import engine
from recall_lab.engine import Event, run_all
from recall_lab.store import Row, Store, content_hash
from recall_lab.tasks.stream import canonical_json

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class StubRun:
    number: int
    marks: str
    do: str = "count"
    seconds: float = 0.0
    size: int = 3

    @property
    def hash(self) -> str:
        return content_hash(self.to_dict())[:16]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def start(folder: Path, runs: Iterable[StubRun], workers: int, **limits: float) -> subprocess.Popen[str]:
    """A sweep in another process; its standard output has a line of JSON for each event and one for the outcome."""
    order = {"folder": str(folder), "runs": [run.to_dict() for run in runs], "workers": workers, **limits}
    return subprocess.Popen(
        [sys.executable, "-m", "lab.stub_sweep", json.dumps(order)],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])},
    )


def lines(sweep: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Everything the sweep says until it ends."""
    try:
        output, _ = sweep.communicate(timeout=60)
    finally:
        sweep.kill()
    return [json.loads(line) for line in output.splitlines()]


def contents(rows: dict[str, Row]) -> list[tuple[str, str, str]]:
    """What must not depend on how the rows came about, as text, so that every bit of a number counts."""
    return [(name, canonical_json(row.run), canonical_json(row.result)) for name, row in rows.items()]


def main() -> None:
    order = json.loads(sys.argv[1])
    if "largest_file" in order:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"], order["largest_file"]))
    engine.GRACE = order.get("grace", engine.GRACE)

    def say(event: Event) -> None:
        print(json.dumps({"kind": event.kind, "number": event.run.to_dict()["number"], "reason": event.reason}), flush=True)

    runs = [StubRun(**run) for run in order["runs"]]
    outcome = run_all(runs, Store(Path(order["folder"])), work="lab.stub:work", workers=order["workers"], on_event=say)
    print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    main()
