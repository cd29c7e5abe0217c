"""Work for the engine's tests that needs no training: what a run asks for, it does. Imported by workers, so it imports little."""

import ctypes
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def work(run: dict[str, Any]) -> dict[str, Any]:
    """Sleep, misbehave as `do` says (only the first time if it ends in "once"), and return numbers that depend on the run alone."""
    before = _mark(run, "begin")
    print(f"run {run['number']} speaks", file=sys.stderr, flush=True)
    time.sleep(run["seconds"])
    do = run["do"].removesuffix(" once")
    if do == run["do"] or before == 0:
        _misbehave(do, run)
    _mark(run, "end")
    if do == "nan":
        return {"loss": math.nan}
    return {"number": run["number"], "third": run["number"] / 3, "series": [run["number"] ** 0.5 / k for k in range(1, run["size"] + 1)]}


def threads(run: dict[str, Any]) -> dict[str, Any]:
    """What a worker finds in its environment before anything of ours is imported, and which of the heavy libraries that has pulled in."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED")
    return {
        "threads": [os.environ[name] for name in names],
        "heavy": [name for name in ("numpy", "torch") if name in sys.modules],
        "pid": os.getpid(),
    }


def _misbehave(do: str, run: dict[str, Any]) -> None:
    if do == "raise":
        raise ValueError(f"run {run['number']} cannot be done")
    if do == "memory":
        raise MemoryError("no room")
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "exit":
        print("\n".join(f"line {number}" for number in range(100)), file=sys.stderr, flush=True)
        os._exit(3)
    if do == "segfault":
        ctypes.string_at(0)
    if do == "gate":
        _wait_for_gate(run)
    if do == "hang":
        time.sleep(600)
    if do == "seize":  # the same in native code that lets no other thread run
        ctypes.PyDLL(None).sleep(600)
    if do == "orphan":  # dies, and leaves a child behind that has inherited its end of the pipe
        if os.fork() == 0:
            _wait_for_gate(run)
            _mark(run, "orphan")
        os._exit(4)


def _wait_for_gate(run: dict[str, Any]) -> None:
    for _ in range(2000):
        if (Path(run["marks"]) / "open").exists():
            return
        time.sleep(0.01)


def _mark(run: dict[str, Any], what: str) -> int:
    """Note that the run begins or ends here, and when; returns how often that was noted before."""
    path = Path(run["marks"]) / f"{run['number']}.{what}"
    before = path.read_text().count("\n") if path.exists() else 0
    with path.open("a") as file:
        file.write(f"{os.getpid()} {time.monotonic()}\n")
    return before
