"""The command line as a user meets it: what it prints, and one line for every kind of bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
[mixers.sliding_window]
width = 8
window = 4
[budget]
steps = 4
batch = 8
check_every = 2
validation = 16
test = 32
"""


def lab(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from recall_lab.cli import main; main()", *map(str, arguments)]
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path})


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_a_sweep_resumes_and_its_table_is_the_same_whatever_the_workers(tiny, tmp_path):
    first = lab("sweep", tiny, "--out", "one", "--workers", 2, "--mixer", "my_mixer:MyMixer", "--limit", 3, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    again = lab("sweep", tiny, "--out", "one", "--workers", 1, "--mixer", "my_mixer:MyMixer", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "one" / "capacity.png").stat().st_size > 10_000
    whole = lab("sweep", tiny, "--out", "two", "--workers", 1, "--mixer", "my_mixer:MyMixer", "--json", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    tables = [lab("table", folder, "--json", cwd=tmp_path).stdout for folder in ("one", "two")]
    assert tables[0] == tables[1] == whole.stdout
    assert len(json.loads(tables[0])["points"]) == 6
    nothing = lab("sweep", tiny, "--out", "one", "--mixer", "my_mixer:MyMixer", cwd=tmp_path)
    assert "nothing left to do: all 12 runs" in nothing.stderr
    assert json.loads(lab("status", "one", "--json", cwd=tmp_path).stdout)["done"] == 12
    assert lab("export", "one", "--format", "csv", cwd=tmp_path).stdout.strip() == "one/table.csv"
    other = lab("sweep", tiny, "--out", "one", "--set", "budget.steps=5", cwd=tmp_path)
    assert other.returncode == 2
    assert "holds another sweep" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--mixer", "atention"), "no mixer is called 'atention'; did you mean 'attention'?"),
        (("train", "--mixer", "nowhere:Nothing"), "mixer 'nowhere:Nothing' cannot be used"),
        (("train", "--task", "mqra"), "no task is called 'mqra'; did you mean 'mqar'?"),
        (("train", "--set", "task.pairs=-1"), "pairs"),
        (("train", "--set", "task.pairs=60"), "length must be at least 240"),
        (("train", "--set", "task.pairs=8", "--set", "task.keys=4"), "keys"),
        (("train", "--set", "task.values=1"), "values"),
        (("train", "--set", "task.pairs=four"), "pairs must be a whole number, got 'four'"),
        (("train", "--set", "mixer.windw=3"), "unknown key 'windw'"),
        (("sweep", "dmeo"), "no sweep is called 'dmeo'; did you mean 'demo'?"),
        (("sweep", "absent.toml"), "cannot read absent.toml"),
        (("sweep", "tiny.toml", "--set", "mixers.sliding_window.state=1000000"), "sliding_window cannot have a state of 1000000 scalars"),
        (("sweep", "tiny.toml", "--set", "task.pair=3"), "unknown key 'pair'; did you mean 'pairs'?"),
        (("sweep", "tiny.toml", "--out", "tiny.toml"), "tiny.toml"),
        (("sweep", "broken.toml"), "not TOML"),
        (("sweep", "misspelt.toml"), "unknown key 'seed'; did you mean 'seeds'?"),
        (("table", "nowhere"), "nowhere is not a results folder"),
        (("verify", "recall.wal"), "no claim is called 'recall.wal'; did you mean 'recall.wall'?"),
        (("sweeep",), "sweep"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(arguments, said, tiny, tmp_path):
    (tmp_path / "broken.toml").write_text("[task\n")
    (tmp_path / "misspelt.toml").write_text("seed = 3\n" + TINY.replace("seeds = 2", ""))
    found = lab(*arguments, cwd=tmp_path)
    assert found.returncode == 2, found.stderr
    assert len(found.stderr.strip().splitlines()) == 1
    assert said in found.stderr


def test_help_loads_nothing_heavy(tmp_path):
    code = "import sys, recall_lab.cli; print([name for name in ('torch', 'scipy', 'pandas', 'matplotlib') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_verify_and_doctor_end_well(tmp_path):
    found = lab("verify", "recall.wall", "--json", cwd=tmp_path)
    assert found.returncode == 0
    assert json.loads(found.stdout)["recall.wall"]["holds"] is True
    assert lab("doctor", cwd=tmp_path).returncode == 0


def test_show_draws_every_kind_of_thing(tmp_path):
    assert "oracle's answer" in lab("show", "mqar", "--set", "length=16", cwd=tmp_path).stdout
    assert "state size" in lab("show", "sliding_window", cwd=tmp_path).stdout
    assert "standing" in lab("show", "recall.wall", cwd=tmp_path).stdout


def test_every_shipped_sweep_is_a_list_of_runs(tmp_path):
    for name in ("demo", "small"):
        assert "runs: " in lab("show", name, cwd=tmp_path).stdout
