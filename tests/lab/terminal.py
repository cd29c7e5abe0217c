"""The command line as a user has it: called in this process where a process is not the point, started in one of its own where it is."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple
from unittest import mock

from recall_lab.cli import main

TESTS = Path(__file__).parents[1]

Main = Literal["recall_lab.cli", "lab.stub_training", "lab.one_more_claim"]
"""module whose `main` is the command line that a process of its own executes: the real one, or that with something put in its place"""

TINY = """
seeds = 2
[task]
name = "mqar"
length = 16
pairs = [2, 3]
keys = 8
values = 8
order = "shuffled"
[model]
depth = 1
[mixers.attention]
width = 8
[mixers.linear_attention]
width = 8
feature_width = 2
[budget]
steps = 4
batch = 8
check_every = 2
validation = 16
test = 32
"""
"""a sweep of eight runs that take no time; no window, whose closed form takes longer than they"""


class Ended(NamedTuple):
    """How a call ended, and what it said."""

    code: int
    out: str
    err: str


def call(*arguments: object, cwd: Path) -> Ended:
    """The command line in this process, in that folder; everything it changes about the process is put back."""
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    interrupted = signal.getsignal(signal.SIGINT)
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["recall-lab", *map(str, arguments)]),
        mock.patch.object(sys, "path", [*sys.path, str(Path(__file__).parent)]),
        warnings.catch_warnings(),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            signal.signal(signal.SIGINT, interrupted)
    return Ended(int(str(code or 0)), out.getvalue(), err.getvalue())


def start(*arguments: object, cwd: Path, main: Main = "recall_lab.cli") -> subprocess.Popen[str]:
    """The command line in a process and a process group of its own."""
    paths = [str(TESTS.parent), str(TESTS), str(Path(__file__).parent)]
    return subprocess.Popen(
        [sys.executable, "-c", f"from {main} import main; main()", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
    )


def end(process: subprocess.Popen[str]) -> Ended:
    """How the process ends, which may take a minute at most."""
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return Ended(process.returncode, out, err)


def children(parent: int) -> list[int]:
    """Processes that the parent started and that are not dead yet."""
    fields = {int(path.name): _stat(path) for path in Path("/proc").glob("[0-9]*")}
    return [pid for pid, (state, of) in fields.items() if of == parent and state != "Z"]


def dead(pid: int) -> bool:
    """Gone, or a zombie, which without a reaping init is all that becomes of an orphan."""
    return _stat(Path(f"/proc/{pid}"))[0] == "Z"


def _stat(process: Path) -> tuple[str, int]:
    """State and parent of a process; ("Z", 0) if it is gone."""
    try:
        state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "Z", 0
    return state, int(parent)


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits; fails if it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
