"""Bad input gets one line on stderr that says what is wrong, what is allowed and the nearest name, and exit code 2; a disk that is full, 1."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from lab.stub_training import without_training
from lab.terminal import TINY, Ended, call

from recall_lab.store import Store
from recall_lab.sweep import adopt, parse

FILES = {
    "tiny.toml": TINY,
    "broken.toml": "[task\n",
    "empty.toml": "",
    "misspelt.toml": TINY.replace("seeds", "seed"),
    "misspelt_field.toml": TINY.replace("[budget]", "[budget]\nstep = 3"),
    "two_seeds.toml": "seeds = 1\n" + TINY,
    "no_runs.toml": TINY.replace("pairs = [2, 3]", "pairs = []"),
    "no_table.toml": TINY.replace("[mixers.attention]\nwidth = 8", "[mixers]\nattention = 8"),
    "clumsy.py": "import os\nos.nothing_of_this_name\n",
    "file": "",
}
BYTES = {"binary.toml": bytes(range(256)), "latin.toml": TINY.encode() + "# café".encode("latin-1")}


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with files of every bad kind, and one good sweep."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    for name, content in BYTES.items():
        (tmp_path / name).write_bytes(content)
    for name in ("folder.toml", "empty"):
        (tmp_path / name).mkdir()
    return tmp_path


def refused(found: Ended) -> str:
    """The one line; fails if there is anything else."""
    assert found.code == 2, found.err
    assert found.out == ""
    (line,) = found.err.splitlines()
    assert line.startswith("recall-lab: ")
    return line.removeprefix("recall-lab: ")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "sweeep demo",
            "no verb is called 'sweeep'; did you mean 'sweep'? (known: --help, --version, doctor, export, ls, plot, reproduce, show, status",
        ),
        ("--hlp", "no verb is called '--hlp'; did you mean '--help'? (known: "),
        (
            "train --mixr attention",
            "no option of train is called '--mixr'; did you mean '--mixer'? (known: --help, --json, --mixer, --seed,",
        ),
        ("table empty --frmat=md", "no option of table is called '--frmat'; did you mean '--format'? (known: --format, --help, --json)"),
        ("train extra", "train takes nothing like 'extra' here; see recall-lab train --help"),
        ("sweep", 'Command "sweep" parameter NAME requires an argument.'),
        ("sweep tiny.toml --workers 0", 'Invalid value "0" for --workers. Must be >= 1.'),
        ("sweep tiny.toml --workers -2", 'Invalid value "-2" for --workers. Must be >= 1.'),
        ("sweep tiny.toml --workers two", 'Invalid value for --workers: unable to convert "two" into int.'),
        ("sweep tiny.toml --limit 0", 'Invalid value "0" for --limit. Must be >= 1.'),
        ("verify recall.wall --seed -1", 'Invalid value "-1" for --seed. Must be >= 0.'),
        ("train --seed 9223372036854775808", 'Invalid value "9223372036854775808" for --seed. Must be < 9223372036854775808.'),
        ("table empty --format xml", 'Invalid value "xml" for --format. Choose from: "text", "md", "csv", "json".'),
        (
            "ls mixer",
            'Invalid value "mixer" for KIND. Choose from: "tasks", "mixers", "kernels", "claims", "sweeps". Did you mean "mixers"?',
        ),
    ],
)
def test_a_command_that_cannot_be_read(command: str, said: str, desk: Path) -> None:
    assert refused(call(*command.split(), cwd=desk)).startswith(said)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train --mixer atention", "no mixer is called 'atention'; did you mean 'attention'? (known: attention, "),
        ("train --mixer nowhere:Nothing", "mixer 'nowhere:Nothing' cannot be used: No module named 'nowhere'"),
        ("train --mixer my_mixer:Nothing", "mixer 'my_mixer:Nothing' cannot be used: module 'my_mixer' has no 'Nothing'"),
        ("train --mixer os:path", "mixer 'os:path' cannot be used: os:path is not a Mixer"),
        ("train --mixer :", "mixer ':' cannot be used"),
        ("train --task mqra", "no task is called 'mqra'; did you mean 'mqar'? (known: ar, "),
        (
            "show sliding_windw",
            "no task, mixer, kernel, claim or sweep is called 'sliding_windw'; did you mean 'sliding_window'? (known: ar, ",
        ),
        ("verify recall.wal", "no claim is called 'recall.wal'; did you mean 'recall.wall'? (known: "),
        ("sweep dmeo", "no sweep is called 'dmeo'; did you mean 'demo'? (known: demo, "),
        ("sweep tiny.toml --mixer atention", "no mixer is called 'atention'; did you mean 'attention'? (known: attention, "),
    ],
)
def test_a_name_of_nothing(command: str, said: str, desk: Path) -> None:
    assert refused(call(*command.split(), cwd=desk)).startswith(said)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train --set task.pairs=-1", "[task]: pairs must lie in 1..keys=64 (each key is shown once), got -1"),
        ("train --set task.pairs=60", "[task]: length must be at least 240 (two cells for each pair shown and each question), got 64"),
        ("train --set task.pairs=8 --set task.keys=4", "[task]: pairs must lie in 1..keys=4 (each key is shown once), got 8"),
        ("train --set task.values=1", "[task]: values must be at least 2 for an answer to carry information, got 1"),
        ("train --set task.pairs=four", "[task]: pairs must be a whole number, got 'four'"),
        ("train --set model.vocab_size=3", "run: vocab_size must be at least 160, the task's, got 3"),
        ("train --set budget.eval_lengths=[3]", "run: eval_lengths cannot be had: at length 3, length must"),
        ("sweep tiny.toml --set budget.eval_lengths=[[3]]", "run: eval_lengths cannot be had: at length 3, length must"),
        ("train --task joint_recall --set budget.eval_lengths=[64]", "run: eval_lengths cannot be had: joint_recall has no field length"),
        ("train --set budget.loss_on=none", "[budget]: loss_on must be one of 'answers', 'all', got 'none'"),
        ("train --mixer mamba --set mixer.selective=[A]", "[mixers.mamba]: selective must be"),
        ("train --mixer mamba --set mixer.dt_rank=-1", "[mixers.mamba]: dt_rank must be at least 0, got -1"),
        ("train --mixer mamba2 --set mixer.head_width=3", "[mixers.mamba2]: head_width must divide expand * width = 128, got 3"),
        (
            "train --set mixer.windw=3 --mixer sliding_window",
            "[mixers.sliding_window]: unknown key 'windw'; did you mean 'window'? (known: ",
        ),
        ("train --set mixer.heads=3", "[mixers.attention]: heads must divide width="),
        ("train --set optimiser.learning_rate=inf", "[optimiser]: learning_rate must be positive and finite, got inf"),
        ("train --set garbage", "--set garbage: must read table.field=value"),
        ("train --set =3", "--set =3: must read table.field=value"),
        ("train --set seed=3", "--set seed: no such setting (known: task.FIELD, mixer.FIELD, "),
        ("train --set model.mixer=attention", "--set model.mixer: task and mixer are chosen by name"),
        ("show mqar --set pairs=-1", "[task]: pairs must lie in 1..keys=64 (each key is shown once), got -1"),
        ("show recall.wall --set pairs=1", "--set is for tasks and mixers; recall.wall is one of the claims"),
        ("sweep tiny.toml --set garbage", "--set garbage: must read table.field=value"),
        ("sweep tiny.toml --set task.pair=3", "[task]: unknown key 'pair'; did you mean 'pairs'? (known: "),
        ("sweep tiny.toml --set model.vocab_size=3", "[model]: unknown key 'vocab_size'"),
        ("sweep tiny.toml --set seeds=0", "--set seeds=0: seeds must not be empty: nothing would be run"),
        (
            "sweep tiny.toml --set mixers.atention.width=8",
            "no mixer of this sweep is called 'atention'; did you mean 'attention'? (known: ",
        ),
    ],
)
def test_a_field_that_does_not_exist_or_a_value_that_is_refused(command: str, said: str, desk: Path) -> None:
    assert refused(call(*command.split(), cwd=desk)).startswith(said)


def test_a_state_that_a_mixer_cannot_have_is_refused_with_the_nearest_one_it_can(desk: Path) -> None:
    (desk / "state.toml").write_text(TINY + "[mixers.sliding_window]\nwidth = 8\nstate = 1000000\n")
    said = "[mixers.sliding_window]: sliding_window cannot have a state of 1000000 scalars after 4 tokens; nearest is 88 (window=15)"
    assert refused(call("sweep", "state.toml", cwd=desk)) == said


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("absent.toml", "cannot read absent.toml: No such file or directory"),
        ("folder.toml", "cannot read folder.toml: Is a directory"),
        ("file/tiny.toml", "cannot read file/tiny.toml: Not a directory"),
        ("binary.toml", "cannot read binary.toml: 'utf-8' codec can't decode byte 0x80 in position 128"),
        ("latin.toml", "cannot read latin.toml: 'utf-8' codec can't decode byte 0xe9"),
        ("broken.toml", "broken.toml: not TOML: Expected ']' at the end of a table declaration (at line 1, column 6)"),
        ("two_seeds.toml", "two_seeds.toml: not TOML: Cannot overwrite a value"),
        ("empty.toml", "empty.toml: [task] must be given"),
        ("misspelt.toml", "misspelt.toml: unknown key 'seed'; did you mean 'seeds'? (known: about, budget, "),
        ("misspelt_field.toml", "[budget]: unknown key 'step'; did you mean 'steps'? (known: batch, "),
        ("no_runs.toml", "[task]: pairs must not be an empty list: nothing would be run"),
        ("no_table.toml", "no_table.toml: [mixers.attention] must be a table, got 8"),
    ],
)
def test_a_file_that_is_no_sweep(file: str, said: str, desk: Path) -> None:
    assert refused(call("sweep", file, cwd=desk)).startswith(said)
    assert not (desk / "results").exists()


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("file", "results cannot be kept in 'file': it is a file"),
        ("file/deeper", "results cannot be kept in 'file/deeper': Not a directory"),
        ("/proc/nowhere", "results cannot be kept in '/proc/nowhere': No such file or directory"),
        ("/dev/null", "results cannot be kept in '/dev/null': Not a directory"),
        ("x" * 300, f"{'x' * 300}/spec.toml: File name too long"),
    ],
)
def test_a_place_where_no_results_can_be_kept(out: str, said: str, desk: Path) -> None:
    assert refused(call("sweep", "tiny.toml", "--out", out, cwd=desk)) == said


@pytest.mark.parametrize("verb", ["table", "status", "plot", "export"])
@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("nowhere", "nowhere is not a results folder: there is no such folder"),
        ("file", "file is not a results folder: there is no such folder"),
        ("empty", "empty is not a results folder: cannot read spec.toml in it (No such file or directory)"),
    ],
)
def test_a_folder_without_results(verb: str, folder: str, said: str, desk: Path) -> None:
    assert refused(call(verb, folder, cwd=desk)) == said


@pytest.fixture
def held(desk: Path) -> Path:
    """A results folder, of the sweep tiny.toml, in which no run is finished."""
    adopt(desk / "held", parse(TINY, "tiny.toml"))
    return desk


@pytest.mark.parametrize("verb", ["table", "plot"])
def test_a_folder_in_which_no_run_is_finished(verb: str, held: Path) -> None:
    assert refused(call(verb, "held", cwd=held)) == "held has no finished run yet"


def test_a_folder_of_another_sweep(held: Path) -> None:
    found = call("sweep", "tiny.toml", "--out", "held", "--set", "budget.steps=5", cwd=held)
    assert refused(found) == (
        "held goes on by recall-lab sweep held/spec.toml --out held, since it holds another sweep: "
        "8 of its 8 runs are not in this one; choose another --out for this one"
    )
    (held / "held" / "runs").rmdir()  # so that anything done to the folder would show
    before = sorted((held / "held").iterdir())
    dry = call("sweep", "tiny.toml", "--out", "held", "--set", "budget.steps=5", "--dry-run", cwd=held)
    assert refused(dry) == refused(found)
    assert sorted((held / "held").iterdir()) == before


def test_the_command_that_a_refusal_names_goes_on_with_what_the_folder_holds(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_BEGUN", os.devnull)
    monkeypatch.setenv("STUB_SECONDS", "0")
    line = refused(call("sweep", "tiny.toml", "--out", "held", "--set", "budget.steps=5", cwd=held))
    _, *arguments = line.partition(" goes on by ")[2].partition(", since ")[0].split()
    with without_training():
        assert call(*arguments, "--workers", 1, cwd=held).code == 0
    assert len(Store(held / "held").rows()) == 8


def test_a_variable_that_names_no_backend(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECALL_LAB_BACKEND", "egaer")
    said = "RECALL_LAB_BACKEND: no backend is called 'egaer'; did you mean 'eager'? (known: eager, reference, triton)"
    assert refused(call("train", cwd=desk)) == said
    monkeypatch.setenv("RECALL_LAB_BACKEND", "eager")
    assert call("ls", "tasks", cwd=desk).code == 0


def test_an_error_inside_ones_own_file_is_not_taken_for_a_wrong_path_to_it(desk: Path) -> None:
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        call("train", "--mixer", "clumsy:MyMixer", cwd=desk)


def test_a_folder_whose_sweep_is_damaged(held: Path) -> None:
    (held / "held" / "spec.toml").write_bytes(BYTES["binary.toml"])
    assert refused(call("table", "held", cwd=held)).startswith("held is not a results folder: cannot read spec.toml in it ('utf-8' codec")


def deny(path: Path, *_: Any, **__: Any) -> Any:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@pytest.mark.parametrize("verb", ["table", "status", "plot", "export", "sweep"])
def test_rows_that_may_not_be_read(verb: str, held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", deny)
    arguments = ("tiny.toml", "--out", "held") if verb == "sweep" else ("held",)
    line = refused(call(verb, *arguments, cwd=held))
    assert line.startswith("held/runs/")
    assert line.endswith(": Permission denied")


def test_a_folder_that_may_not_be_written(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "mkdir", deny)
    assert refused(call("sweep", "tiny.toml", "--out", "new", cwd=desk)) == "results cannot be kept in 'new': Permission denied"


def test_a_disk_that_is_full_fails_the_run_leaves_the_store_whole_and_exits_1(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def refuse_all_but_the_first_row(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) > 2:  # the first row takes two: its file and the folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    synced: list[int] = []
    monkeypatch.setenv("STUB_BEGUN", str(held / "begun"))
    monkeypatch.setenv("STUB_SECONDS", "0")
    with without_training():
        with monkeypatch.context() as full:
            full.setattr(os, "fsync", refuse_all_but_the_first_row)
            found = call("sweep", "tiny.toml", "--out", "held", "--workers", 1, "--json", cwd=held)
        lines = found.err.splitlines()
        assert found.code == 1
        assert "Traceback" not in found.err
        assert sum("FAILED" in line and line.endswith("its row could not be written: No space left on device") for line in lines) == 7
        files = [path for part in ("runs", "failed", "quarantine") for path in (held / "held" / part).iterdir()]
        assert list(Store(held / "held").rows()) == [path.stem for path in files]
        assert len(files) == 1
        assert call("sweep", "tiny.toml", "--out", "held", "--workers", 1, "--json", cwd=held).code == 0
    assert len(Store(held / "held").rows()) == 8


def test_a_disk_that_is_full_before_the_first_run_is_said_in_one_line(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    found = call("sweep", "tiny.toml", "--out", "new", cwd=desk)
    assert (found.code, found.err) == (1, "recall-lab: No space left on device\n")
