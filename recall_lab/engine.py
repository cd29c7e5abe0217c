"""Every run gets its row, whatever dies on the way: worker processes over a list of runs, with the store between them.

What may happen, and what comes of it:
    an exception in the work            recorded at once, since it would come again
    a worker dies (crash, signal)       the run is tried once more, then recorded
    a worker lacks memory               the same, but the second time nothing else runs; kill -9 counts, for so does the kernel kill
    the disk refuses a row              that run counts as failed, and the store is whole
    Ctrl-C, SIGTERM                     nothing new is started, running work has GRACE seconds (a second signal: none)
    the parent is killed                its workers die with it and the kernel releases its claims
    another process, the same folder    each run is done by whoever claims it first; if they die, it is taken over
A run that failed is tried again by the next call. The order of completion decides nothing but the order of events.
"""

import contextlib
import functools
import platform
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from multiprocessing.connection import wait
from types import FrameType, TracebackType
from typing import Any, Literal

from .store import Claim, Row, Runnable, Store
from .worker import Reply, Worker

GRACE = 5.0
"""seconds that running work has to finish after an interruption"""

TICK = 0.1
"""seconds between two looks at signals and at runs that another process holds"""

Kind = Literal["started", "finished", "failed", "skipped", "retried"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a run: `finished` and `skipped` bring its row, `failed` and `retried` the reason."""

    kind: Kind
    run: Runnable
    row: Row | None = None
    reason: str = ""
    detail: str = ""
    """last lines of the traceback or of the worker's standard error"""
    seconds: float = 0.0
    """what the work took, without starting the worker or importing"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How many runs this call finished, failed at, and found done already or done meanwhile by another process."""

    finished: int
    failed: int
    skipped: int
    interrupted: bool


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    run: Runnable
    claim: Claim
    number: int = 1
    alone: bool = False
    """whether nothing else may run beside it"""


def run_all(
    runs: Sequence[Runnable],
    store: Store,
    *,
    work: str = "recall_lab.train:work",
    workers: int,
    on_event: Callable[[Event], None],
) -> Outcome:
    """Give every run a row in the store, computed by `work` ("module:function", dictionary to dictionary) in `workers` processes.

    `work` should turn any other sign of a lack of memory into MemoryError. Signals are looked after if this is the main thread.
    Raises ValueError for workers < 1, and InputError if the store's folder cannot be used.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    sweep = _Sweep(store.open(), work, workers, on_event)
    with _Interruption() as interruption:
        try:
            sweep.take_up(runs)
            while sweep.unfinished and not interruption.asked:
                sweep.hand_out()
                sweep.collect()
            while sweep.busy and not interruption.over:
                sweep.collect()
        finally:
            sweep.close()
    counts = sweep.counts
    return Outcome(finished=counts["finished"], failed=counts["failed"], skipped=counts["skipped"], interrupted=interruption.asked)


class _Sweep:
    """Where every run stands: queued, waiting for its second attempt, or with a worker."""

    def __init__(self, store: Store, work: str, workers: int, on_event: Callable[[Event], None]) -> None:
        self.store, self.work, self.workers, self.on_event = store, work, workers, on_event
        self.queue: deque[Runnable] = deque()
        self.again: deque[_Attempt] = deque()
        self.busy: dict[Worker, _Attempt] = {}
        self.idle: list[Worker] = []
        self.counts: Counter[Kind] = Counter()

    @property
    def unfinished(self) -> bool:
        return bool(self.queue or self.again or self.busy)

    def take_up(self, runs: Sequence[Runnable]) -> None:
        """Queue the runs that have no row; tell of the others first, so that a resumed sweep shows at once how much is left."""
        rows = self.store.rows(run.hash for run in runs)
        for run in runs:
            if run.hash in rows:
                self._tell("skipped", run, row=rows[run.hash])
            else:
                self.queue.append(run)

    def hand_out(self) -> None:
        """Start as many runs as there are workers free for them."""
        while len(self.busy) < self.workers and (attempt := self._next()):
            worker = self._free_worker(attempt.alone)
            self.busy[worker] = attempt
            worker.hand(attempt.run.to_dict())
            self._tell("started", attempt.run)

    def collect(self) -> None:
        """Wait a tick for answers and deaths, and settle the runs they are about."""
        answered = wait([worker.connection for worker in self.busy], timeout=TICK)
        for worker in [worker for worker in self.busy if worker.connection in answered or not worker.alive]:
            reply = worker.reply()
            attempt = self.busy.pop(worker)
            if reply.kind in ("result", "error"):
                self.idle.append(worker)
            else:
                worker.close()
            self._settle(attempt, reply)

    def close(self) -> None:
        """End every worker and give up every claim."""
        for worker in (*self.busy, *self.idle):
            worker.close()
        for attempt in (*self.busy.values(), *self.again):
            attempt.claim.release()

    def _next(self) -> _Attempt | None:
        """What may start now: a second attempt, else a queued run that nobody holds, else, if all is quiet, one that must be alone."""
        if any(attempt.alone for attempt in self.busy.values()):
            return None
        if self.again and not self.again[0].alone:
            return self.again.popleft()
        for _ in range(len(self.queue)):
            run = self.queue.popleft()
            claim = self.store.claim(run.hash)
            if claim is None:
                self.queue.append(run)  # another process is at it: looked at again a tick later, until its row or its death
            elif row := self.store.read(run.hash):
                claim.release()
                self._tell("skipped", run, row=row)
            else:
                return _Attempt(run=run, claim=claim)
        return self.again.popleft() if self.again and not self.busy else None

    def _free_worker(self, alone: bool) -> Worker:
        """An idle worker or a new one; for a run that must be alone a new one, since the idle ones hold memory too."""
        while self.idle:
            worker = self.idle.pop()
            if worker.alive and not alone:
                return worker
            worker.close()
        return Worker(self.work)

    def _settle(self, attempt: _Attempt, reply: Reply) -> None:
        if reply.kind in ("memory", "death") and attempt.number == 1:
            second = replace(attempt, number=2, alone=reply.kind == "memory")
            (self.again.append if second.alone else self.again.appendleft)(second)
            self._tell("retried", attempt.run, reason=reply.reason, detail=reply.detail, seconds=reply.seconds)
            return
        with attempt.claim:
            if reply.kind == "result":
                self._keep(attempt, reply)
            else:
                self._give_up(attempt, reply)

    def _keep(self, attempt: _Attempt, reply: Reply) -> None:
        try:
            row = self.store.write(attempt.run, reply.result, _meta(attempt, reply))
        except OSError as error:
            self._give_up(attempt, replace(reply, reason=f"its row could not be written: {error.strerror}"))
        else:
            self._tell("finished", attempt.run, row=row, seconds=reply.seconds)

    def _give_up(self, attempt: _Attempt, reply: Reply) -> None:
        with contextlib.suppress(OSError):  # a disk that refuses rows may refuse this too; the event still tells
            self.store.write_failure(attempt.run, reply.reason, reply.detail, _meta(attempt, reply))
        self._tell("failed", attempt.run, reason=reply.reason, detail=reply.detail, seconds=reply.seconds)

    def _tell(self, kind: Kind, run: Runnable, **what: Any) -> None:
        self.counts[kind] += 1
        self.on_event(Event(kind=kind, run=run, **what))


class _Interruption:
    """SIGINT and SIGTERM as something to look at between two steps, so that neither can break a step in the middle."""

    def __init__(self) -> None:
        self._deadline = float("inf")
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether a signal came."""
        return self._deadline < float("inf")

    @property
    def over(self) -> bool:
        """Whether running work has had its time."""
        return time.monotonic() >= self._deadline

    def __enter__(self) -> "_Interruption":
        if threading.current_thread() is threading.main_thread():  # Python gives signals to no other
            self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._deadline = time.monotonic() + (0.0 if self.asked else GRACE)


def _meta(attempt: _Attempt, reply: Reply) -> dict[str, Any]:
    """When, where and with what a run was computed; no part of its result."""
    return {
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(reply.seconds, 3),
        "attempts": attempt.number,
        "host": platform.node(),
        "versions": _versions(),
    }


@functools.cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("recall-lab", "torch", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
