"""One process that works through runs, single-threaded, and may die without taking anything with it: both ends of its pipe.

The process is a fresh interpreter, not a fork (locks and thread pools of the parent do not survive one) and not `multiprocessing`
either, whose spawn imports the caller's main module again and sets the environment of the parent instead of the child's.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from typing import Any, Literal

SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")
"""sums of floats come out in another order, hence in other bits, under another number of threads"""

LAST_LINES = 20
"""lines of a traceback or of standard error that are kept with a failure"""

TAIL_BYTES = 1 << 16
"""how far back in standard error those lines are looked for"""

PR_SET_PDEATHSIG = 1
"""Linux, prctl(2): the signal to send to this process when the thread that started it ends"""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """How a run ended in its worker: with a result, with an exception, for want of memory, or with the death of the process."""

    kind: Literal["result", "error", "memory", "death"]
    result: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    """one line; empty for a result"""
    detail: str = ""
    """last lines of the traceback or of standard error"""
    seconds: float = 0.0


class Worker:
    """The parent's end: starts the process, hands it one run at a time, and has an answer even if the process has died."""

    def __init__(self, work: str) -> None:
        """`work` is "module:function", from a run's dictionary to its result's, as the child will import it."""
        self.connection, theirs = Pipe()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        # Python's own hash seed is fixed too, so that a loop over a set of strings cannot tell one process from another.
        settings = {**SINGLE_THREADED, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
        arguments = [str(theirs.fileno()), str(os.getpid()), work]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-X", "faulthandler", "-c", f"from {__name__} import serve; serve()", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
            env=os.environ | settings,
            pass_fds=[theirs.fileno()],
            process_group=0,  # Ctrl-C in a terminal reaches the parent only, which lets running work finish
        )
        theirs.close()  # or the pipe would not end when the child does

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def hand(self, run: dict[str, Any]) -> None:
        """Let the process, which must be idle, start on a run."""
        self._began, self._stderr_began = time.monotonic(), os.fstat(self._stderr.fileno()).st_size
        with contextlib.suppress(OSError):  # it died while idle: `reply` says so
            self.connection.send_bytes(json.dumps(run).encode())

    def reply(self) -> Reply:
        """How the run ended. To be asked once something can be read from `connection`, or the process has died."""
        if self.connection.poll():
            with contextlib.suppress(EOFError, OSError):  # OSError: it died in the middle of its answer
                return Reply(**json.loads(self.connection.recv_bytes()))
        self.process.kill()  # it may have closed the pipe and live on
        code = self.process.wait()
        reason = f"worker killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"worker exited with status {code}"
        # SIGKILL is how the kernel takes memory back, and nothing tells it from somebody's kill -9.
        kind: Literal["memory", "death"] = "memory" if code == -signal.SIGKILL else "death"
        return Reply(kind=kind, reason=reason, detail=self._last_lines(), seconds=time.monotonic() - self._began)

    def close(self) -> None:
        """End the process at once, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self.connection.close()
        self._stderr.close()

    def _last_lines(self) -> str:
        """The last lines written during this run; read by position, since the child writes at the offset that both share."""
        end = os.fstat(self._stderr.fileno()).st_size
        start = max(self._stderr_began, end - TAIL_BYTES)
        return _tail(os.pread(self._stderr.fileno(), end - start, start).decode(errors="replace"))


def serve() -> None:
    """The child's end, started with the pipe's descriptor, the parent's pid and the work in argv: runs in, replies out, for ever."""
    descriptor, parent, work = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    _die_with(parent)
    connection = Connection(descriptor)
    runs: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, runs), daemon=True).start()
    while True:
        connection.send_bytes(_perform(work, json.loads(runs.get())))


def _die_with(parent: int) -> None:
    """End when the parent does, even by kill -9. Outside Linux, and between two looks here, `_listen` sees to it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the signal was asked for
        os._exit(1)


def _listen(connection: Connection, runs: "SimpleQueue[bytes]") -> None:
    """Queue what the parent sends; end the process, whatever its main thread does, when the parent's end of the pipe is gone."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            runs.put(connection.recv_bytes())
    os._exit(1)


def _perform(work: str, run: dict[str, Any]) -> bytes:
    """The JSON of a Reply. An exception is an answer too: it would come again, so the process need not die for it."""
    began = time.monotonic()
    try:
        module, _, function = work.partition(":")
        perform = getattr(importlib.import_module(module), function)
        began = time.monotonic()  # a first import may take longer than a run
        reply = {"kind": "result", "result": perform(run), "seconds": time.monotonic() - began}
        return json.dumps(reply, allow_nan=False).encode()
    except Exception as error:
        kind = "memory" if isinstance(error, MemoryError) else "error"
        reason = traceback.format_exception_only(error)[-1].strip()
        reply = {"kind": kind, "reason": reason, "detail": _tail(traceback.format_exc()), "seconds": time.monotonic() - began}
        return json.dumps(reply).encode()


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-LAST_LINES:])
