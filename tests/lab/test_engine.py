import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Pipe
from pathlib import Path

import pytest
from lab import stub
from lab.stub_sweep import StubRun, contents, lines, start
from lab.terminal import dead, until

from recall_lab.engine import Event, Outcome, run_all
from recall_lab.store import Row, Store, StoreWarning
from recall_lab.worker import LAST_LINES, Worker


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out")


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where the stub notes what it began and ended."""
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


def some(marks: Path, *does: str, seconds: float = 0.0) -> list[StubRun]:
    return [StubRun(number=number, marks=str(marks), do=do, seconds=seconds) for number, do in enumerate(does)]


def go(runs: Sequence[StubRun], store: Store, workers: int = 2, work: str = "lab.stub:work") -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    outcome = run_all(runs, store, work=work, workers=workers, on_event=events.append)
    return outcome, events


def noted(marks: Path, what: str, number: int | None = None) -> list[tuple[int, float]]:
    """Process and time of each beginning or end, of one run or of all."""
    pattern = f"*.{what}" if number is None else f"{number}.{what}"
    texts = [line.split() for path in marks.glob(pattern) for line in path.read_text().splitlines()]
    return [(int(pid), float(at)) for pid, at in texts]


def undisturbed(runs: Sequence[StubRun], folder: Path) -> list[tuple[str, str, str]]:
    """The contents of a store in which each run was simply done, here."""
    rows = {run.hash: Row(run.to_dict(), stub.work(run.to_dict() | {"seconds": 0.0, "do": "count"}), {}) for run in runs}
    for path in folder.glob("*.*"):
        path.unlink()
    return contents(dict(sorted(rows.items())))


def test_every_run_gets_the_row_that_its_work_returns(store: Store, marks: Path) -> None:
    runs = some(marks, *["count"] * 6)
    outcome, events = go(runs, store)
    assert outcome == Outcome(finished=6, failed=0, skipped=0, interrupted=False)
    assert contents(store.rows()) == undisturbed(runs, marks)
    assert all(event.row == store.read(event.run.hash) for event in events if event.kind == "finished")
    for run in runs:
        assert [event.kind for event in events if event.run == run] == ["started", "finished"]


def test_meta_says_when_where_with_what_and_how_often(store: Store, marks: Path) -> None:
    go(some(marks, "count", seconds=0.2), store)
    (row,) = store.rows().values()
    assert 0.2 <= row.meta["seconds"] < 5
    assert row.meta["attempts"] == 1
    assert row.meta["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert row.meta["host"]
    assert row.meta["ended"].endswith("+00:00")


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_no_bit_of_a_row(store: Store, marks: Path, workers: int) -> None:
    runs = some(marks, *["count"] * 8)
    go(runs, store, workers=workers)
    assert contents(store.rows()) == undisturbed(runs, marks)


def test_finished_runs_are_skipped_with_their_rows(store: Store, marks: Path) -> None:
    runs = some(marks, "count", "count", "count")
    go(runs[1:], store)
    outcome, events = go(runs, store)
    assert outcome == Outcome(finished=1, failed=0, skipped=2, interrupted=False)
    assert [event.kind for event in events] == ["skipped", "skipped", "started", "finished"]
    assert [event.row for event in events[:2]] == [store.read(run.hash) for run in runs[1:]]
    assert len(noted(marks, "begin")) == 3


def test_a_run_that_is_listed_twice_is_done_once(store: Store, marks: Path) -> None:
    runs = some(marks, "count", seconds=0.2) * 2
    assert go(runs, store)[0] == Outcome(finished=1, failed=0, skipped=1, interrupted=False)
    assert len(noted(marks, "begin")) == 1


def test_fewer_than_one_worker_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        go([], store, workers=0)


def test_no_runs_are_done_at_once(store: Store) -> None:
    assert go([], store) == (Outcome(finished=0, failed=0, skipped=0, interrupted=False), [])


def test_workers_persist_have_one_thread_and_have_imported_nothing_heavy(store: Store, marks: Path) -> None:
    go(some(marks, *["count"] * 4), store, workers=1, work="lab.stub:threads")
    results = [row.result for row in store.rows().values()]
    assert results == [{"threads": ["1", "1", "1", "0"], "heavy": [], "pid": results[0]["pid"]}] * 4
    assert results[0]["pid"] != os.getpid()


def test_an_exception_is_recorded_at_once_with_its_traceback(store: Store, marks: Path) -> None:
    runs = some(marks, "raise", "count")
    outcome, events = go(runs, store, workers=1)
    assert outcome == Outcome(finished=1, failed=1, skipped=0, interrupted=False)
    failure = store.failures()[runs[0].hash]
    assert failure.reason == "ValueError: run 0 cannot be done"
    assert failure.detail.startswith("Traceback")
    assert failure.detail.endswith(failure.reason)
    assert "_misbehave" in failure.detail
    assert [event.kind for event in events] == ["started", "failed", "started", "finished"]
    assert len({pid for pid, _ in noted(marks, "begin")}) == 1, "the worker need not die for it"


def test_a_run_that_failed_is_tried_again_by_the_next_call(store: Store, marks: Path) -> None:
    runs = some(marks, "raise once")
    assert go(runs, store)[0].failed == 1
    assert go(runs, store)[0].finished == 1
    assert store.failures() == {}
    assert len(store.rows()) == 1


def test_a_result_that_json_cannot_hold_is_a_failure(store: Store, marks: Path) -> None:
    runs = some(marks, "nan")
    assert go(runs, store)[0].failed == 1
    assert "JSON" in store.failures()[runs[0].hash].reason


def test_work_that_cannot_be_imported_is_a_failure_that_says_so(store: Store, marks: Path) -> None:
    runs = some(marks, "count")
    assert go(runs, store, work="lab.nowhere:work")[0].failed == 1
    assert store.failures()[runs[0].hash].reason == "ModuleNotFoundError: No module named 'lab.nowhere'"


@pytest.mark.parametrize("death", ["kill once", "exit once", "memory once"])
def test_a_run_whose_worker_died_is_tried_again(store: Store, marks: Path, death: str) -> None:
    runs = some(marks, "count", death, "count", "count")
    outcome, events = go(runs, store)
    assert outcome == Outcome(finished=4, failed=0, skipped=0, interrupted=False)
    assert [event.kind for event in events if event.run == runs[1]] == ["started", "retried", "started", "finished"]
    row = store.read(runs[1].hash)
    assert row is not None
    assert row.meta["attempts"] == 2
    assert store.failures() == {}


@pytest.mark.parametrize(
    ("death", "reason", "last"),
    [
        ("kill", "worker killed by signal 9 (Killed)", "run 1 speaks"),
        ("exit", "worker exited with status 3", "line 99"),
        ("memory", "MemoryError: no room", "MemoryError: no room"),
    ],
)
def test_a_second_death_is_recorded_with_its_reason_and_last_lines(store: Store, marks: Path, death: str, reason: str, last: str) -> None:
    runs = some(marks, "count", death, "count")
    outcome, events = go(runs, store, workers=1)
    assert outcome == Outcome(finished=2, failed=1, skipped=0, interrupted=False)
    failure = store.failures()[runs[1].hash]
    assert (failure.reason, failure.detail.splitlines()[-1], failure.meta["attempts"]) == (reason, last, 2)
    assert len(failure.detail.splitlines()) <= LAST_LINES
    assert len(noted(marks, "begin", 1)) == 2
    retried, failed = (event for event in events if event.kind in ("retried", "failed"))
    assert (failed.reason, failed.detail) == (failure.reason, failure.detail)
    assert retried.reason == reason
    assert "run 0" not in retried.detail, "that was another run in the same process"


def test_a_crash_in_native_code_says_where_it_happened(store: Store, marks: Path) -> None:
    runs = some(marks, "segfault")
    assert go(runs, store)[0].failed == 1
    failure = store.failures()[runs[0].hash]
    assert failure.reason == "worker killed by signal 11 (Segmentation fault)"
    assert "in _misbehave" in failure.detail


@pytest.mark.parametrize("death", ["memory once", "kill once"])
def test_after_a_death_for_memory_the_run_is_alone_in_a_new_process(store: Store, marks: Path, death: str) -> None:
    go(some(marks, death, *["count"] * 5, seconds=0.15), store, workers=3)
    pid, began = noted(marks, "begin", 0)[1]
    ((_, ended),) = noted(marks, "end", 0)
    others = [time for number in range(1, 6) for what in ("begin", "end") for _, time in noted(marks, what, number)]
    assert len(others) == 10
    assert not any(began <= time <= ended for time in others)
    used = {other for number in range(1, 6) for other, _ in noted(marks, "begin", number)}
    assert pid not in used
    assert all(dead(other) for other in used)


def test_a_run_that_must_be_alone_is_not_joined_by_one_that_another_process_lets_go(store: Store, marks: Path) -> None:
    def let_go(event: Event) -> None:
        if event.kind == "retried":
            again.append(event.run)
        if event.kind == "started" and again:
            held.release()

    runs = some(marks, "memory once", "count", seconds=0.5)
    held = store.open().claim(runs[1].hash)
    assert held is not None
    again: list[object] = []
    assert run_all(runs, store, work="lab.stub:work", workers=2, on_event=let_go).finished == 2
    assert noted(marks, "end", 0)[0][1] < noted(marks, "begin", 1)[0][1]


def test_a_death_is_noticed_though_a_process_it_started_lives_on(store: Store, marks: Path) -> None:
    assert go(some(marks, "orphan once"), store)[0].finished == 1
    assert noted(marks, "orphan") == []
    (marks / "open").touch()


def test_a_run_that_must_be_alone_holds_up_no_other_second_attempt(store: Store, marks: Path) -> None:
    runs = some(marks, "memory once", "exit once", "count")
    _, events = go(runs, store, workers=1)
    assert [event.run for event in events if event.kind == "started"] == [runs[0], runs[1], runs[1], runs[2], runs[0]]


def test_after_another_death_the_run_goes_next_beside_others(store: Store, marks: Path) -> None:
    runs = some(marks, "exit once", "gate", *["count"] * 3)

    def open_once_both_run(event: Event) -> None:
        started.extend([event.run] if event.kind == "started" else [])
        if len(noted(marks, "begin", 0)) == 2:
            (marks / "open").touch()

    started: list[object] = []
    run_all(runs, store, work="lab.stub:work", workers=2, on_event=open_once_both_run)
    assert started == [runs[0], runs[1], runs[0], *runs[2:]]


def test_a_worker_that_died_while_idle_costs_nothing(store: Store, marks: Path) -> None:
    def shoot(event: Event) -> None:
        events.append(event)
        if event.kind == "finished" and event.run == runs[0]:
            ((pid, _),) = noted(marks, "begin", 0)
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # until all its threads are dead

    events: list[Event] = []
    runs = some(marks, "count", "count")
    run_all(runs, store, work="lab.stub:work", workers=1, on_event=shoot)
    assert [event.kind for event in events] == ["started", "finished"] * 2


def test_a_worker_that_is_dead_when_it_is_handed_a_run_answers_with_its_death(marks: Path) -> None:
    worker = Worker("lab.stub:work")
    worker.process.kill()
    os.waitid(os.P_PID, worker.process.pid, os.WEXITED | os.WNOWAIT)
    worker.hand(some(marks, "count")[0].to_dict())
    assert worker.reply().reason == "worker killed by signal 9 (Killed)"
    worker.close()


def test_a_bad_row_is_done_again_and_the_others_are_left_alone(store: Store, marks: Path) -> None:
    runs = some(marks, *["count"] * 5)
    go(runs, store)
    whole = store.rows()
    paths = [store.folder / "runs" / f"{run.hash}.json" for run in runs]
    paths[0].write_bytes(paths[0].read_bytes()[:-40])
    paths[1].write_text(paths[1].read_text().replace('"number":1', '"number":2'))
    paths[2].write_text(paths[2].read_text().replace('"schema":1', '"schema":0'))
    kept = [path.stat().st_mtime_ns for path in paths[3:]]
    with pytest.warns(StoreWarning) as said:
        outcome, _ = go(runs, store)
    assert outcome == Outcome(finished=3, failed=0, skipped=2, interrupted=False)
    assert len(said) == 3
    assert contents(store.rows()) == contents(whole)
    assert [path.stat().st_mtime_ns for path in paths[3:]] == kept
    assert len(list((store.folder / "quarantine").iterdir())) == 3


def test_a_row_that_the_disk_refuses_fails_its_run_only(store: Store, marks: Path) -> None:
    runs = some(marks, "count", "count", "count")
    runs[1] = StubRun(number=1, marks=str(marks), size=2000)
    *_, outcome = lines(start(store.folder, runs, workers=2, largest_file=10_000))
    assert outcome == {"finished": 2, "failed": 1, "skipped": 0, "interrupted": False}
    assert set(store.rows()) == {runs[0].hash, runs[2].hash}
    assert store.failures()[runs[1].hash].reason == "its row could not be written: File too large"
    assert not list(store.folder.rglob("*.tmp"))
    assert go(runs, store)[0] == Outcome(finished=1, failed=0, skipped=2, interrupted=False)


def test_a_disk_that_refuses_everything_fails_every_run_and_nothing_else(
    store: Store, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    store.open()
    monkeypatch.setattr(os, "fsync", refuse)
    outcome, events = go(some(marks, "count", "raise"), store)
    assert outcome == Outcome(finished=0, failed=2, skipped=0, interrupted=False)
    assert {event.reason.partition(":")[0] for event in events if event.kind == "failed"} == {"its row could not be written", "ValueError"}
    assert not any(path.is_file() for part in ("runs", "failed") for path in (store.folder / part).iterdir())


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no signal comes from the kernel")


@pytest.mark.parametrize("work", ["hang", pytest.param("seize", marks=ON_LINUX)])
def test_workers_die_with_a_parent_that_is_killed(store: Store, marks: Path, work: str) -> None:
    with start(store.folder, some(marks, work, work), workers=2) as sweep:
        until(lambda: len(noted(marks, "begin")) == 2)
        pids = [pid for pid, _ in noted(marks, "begin")]
        assert not any(dead(pid) for pid in pids)
        sweep.kill()
        until(lambda: all(dead(pid) for pid in pids), seconds=2)


def test_a_worker_ends_with_the_pipe_where_the_kernel_does_not_see_to_it(marks: Path) -> None:
    ours, theirs = Pipe()
    script = "from recall_lab import worker; worker._die_with = lambda parent: None; worker.serve()"
    arguments = [str(theirs.fileno()), "0", "lab.stub:work"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script, *arguments], env=env, pass_fds=[theirs.fileno()]) as worker:
        theirs.close()
        ours.send_bytes(json.dumps(some(marks, "hang")[0].to_dict()).encode())
        until(lambda: len(noted(marks, "begin")) == 1)
        ours.close()
        assert worker.wait(timeout=2) == 1


def test_a_worker_whose_parent_died_before_it_looked_ends_too() -> None:
    script = "from recall_lab import worker; worker._die_with(0); print('alive')"
    ended = subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True)
    assert (ended.returncode, ended.stdout) == (1, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_lets_running_work_finish_and_starts_no_more(store: Store, marks: Path, number: signal.Signals) -> None:
    runs = some(marks, *["gate"] * 6)
    sweep = start(store.folder, runs, workers=2)
    until(lambda: len(noted(marks, "begin")) == 2)
    os.killpg(sweep.pid, number)  # the whole group, as a terminal does
    (marks / "open").touch()
    *_, outcome = lines(sweep)
    assert outcome == {"finished": 2, "failed": 0, "skipped": 0, "interrupted": True}
    assert sweep.returncode == 0
    assert len(noted(marks, "begin")) == 2
    assert go(runs, store)[0] == Outcome(finished=4, failed=0, skipped=2, interrupted=False)
    assert contents(store.rows()) == undisturbed(runs, marks)


def test_work_that_outlasts_the_grace_is_killed_and_can_be_resumed(store: Store, marks: Path) -> None:
    runs = some(marks, "hang once", "count")
    sweep = start(store.folder, runs, workers=1, grace=0.5)
    until(lambda: len(noted(marks, "begin")) == 1)
    ((pid, _),) = noted(marks, "begin")
    sweep.send_signal(signal.SIGINT)
    asked = time.monotonic()
    *_, outcome = lines(sweep)
    assert outcome == {"finished": 0, "failed": 0, "skipped": 0, "interrupted": True}
    assert 0.4 < time.monotonic() - asked < 10
    assert dead(pid)
    assert go(runs, store)[0].finished == 2


def test_a_second_signal_ends_the_grace(store: Store, marks: Path) -> None:
    sweep = start(store.folder, some(marks, "hang"), workers=1, grace=60)
    until(lambda: len(noted(marks, "begin")) == 1)
    sweep.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert sweep.poll() is None
    sweep.send_signal(signal.SIGTERM)
    *_, outcome = lines(sweep)
    assert outcome["interrupted"]


def test_signals_mean_afterwards_what_they_meant_before(store: Store, marks: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    go(some(marks, "count"), store)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_it_runs_in_a_thread_too(store: Store, marks: Path) -> None:
    thread = threading.Thread(target=go, args=(some(marks, "count"), store))
    thread.start()
    thread.join()
    assert len(store.rows()) == 1


def test_an_error_of_the_listener_ends_the_workers_and_frees_the_runs(store: Store, marks: Path) -> None:
    def object_to(event: Event) -> None:
        until(lambda: len(noted(marks, "begin")) == 1)
        raise RuntimeError("the screen is gone")

    runs = some(marks, "hang once")
    with pytest.raises(RuntimeError, match="the screen is gone") as held:  # holds the frames, hence the claims, if nobody lets go
        run_all(runs, store, work="lab.stub:work", workers=1, on_event=object_to)
    ((pid, _),) = noted(marks, "begin")
    assert dead(pid)
    with store.claim(runs[0].hash) as claim:
        assert claim is not None
    assert held.traceback


def test_two_sweeps_on_one_folder_share_the_runs(store: Store, marks: Path) -> None:
    runs = some(marks, *["gate"] * 12)
    sweeps = [start(store.folder, runs, workers=2) for _ in range(2)]
    until(lambda: len(noted(marks, "begin")) == 4)
    (marks / "open").touch()
    outcomes = [lines(sweep)[-1] for sweep in sweeps]
    assert sum(outcome["finished"] for outcome in outcomes) == 12
    assert all(outcome["finished"] + outcome["skipped"] == 12 and outcome["failed"] == 0 for outcome in outcomes)
    assert all(outcome["finished"] > 0 for outcome in outcomes)
    assert len(noted(marks, "begin")) == 12
    assert contents(store.rows()) == undisturbed(runs, marks)


def test_a_sweep_waits_for_runs_that_another_holds_and_takes_them_over_if_it_dies(store: Store, marks: Path) -> None:
    runs = some(marks, "hang once", "count")
    with start(store.folder, runs[:1], workers=1) as first:
        until(lambda: len(noted(marks, "begin", 0)) == 1)
        second = start(store.folder, runs, workers=1)
        until(lambda: len(noted(marks, "end", 1)) == 1)
        time.sleep(0.5)
        assert second.poll() is None
        assert len(noted(marks, "begin", 0)) == 1
        first.kill()
    *_, outcome = lines(second)
    assert outcome == {"finished": 2, "failed": 0, "skipped": 0, "interrupted": False}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))])
def test_killed_at_any_moment_and_resumed_the_rows_are_the_same_to_the_bit(store: Store, marks: Path, seed: int) -> None:
    chance = random.Random(seed)
    runs = some(marks, *["count"] * 40, seconds=0.05)
    for _ in range(3):
        before = len(noted(marks, "begin"))
        with start(store.folder, runs, workers=2) as sweep:
            until(lambda: len(noted(marks, "begin")) > before or sweep.poll() is not None)  # noqa: B023  (called at once)
            time.sleep(chance.uniform(0, 0.2))
            sweep.kill()
    outcome, _ = go(runs, store)
    assert outcome.finished > 0
    assert outcome.finished + outcome.skipped == 40
    assert contents(store.rows()) == undisturbed(runs, marks)
    assert not list(store.folder.rglob("*.tmp"))
