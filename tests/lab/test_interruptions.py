"""Whatever is killed, interrupted, started twice or damaged: the same command again, and the table is the uninterrupted one."""

import json
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.stub_training import without_training
from lab.terminal import TINY, Ended, Main, call, children, dead, end, start, until

from recall_lab.store import SCHEMA, content_hash
from recall_lab.tasks.stream import canonical_json

SPEC = TINY.replace("steps = 4", "steps = 60")
"""so long that training, too, can be met in the middle"""

RUNS = 8
"""of that sweep"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where one works, with a sweep in it, and how long a stubbed run takes."""
    (tmp_path / "tiny.toml").write_text(SPEC)
    monkeypatch.setenv("STUB_BEGUN", str(tmp_path / "begun"))
    monkeypatch.setenv("STUB_SECONDS", "0")
    (tmp_path / "begun").touch()
    return tmp_path


@pytest.fixture
def stubbed() -> Iterator[None]:
    """Sweeps of this process do not train either."""
    with without_training():
        yield


def finish(folder: Path, out: str, *options: object) -> Ended:
    """The sweep, here, to its end."""
    return call("sweep", "tiny.toml", "--out", out, "--workers", 1, *options, cwd=folder)


def table(folder: Path, out: str) -> str:
    found = call("table", out, "--json", cwd=folder)
    assert (found.code, found.err) == (0, "")
    return found.out


def begun(folder: Path) -> Counter[str]:
    """How often each run was begun."""
    return Counter(content_hash(json.loads(line))[:16] for line in (folder / "begun").read_text().splitlines())


def rows(folder: Path, out: str) -> list[Path]:
    return sorted((folder / out / "runs").glob("[!.]*.json"))


def kill_in_the_middle(folder: Path, workers: int, main: Main, chance: random.Random, *, a_worker_first: bool) -> None:
    """Start the sweep, let it get a row further, kill one of its workers if asked to, then the parent; nothing may be left of it."""
    before = len(rows(folder, "out"))
    with start("sweep", "tiny.toml", "--out", "out", "--workers", workers, cwd=folder, main=main) as parent:
        if a_worker_first:
            until(lambda: children(parent.pid) != [])
            time.sleep(chance.uniform(0, 0.3))
            os.kill(chance.choice(children(parent.pid)), signal.SIGKILL)
        until(lambda: len(rows(folder, "out")) > before, seconds=60)
        time.sleep(chance.uniform(0, 0.1))
        left_behind = children(parent.pid)
        assert left_behind
        parent.kill()
        parent.communicate()
        until(lambda: all(map(dead, left_behind)), seconds=2)


CASES = [
    ("lab.stub_training", 2, 0),
    *(pytest.param("lab.stub_training", 1, seed, marks=pytest.mark.slow) for seed in range(2)),
    *(pytest.param("recall_lab.cli", workers, seed, marks=pytest.mark.slow) for workers in (1, 2) for seed in range(2)),
]


@pytest.mark.parametrize(("main", "workers", "seed"), CASES)
def test_killed_three_times_and_resumed_the_table_is_that_of_an_uninterrupted_sweep(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    main: Main,
    workers: int,
    seed: int,
) -> None:
    if main == "lab.stub_training":
        request.getfixturevalue("stubbed")
    whole = finish(folder, "whole", "--json")
    monkeypatch.setenv("STUB_SECONDS", "0.15")
    chance = random.Random(seed)
    kill_in_the_middle(folder, workers, main, chance, a_worker_first=False)
    kill_in_the_middle(folder, workers, main, chance, a_worker_first=True)
    assert 2 <= len(rows(folder, "out")) < RUNS
    resumed = finish(folder, "out", "--json")
    assert (whole.code, resumed.code) == (0, 0)
    assert table(folder, "out") == table(folder, "whole") == whole.out == resumed.out
    assert json.loads(resumed.out)["done"] == RUNS


def test_two_sweeps_at_once_on_one_folder_share_the_runs_and_both_end_well(
    folder: Path, stubbed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(folder, "whole")
    (folder / "begun").write_text("")
    monkeypatch.setenv("STUB_SECONDS", "0.3")
    both = [start("sweep", "tiny.toml", "--out", "out", "--workers", 2, "--json", cwd=folder, main="lab.stub_training") for _ in range(2)]
    ended = [end(process) for process in both]
    assert [found.code for found in ended] == [0, 0], [found.err for found in ended]
    assert sorted(begun(folder).values()) == [1] * RUNS
    assert table(folder, "out") == table(folder, "whole") == ended[0].out == ended[1].out
    assert not any((folder / "out" / "quarantine").iterdir())


def cut(text: str) -> str:
    return text[: len(text) // 2]


def flip(text: str) -> str:
    """Another last digit of the accuracy."""
    return re.sub(r'("accuracy":[\d.]*)(\d)', lambda found: found[1] + str((int(found[2]) + 1) % 10), text, count=1)


def of_another_schema(text: str) -> str:
    """A row that is sound in itself, as another version of the lab might write it."""
    record = json.loads(text) | {"schema": SCHEMA + 1}
    del record["sha256"]
    return canonical_json(record | {"sha256": content_hash(record)}) + "\n"


@pytest.mark.parametrize(
    ("damage", "flaw"),
    [(cut, "it is not whole JSON"), (flip, "its checksum does not fit its content"), (of_another_schema, "its schema is")],
)
def test_a_damaged_row_is_set_aside_with_a_warning_and_only_its_run_is_done_again(
    folder: Path, stubbed: None, damage: Callable[[str], str], flaw: str
) -> None:
    finish(folder, "out")
    before, found = table(folder, "out"), rows(folder, "out")
    untouched = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found[1:]}
    damaged = damage(found[0].read_text())
    assert damaged != found[0].read_text()
    found[0].write_text(damaged)
    (folder / "begun").write_text("")
    again = finish(folder, "out", "--quiet")
    assert again.code == 0
    (warning,) = [line for line in again.err.splitlines() if line.startswith("recall-lab: ")]
    assert warning.startswith(f"recall-lab: {found[0].relative_to(folder)} does not count, since {flaw}")
    assert [path.read_text() for path in (folder / "out" / "quarantine").iterdir()] == [damaged]
    assert begun(folder) == {found[0].stem: 1}
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found[1:]} == untouched
    assert table(folder, "out") == before


def test_ctrl_c_lets_running_work_finish_says_so_and_leaves_a_folder_to_go_on_from(
    folder: Path, stubbed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(folder, "whole")
    monkeypatch.setenv("STUB_SECONDS", "0.5")
    (folder / "begun").write_text("")
    process = start("sweep", "tiny.toml", "--out", "out", "--workers", 2, cwd=folder, main="lab.stub_training")
    until(lambda: len(begun(folder)) == 2)
    os.killpg(process.pid, signal.SIGINT)
    found = end(process)
    assert (found.code, found.out) == (130, "")
    assert "Traceback" not in found.err
    assert found.err.splitlines()[-1] == "interrupted; what finished is kept in out: the same command goes on from there"
    assert len(rows(folder, "out")) == 2
    assert finish(folder, "out").code == 0
    assert table(folder, "out") == table(folder, "whole")


CLUMSY = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
except BaseException:
    raise RuntimeError("cannot be imported")
"""
"""a module that makes another exception of an interruption, as large libraries may while they are being imported"""


def test_ctrl_c_during_an_import_that_mistakes_it_for_an_error_ends_the_command_without_a_traceback(folder: Path) -> None:
    (folder / "clumsy.py").write_text(CLUMSY)
    found = end(start("train", "--mixer", "clumsy:Mixer", cwd=folder))
    assert (found.code, found.out, found.err) == (130, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("delay", [tenth / 10 for tenth in range(10)])
def test_ctrl_c_while_the_command_is_still_being_read_ends_it_without_a_traceback(folder: Path, delay: float) -> None:
    process = start("sweep", "tiny.toml", "--dry-run", cwd=folder)
    until(lambda: "torch" in Path(f"/proc/{process.pid}/maps").read_text())  # our own modules are there, the heavy ones are coming
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    found = end(process)
    assert (found.code, found.err) == (130, "")


@pytest.mark.slow
def test_the_demo_killed_in_the_middle_goes_on_to_the_same_table(tmp_path: Path) -> None:
    options = ("--set", "budget.steps=100", "--set", "seeds=1", "--workers", 2)
    with start("sweep", "demo", "--out", "out", *options, cwd=tmp_path) as parent:
        until(lambda: len(rows(tmp_path, "out")) >= 3, seconds=120)
        parent.kill()
        parent.communicate()
    assert call("sweep", "demo", "--out", "out", *options, cwd=tmp_path).code == 0
    assert call("sweep", "demo", "--out", "whole", *options, cwd=tmp_path).code == 0
    assert table(tmp_path, "out") == table(tmp_path, "whole")
