import csv
import errno
import hashlib
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lab.stub_sweep import StubRun, contents

from recall_lab.errors import InputError
from recall_lab.store import SCHEMA, Row, Store, StoreWarning, content_hash
from recall_lab.tasks.stream import canonical_json

RUN = StubRun(number=7, marks="")
RESULT = {"accuracy": 0.1 + 0.2, "curve": [0.5, 1 / 3], "by_distance": {"near": 1, "far": None}}
META = {"seconds": 1.5, "host": "here"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out").open()


@pytest.fixture
def path(store: Store) -> Path:
    store.write(RUN, RESULT, META)
    return store.folder / "runs" / f"{RUN.hash}.json"


def seal(record: dict[str, object]) -> str:
    """A record with a checksum that fits, as somebody could write it on purpose."""
    return canonical_json(record | {"sha256": content_hash(record)}) + "\n"


def quarantined(store: Store) -> list[str]:
    return [aside.read_text() for aside in (store.folder / "quarantine").iterdir()]


def test_a_row_is_read_as_it_was_written(store: Store) -> None:
    written = store.write(RUN, RESULT, META)
    assert written == store.read(RUN.hash) == Row(RUN.to_dict(), RESULT, META)


def test_a_row_is_returned_as_it_will_be_read(store: Store) -> None:
    written = store.write(RUN, {"pair": (1, 2)}, META)
    assert written.result == {"pair": [1, 2]}
    assert written == store.read(RUN.hash)


def test_a_run_without_a_row_is_none(store: Store) -> None:
    assert store.read("0" * 16) is None


def test_the_file_is_named_by_the_hash_of_its_run_and_carries_the_hash_of_the_rest(path: Path) -> None:
    record = json.loads(path.read_text())
    checksum = record.pop("sha256")
    assert checksum == hashlib.sha256(canonical_json(record).encode()).hexdigest()
    assert hashlib.sha256(canonical_json(record["run"]).encode()).hexdigest().startswith(path.stem)
    assert record["schema"] == SCHEMA


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True), digit=st.integers(0, 9))
def test_a_flipped_digit_anywhere_is_found(store: Store, path: Path, share: float, digit: int) -> None:
    whole = Path(store.write(RUN, RESULT, META) and path).read_text()
    places = [place for place, letter in enumerate(whole) if letter.isdigit()]
    place = places[int(share * len(places))]
    flipped = f"{whole[:place]}{digit}{whole[place + 1 :]}"
    path.write_text(flipped)
    if flipped == whole:
        assert store.read(RUN.hash) is not None
    else:
        with pytest.warns(StoreWarning):
            assert store.read(RUN.hash) is None
        assert flipped in quarantined(store)


def test_a_flipped_digit_is_found_though_the_number_stays_the_same_double(store: Store, path: Path) -> None:
    flipped = path.read_text().replace("0.30000000000000004", "0.30000000000000005")
    assert json.loads(flipped) == json.loads(path.read_text())
    path.write_text(flipped)
    with pytest.warns(StoreWarning, match="checksum"):
        assert store.read(RUN.hash) is None


@pytest.mark.parametrize("length", [0, 1, 100, -2, -1])
def test_a_truncated_row_is_set_aside(store: Store, path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(StoreWarning, match="not whole JSON" if length != -1 else "checksum"):
        assert store.read(RUN.hash) is None
    assert not path.exists()
    assert len(quarantined(store)) == 1


def test_bytes_that_are_no_text_are_set_aside(store: Store, path: Path) -> None:
    path.write_bytes(b"\x00\xff" * 100)
    with pytest.warns(StoreWarning, match="not whole JSON"):
        assert store.read(RUN.hash) is None


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"schema": SCHEMA + 1}, f"schema is {SCHEMA + 1} where {SCHEMA} is read"),
        ({"schema": None}, "schema is None"),
        ({"run": RUN.to_dict() | {"number": 8}}, "not that of its name"),
        ({"result": None}, "it has no result"),
        ({"run": [], "meta": 3}, "it has no run and no meta"),
    ],
)
def test_a_row_whose_checksum_fits_is_still_checked(store: Store, path: Path, change: dict[str, object], flaw: str) -> None:
    record = json.loads(path.read_text()) | change
    del record["sha256"]
    path.write_text(seal(record))
    with pytest.warns(StoreWarning, match=flaw):
        assert store.read(RUN.hash) is None
    assert quarantined(store) == [seal(record)]


def test_a_row_under_another_runs_name_is_set_aside(store: Store, path: Path) -> None:
    path.rename(path.with_name(f"{'0' * 16}.json"))
    with pytest.warns(StoreWarning, match=f"has the hash {RUN.hash}"):
        assert store.rows() == {}


def test_bad_rows_of_one_run_do_not_overwrite_each_other_in_quarantine(store: Store, path: Path) -> None:
    for text in ("one", "two"):
        path.write_text(text)
        with pytest.warns(StoreWarning):
            store.read(RUN.hash)
    assert sorted(quarantined(store)) == ["one", "two"]


def test_a_bad_row_leaves_the_others_untouched(store: Store, path: Path) -> None:
    other = store.write(StubRun(number=8, marks=""), RESULT, META)
    path.write_text("")
    with pytest.warns(StoreWarning):
        assert list(store.rows().values()) == [other]


def test_a_bad_row_is_left_to_whoever_works_on_its_run(store: Store, path: Path) -> None:
    path.write_text("")
    with store.claim(RUN.hash), pytest.warns(StoreWarning, match="left for the process"):
        assert store.read(RUN.hash) is None
    assert path.exists()


def test_a_folder_that_was_never_opened_is_read_and_its_bad_rows_reported(store: Store, path: Path) -> None:
    path.write_text("")
    (store.folder / "locks").rmdir()
    with pytest.warns(StoreWarning, match="could not be moved"):
        assert Store(store.folder).rows() == {}


def test_rows_come_in_the_order_of_their_hashes(store: Store) -> None:
    runs = [StubRun(number=number, marks="") for number in range(20)]
    for run in runs:
        store.write(run, {}, META)
    assert list(store.rows()) == sorted(run.hash for run in runs)
    asked = [runs[3].hash, runs[2].hash, "0" * 16]
    assert list(store.rows(asked)) == sorted(asked)[1:]


@pytest.mark.parametrize("result", [{"loss": math.nan}, {"loss": [math.inf]}])
def test_what_json_cannot_hold_is_refused_and_nothing_is_written(store: Store, result: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.write(RUN, result, META)
    assert list((store.folder / "runs").iterdir()) == []


def test_a_run_that_names_itself_wrongly_is_refused(store: Store) -> None:
    class Impostor(StubRun):
        hash = "0" * 16  # type: ignore[assignment]

    with pytest.raises(ValueError, match="not that of its name"):
        store.write(Impostor(number=1, marks=""), {}, META)


def test_a_full_disk_keeps_the_old_row_and_leaves_nothing_behind(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        store.write(RUN, {"accuracy": 1}, META)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_row_and_its_folder_are_on_the_disk_when_write_returns(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    store.write(RUN, RESULT, META)
    file, folder = synced
    assert Path(file).parent == Path(folder) == store.folder / "runs"


def test_a_failure_is_kept_until_the_run_finishes(store: Store) -> None:
    store.write_failure(RUN, "worker killed by signal 9 (Killed)", "last words", META)
    failure = store.failures()[RUN.hash]
    assert (failure.run, failure.reason, failure.detail) == (RUN.to_dict(), "worker killed by signal 9 (Killed)", "last words")
    assert store.rows() == {}
    store.write(RUN, RESULT, META)
    assert store.failures() == {}
    assert list((store.folder / "failed").iterdir()) == []


def test_a_failure_of_a_run_that_has_a_row_does_not_count(store: Store, path: Path) -> None:
    store.write_failure(RUN, "killed between writing the row and forgetting the failure", "", META)
    assert store.failures() == {}


def test_one_holder_at_a_time_has_the_claim(store: Store) -> None:
    first = store.claim(RUN.hash)
    assert first is not None
    assert store.claim(RUN.hash) is None
    with store.claim("0" * 16) as other:
        assert other is not None
    first.release()
    first.release()
    with store.claim(RUN.hash) as again:
        assert again is not None


def test_a_claim_ends_with_its_process(store: Store) -> None:
    script = (
        "import sys, pathlib, recall_lab.store as s; c = s.Store(pathlib.Path(sys.argv[1])).claim('0' * 16); print(flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(store.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert store.claim("0" * 16) is None
        holder.kill()
        holder.wait()
        assert store.claim("0" * 16) is not None


def test_opening_removes_the_temporaries_of_dead_processes_only(store: Store) -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    host = socket.gethostname()
    stale = [store.folder / part / f".x.json@{host}@{dead.pid}.tmp" for part in ("runs", "failed", ".")]
    kept = [store.folder / "runs" / f".x.json@{whose}.tmp" for whose in (f"{host}@{os.getpid()}", f"other-{host}@{dead.pid}")]
    for temporary in (*stale, *kept):
        temporary.touch()
    store.open()
    assert not any(temporary.exists() for temporary in stale)
    assert all(temporary.exists() for temporary in kept)
    assert store.rows() == {}


def test_a_file_in_the_place_of_the_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match=r"^results cannot be kept in '.*out': it is a file$"):
        Store(tmp_path / "out").open()
    with pytest.raises(InputError, match="Not a directory"):
        Store(tmp_path / "out" / "deeper").open()


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder of ours while we are nobody, since the superuser may read and write anywhere."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
    os.seteuid(before)


@pytest.mark.parametrize("mode", [0o555, 0o333])
def test_a_folder_that_cannot_be_written_or_read_is_refused_in_one_line(mode: int, nobodys_folder: Path) -> None:
    nobodys_folder.chmod(mode)
    with pytest.raises(InputError, match=r"^results cannot be kept in .*: Permission denied$"):
        Store(nobodys_folder).open()
    nobodys_folder.chmod(0o777)


def test_a_folder_whose_rows_cannot_be_written_any_more_is_refused(nobodys_folder: Path) -> None:
    Store(nobodys_folder).open()
    (nobodys_folder / "runs").chmod(0o555)
    with pytest.raises(InputError, match=r"Permission denied$"):
        Store(nobodys_folder).open()


def test_whether_a_run_is_claimed_can_be_told_in_a_folder_that_may_not_be_written(nobodys_folder: Path) -> None:
    store = Store(nobodys_folder).open()
    claim = store.claim(RUN.hash)
    assert claim is not None
    (nobodys_folder / "locks" / f"{RUN.hash}.lock").chmod(0o444)
    (nobodys_folder / "locks").chmod(0o555)
    assert store.is_claimed(RUN.hash)
    claim.release()
    assert not store.is_claimed(RUN.hash)
    assert not store.is_claimed("0" * 16)
    (nobodys_folder / "locks").chmod(0o777)


def test_a_file_of_the_whole_folder_is_replaced_whole(tmp_path: Path) -> None:
    for text in ("first", "second"):
        Store(tmp_path / "new").write_text("spec.toml", text)
    assert (tmp_path / "new" / "spec.toml").read_text() == "second"
    assert sorted(child.name for child in (tmp_path / "new").iterdir()) == ["failed", "locks", "quarantine", "runs", "spec.toml"]


def table_rows() -> dict[str, Row]:
    """Rows that differ in what they have, as those of two mixers do."""
    rows = [
        Row({"model": {"mixer": "attention", "window": None}, "seed": 1}, {"accuracy": 1, "curve": [0.5, 1]}, {}),
        Row({"model": {"mixer": "swa", "window": 8}, "seed": 2**70}, {"accuracy": 0.25, "curve": [], "edge": "low, high"}, {}),
    ]
    return {content_hash(row.run): row for row in rows}


def test_the_table_has_a_column_for_each_dotted_path(store: Store) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path = store.compact(table_rows())
    assert path == store.folder / "table.parquet"
    assert pq.read_table(path).to_pydict() == {
        "hash": list(table_rows()),
        "result.accuracy": [1.0, 0.25],
        "result.curve": ["[0.5, 1]", "[]"],
        "result.edge": [None, "low, high"],
        "run.model.mixer": ["attention", "swa"],
        "run.model.window": [None, 8],
        "run.seed": ["1", str(2**70)],
    }


def test_a_csv_table_holds_the_same_cells_as_text(store: Store) -> None:
    path = store.compact(table_rows(), "csv")
    assert path == store.folder / "table.csv"
    with path.open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert first["run.model.window"] == ""
    assert second["result.edge"] == "low, high"
    assert second["run.seed"] == str(2**70)


def test_a_table_of_nothing_can_be_written(store: Store) -> None:
    assert store.compact({}).exists()


def test_the_same_rows_are_the_same_contents(store: Store, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert contents(store.rows()) == contents(store.rows([RUN.hash]))


def test_no_row_certifies_more_bits_than_its_state_has(store: Store) -> None:
    store.write(RUN, RESULT | {"certified_low": 320.0, "state_bits": 320}, META)
    with pytest.raises(ValueError, match=r"320\.1 bits certified by a state of 320 bits"):
        store.write(StubRun(number=8, marks=""), RESULT | {"certified_low": 320.1, "state_bits": 320}, META)
    assert list(store.rows()) == [RUN.hash]
