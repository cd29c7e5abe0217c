"""Memory by a process of its own, whose peak is that of one thing."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")


def in_own_process(module: str, *arguments: object) -> tuple[float, int]:
    """Seconds of a process that runs a module of this folder, and the bytes that it prints."""
    command, started = [sys.executable, "-m", module, *map(str, arguments)], time.perf_counter()
    child = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    return time.perf_counter() - started, int(child.stdout)


def peak_of(run: Callable[[], R]) -> tuple[int, R]:
    """Bytes by which this process's memory peaks above what it holds now, and what `run` gives; where nothing else ran before (Linux)."""
    before = resident()["VmRSS"]
    result = run()
    return resident()["VmHWM"] - before, result


def resident() -> dict[str, int]:
    """Resident memory of this process in bytes: now (VmRSS) and at its highest (VmHWM), which unlike getrusage's forgets the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS:", "VmHWM:"))}
