"""A folder of finished runs, one file a run, named by the hash of what was run.

A row is trusted only if its file is, byte for byte, what writing its content would give; so a flipped digit is found like a missing half.
Every file appears whole or not at all (temporary file, fsync, rename), so the folder may be killed, copied or shared at any moment:

    runs/HASH.json      {"meta": .., "result": .., "run": .., "schema": 1, "sha256": ..}, canonical JSON
    failed/HASH.json    the same, where the result is {"reason": .., "detail": ..}; goes when the run is finished after all
    quarantine/         rows that failed a check, kept for whoever wants to know why
    locks/HASH.lock     empty; a process holds its flock while it works on that run, and the kernel lets go when the process dies
    table.parquet, .csv derived from the rows; deleting them loses nothing

flock on a network file system may hold on one machine only: two machines that share a folder must be given different runs.
"""

import contextlib
import csv
import fcntl
import hashlib
import io
import json
import os
import re
import socket
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Protocol, runtime_checkable

from .errors import InputError
from .score import beyond_the_wall
from .tasks.stream import canonical_json

SCHEMA = 1
"""version of the layout of a row; rows of another version are set aside and run again"""

HASH_DIGITS = 16
"""fewest hexadecimal digits of a run's hash that may name its files"""


_TEMPORARY = re.compile(r"\..+@(?P<host>.+)@(?P<pid>\d+)\.tmp")
"""name of a file that is being written, see `appearing`"""


class StoreWarning(UserWarning):
    """A row failed a check and does not count as finished."""


@runtime_checkable
class Runnable(Protocol):
    """What the store and the engine need to know of a run."""

    @property
    def hash(self) -> str:
        """content_hash(self.to_dict()), or its first digits, at least HASH_DIGITS of them."""

    def to_dict(self) -> dict[str, Any]:
        """Everything the result depends on, as JSON."""


@dataclass(frozen=True)
class Row:
    """A finished run: `result` is a function of `run`; `meta` says when, where and with which versions it was computed."""

    run: dict[str, Any]
    result: dict[str, Any]
    meta: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A run that did not finish: `reason` in a line, and in `detail` the last lines that its process wrote."""

    run: dict[str, Any]
    reason: str
    detail: str
    meta: dict[str, Any]


class Claim:
    """The right to work on one run, until released or until the process ends, however it ends."""

    def __init__(self, lock: IO[bytes]) -> None:
        self._lock = lock

    def release(self) -> None:
        """Let another process have the run; a second call does nothing."""
        self._lock.close()

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def content_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `content`, 64 hexadecimal digits; raises ValueError for NaN and infinities."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


@dataclass(frozen=True)
class Store:
    """The rows under `folder`. Reading needs no more than the folder; `open` must come before anything is written or claimed."""

    folder: Path

    def open(self) -> "Store":
        """Make the folders where they are missing and remove what dead processes left half written.

        Raises InputError if the folder is a file, or cannot be read or written.
        """
        try:
            for part in ("runs", "failed", "quarantine", "locks"):
                (self.folder / part).mkdir(parents=True, exist_ok=True)
            for part in ("runs", "failed", "."):
                _sweep_temporaries(self.folder / part)
            tempfile.TemporaryFile(dir=self.folder / "runs").close()
        except OSError as error:
            reason = "it is a file" if self.folder.is_file() else error.strerror
            raise InputError(f"results cannot be kept in {str(self.folder)!r}: {reason}") from error
        return self

    def read(self, hash: str) -> Row | None:
        """The finished row of that hash, or None. A row that fails a check goes to quarantine/, with a StoreWarning that names it."""
        return self._read("runs", hash)

    def rows(self, hashes: Iterable[str] | None = None) -> dict[str, Row]:
        """Finished rows by hash, in the order of the hashes: those asked for, or all."""
        wanted = self._names("runs") if hashes is None else set(hashes)
        found = ((name, self.read(name)) for name in sorted(wanted))
        return {name: row for name, row in found if row is not None}

    def failures(self) -> dict[str, Failure]:
        """Runs whose last attempt failed and that have no row since, by hash, in the order of the hashes."""
        found = ((name, self._read("failed", name)) for name in sorted(self._names("failed") - self._names("runs")))
        return {name: Failure(run=row.run, meta=row.meta, **row.result) for name, row in found if row is not None}

    def write(self, runnable: Runnable, result: dict[str, Any], meta: dict[str, Any]) -> Row:
        """Keep a finished run; when this returns it is on the disk.

        Raises OSError if the disk refuses, ValueError for a NaN, and for more bits certified than the state has: no such row may be.
        """
        if beyond_the_wall(result):
            raise ValueError(f"{result['certified_low']:.1f} bits certified by a state of {result['state_bits']} bits")
        row = self._write("runs", runnable, result, meta)
        self._path("failed", runnable.hash).unlink(missing_ok=True)
        return row

    def write_failure(self, runnable: Runnable, reason: str, detail: str, meta: dict[str, Any]) -> None:
        """Record why a run did not finish. Raises OSError if the disk refuses."""
        self._write("failed", runnable, {"reason": reason, "detail": detail}, meta)

    def write_text(self, name: str, text: str) -> None:
        """Put a file that describes the whole folder beside the rows. It comes first in a new folder, so it opens the store."""
        with appearing(self.open().folder / name) as file:
            file.write(text.encode())

    def claim(self, hash: str) -> Claim | None:
        """The right to work on a run, or None if somebody has it. Look again for its row afterwards: they may just have finished."""
        return _take(self._lock(hash).open("ab"))

    def is_claimed(self, hash: str) -> bool:
        """Whether a process is at work on a run; to be asked also of a folder that may be read only."""
        try:
            claim = _take(self._lock(hash).open("rb"))
        except FileNotFoundError:
            return False
        if claim is not None:
            claim.release()
        return claim is None

    def compact(self, rows: Mapping[str, Row], format: Literal["parquet", "csv"] = "parquet") -> Path:
        """One table of many rows, a column for each dotted path: table.parquet or table.csv. Returns its path."""
        flat = [{"hash": name, **_flat({"run": row.run, "result": row.result, "meta": row.meta})} for name, row in rows.items()]
        columns = {name: [row.get(name) for row in flat] for name in sorted({name for row in flat for name in row})}
        path, write = self.folder / f"table.{format}", _write_parquet if format == "parquet" else _write_csv
        with appearing(path) as file:
            write(columns, file)
        return path

    def _path(self, part: str, hash: str) -> Path:
        return self.folder / part / f"{hash}.json"

    def _lock(self, hash: str) -> Path:
        return self.folder / "locks" / f"{hash}.lock"

    def _names(self, part: str) -> set[str]:
        return {path.stem for path in (self.folder / part).glob("[!.]*.json")}

    def _write(self, part: str, runnable: Runnable, result: dict[str, Any], meta: dict[str, Any]) -> Row:
        row = Row(runnable.to_dict(), result, meta)
        sealed = _seal(row)
        row = _unseal(sealed, runnable.hash)  # what will be read: tuples as lists, and a hash that does not fit stops here
        with appearing(self._path(part, runnable.hash)) as file:
            file.write(sealed)
        return row

    def _read(self, part: str, hash: str) -> Row | None:
        path = self._path(part, hash)
        try:
            return _unseal(path.read_bytes(), hash)
        except FileNotFoundError:
            return None
        except ValueError as flaw:
            fate = self._set_aside(path, hash)
            warnings.warn(f"{path} does not count, since {flaw}; {fate}", StoreWarning, stacklevel=3)
            return None

    def _set_aside(self, path: Path, hash: str) -> str:
        """Move a bad row to quarantine/; say what became of it. Whoever holds the run may be replacing the row right now."""
        try:
            with self.claim(hash) or contextlib.nullcontext() as claim:
                if claim is None:
                    return "left for the process that is at work on this run"
                aside = self.folder / "quarantine" / f"{path.stem}.{time.time_ns()}.{os.getpid()}.json"
                path.replace(aside)
                return f"moved to {aside}"
        except OSError as error:
            return f"it could not be moved ({error.strerror})"


def _take(lock: IO[bytes]) -> Claim | None:
    """The claim that an open lock file stands for, or None, the file closed, if somebody has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return Claim(lock)


def _seal(row: Row) -> bytes:
    """The file of a row: canonical JSON with a `sha256` over the canonical JSON of everything else."""
    record = {"schema": SCHEMA, "run": row.run, "result": row.result, "meta": row.meta}
    return canonical_json(record | {"sha256": content_hash(record)}).encode() + b"\n"


def _unseal(sealed: bytes, hash: str) -> Row:
    """The row in a file of that name; ValueError says which check it fails."""
    try:
        record = json.loads(sealed)
    except ValueError as error:
        raise ValueError(f"it is not whole JSON ({error})") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        schema = record.get("schema") if isinstance(record, dict) else None
        raise ValueError(f"its schema is {schema!r} where {SCHEMA} is read")
    missing = [name for name in ("run", "result", "meta") if not isinstance(record.get(name), dict)]
    if missing:
        raise ValueError(f"it has no {' and no '.join(missing)}")
    row = Row(record["run"], record["result"], record["meta"])
    # Sealed again and compared as bytes, for a flipped digit need not change the number: 0.30000000000000004 and ..05 are one double.
    if _seal(row) != sealed:
        raise ValueError("its checksum does not fit its content")
    if len(hash) < HASH_DIGITS or not content_hash(row.run).startswith(hash):
        raise ValueError(f"its run has the hash {content_hash(row.run)[:HASH_DIGITS]}, not that of its name")
    return row


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path` whole and on the disk when the block ends well, and not at all when it does not."""
    # In the same folder, since a rename cannot cross file systems; host and pid tell `_sweep_temporaries` whose it is.
    temporary = path.with_name(f".{path.name}@{socket.gethostname()}@{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Without this a rename may be forgotten when the power goes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep_temporaries(folder: Path) -> None:
    """Remove temporaries whose process is dead; those of another host stay, for its processes cannot be seen from here."""
    for path in folder.iterdir():
        match = _TEMPORARY.fullmatch(path.name)
        if match and match["host"] == socket.gethostname() and not _alive(int(match["pid"])):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; a list becomes its JSON, so that both kinds of table can hold it."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _write_csv(columns: Mapping[str, list[Any]], file: IO[bytes]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    text.detach()  # flushes, and leaves the file open for whoever opened it


def _write_parquet(columns: Mapping[str, list[Any]], file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def array(cells: list[Any]) -> Any:
        try:
            return pa.array(cells)
        except (pa.ArrowException, OverflowError):  # more than one type, or beyond 64 bits: as JSON, like a list
            return pa.array([None if cell is None else json.dumps(cell) for cell in cells])

    pq.write_table(pa.table({name: array(cells) for name, cells in columns.items()}), file)
