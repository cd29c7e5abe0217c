"""The command line as a user meets it: what it teaches, prints and answers; bad input and interruptions have files of their own."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lab.one_more_claim import CLAIM
from lab.stub_training import without_training
from lab.terminal import TINY, Ended, call, end, start, until
from lab.tiny import tiny_run

from recall_lab import sweep as library
from recall_lab import train as training
from recall_lab.cli import EPILOGUE, VERBS, app
from recall_lab.cli.sweep import steps_worth
from recall_lab.models import LanguageModel, mixer_class
from recall_lab.report import Report
from recall_lab.run import mixer_config_from
from recall_lab.sweep import held
from recall_lab.tasks import MQAR, Batch, Stream
from recall_lab.theory import CLAIMS

HEAVY = ("torch", "numpy", "scipy", "pandas", "matplotlib", "seaborn", "pyarrow", "jax", "triton", "beartype")

EXAMPLES = {verb.__name__: examples.split("\n")[1:] for verbs in VERBS.values() for verb, examples in verbs.items()}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


@pytest.fixture
def measured(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Beside the sweep, its results in the folder out."""
    monkeypatch.setenv("STUB_BEGUN", os.devnull)
    monkeypatch.setenv("STUB_SECONDS", "0")
    with without_training():
        assert call("sweep", "tiny.toml", "--out", "out", "--workers", 1, cwd=tiny).code == 0
    return tiny


def test_a_sweep_with_ones_own_mixer_killed_and_resumed_gives_the_table_of_an_uninterrupted_one(tiny: Path) -> None:
    options = ("--mixer", "my_mixer:MyMixer", "--set", "seeds=1")
    with start("sweep", "tiny.toml", "--out", "one", "--workers", 1, *options, cwd=tiny) as killed:
        until(lambda: any((tiny / "one" / "runs").glob("[!.]*.json")), seconds=60)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    again = call("sweep", "tiny.toml", "--out", "one", "--workers", 1, *options, "--json", cwd=tiny)
    whole = call("sweep", "tiny.toml", "--out", "two", "--workers", 1, *options, "--json", cwd=tiny)
    assert (again.code, whole.code) == (0, 0), again.err + whole.err
    assert again.out == whole.out == call("table", "one", "--json", cwd=tiny).out
    assert {point["mixer"] for point in json.loads(whole.out)["points"]} == {"attention", "linear_attention", "MyMixer"}
    assert (tiny / "two" / "capacity.png").stat().st_size > 10_000
    nothing = call("sweep", "tiny.toml", "--out", "two", "--workers", 1, *options, cwd=tiny)
    assert "nothing left to do: all 6 runs are in two" in nothing.err


def test_ones_own_mixer_is_trained_by_its_import_path(tiny: Path) -> None:
    steps = ("--set", "budget.steps=4", "--set", "budget.check_every=2", "--set", "budget.test=32", "--set", "budget.validation=16")
    found = call("train", "--mixer", "my_mixer:MyMixer", "--set", "mixer.width=8", *steps, "--json", cwd=tiny)
    assert found.code == 0, found.err
    assert [line.partition(":")[0] for line in found.err.splitlines()] == ["step 2 of 4", "step 4 of 4"]
    assert json.loads(found.out)["result"]["status"] == "finished"
    assert json.loads(found.out)["run"]["model"]["mixer"] == "my_mixer:MyMixer"


def test_the_example_of_ones_own_mixer_has_at_most_thirty_lines_of_code() -> None:
    lines = (Path(__file__).parent / "my_mixer.py").read_text().splitlines()
    assert len([line for line in lines if line.strip() and not line.strip().startswith(('"""', "#"))]) <= 30


def test_help_and_its_verbs_load_nothing_heavy() -> None:
    code = "import sys; from recall_lab import cli; sys.argv = ['recall-lab', *sys.argv[1:]]\ntry: cli.main()\nfinally: print(*sys.modules)"
    for verb in ([], ["sweep"], ["verify"]):
        found = subprocess.run([sys.executable, "-c", code, *verb, "--help"], capture_output=True, text=True, check=True)
        assert "Usage: recall-lab" in found.stdout
        assert not set(HEAVY) & set(found.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("verb", ["", *EXAMPLES])
def test_help_fits_the_screen_and_no_example_is_broken(verb: str, columns: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    found = call(*filter(None, [verb]), "--help", cwd=tmp_path)
    lines = found.out.splitlines()
    assert found.code == 0
    assert max(map(len, lines)) <= columns
    assert set(EXAMPLES.get(verb, EPILOGUE.splitlines())) <= set(lines)


def test_help_names_every_verb_and_exit_code(tmp_path: Path) -> None:
    found = call(cwd=tmp_path)
    assert all(f"│ {name} " in found.out for name in EXAMPLES)
    assert "0 done, 1 a check or a run failed, 2 bad input, 130 interrupted" in found.out
    assert call("--help", cwd=tmp_path).out == found.out
    assert call("--version", cwd=tmp_path).out == "0.1.0\n"


@pytest.mark.parametrize("verb", EXAMPLES)
def test_every_argument_and_option_says_what_it_is_for_and_every_example_can_be_read(verb: str) -> None:
    assert all(argument.parameter.help for argument in app[verb].assemble_argument_collection(parse_docstring=True))
    for example in EXAMPLES[verb]:
        name, *arguments = example.partition(" > ")[0].split()
        assert (name, arguments[0]) == ("recall-lab", verb)
        app.parse_args(arguments, exit_on_error=False, print_error=False)


def test_a_table_is_printed_as_text_markdown_csv_and_json(measured: Path) -> None:
    texts = {format: call("table", "out", "--format", format, cwd=measured) for format in ("text", "md", "csv", "json")}
    assert {found.code for found in texts.values()} == {0}
    assert all("pairs=3" in found.out and found.err == "" for found in texts.values())
    points = json.loads(texts["json"].out)["points"]
    assert [row["difficulty"] for row in csv.DictReader(io.StringIO(texts["csv"].out))] == [point["difficulty"] for point in points]
    assert texts["md"].out.count("| --- |") >= 2


def test_status_counts_what_is_done_and_left_and_says_why_a_run_failed(measured: Path) -> None:
    first, second, *_ = sorted((measured / "out" / "runs").glob("*.json"))
    first.unlink()
    (measured / "out" / "failed" / second.name).write_bytes(second.read_bytes())
    found = call("status", "out", "--json", cwd=measured)
    assert json.loads(found.out) == {"runs": 8, "done": 7, "diverged": [], "running": [], "failed": {}, "left": 1}
    assert call("status", "out", cwd=measured).out.startswith("7 of 8 runs done (0 diverged), 0 running, 0 failed, 1 left")


def test_export_writes_a_row_for_every_finished_run(measured: Path) -> None:
    found = call("export", "out", "--format", "csv", cwd=measured)
    assert (found.code, found.out) == (0, "out/table.csv\n")
    assert len(list(csv.DictReader((measured / "out" / "table.csv").open()))) == 8


def test_a_dry_run_says_what_would_run_and_leaves_nothing_behind(tiny: Path) -> None:
    found = call("sweep", "tiny.toml", "--dry-run", "--workers", 2, cwd=tiny)
    assert found.code == 0
    assert "8 runs, 0 done, 8 left: about " in found.out
    assert sorted(path.name for path in tiny.iterdir()) == ["tiny.toml"]


def test_a_dry_run_counts_what_is_done_and_no_more_runs_than_the_limit(measured: Path) -> None:
    for path in sorted((measured / "out" / "runs").glob("*.json"))[:3]:
        path.unlink()
    dry = ("sweep", "tiny.toml", "--out", "out", "--dry-run")
    assert "8 runs, 5 done, 3 left: about " in call(*dry, "--limit", 3, cwd=measured).out
    assert "8 runs, 5 done, 3 left, 1 of them now: about " in call(*dry, "--limit", 1, cwd=measured).out
    counted = json.loads(call(*dry, "--limit", 1, "--json", cwd=measured).out)
    assert [counted[name] for name in ("runs", "done", "left", "now")] == [8, 5, 3, 1]
    assert "12 runs, 5 done, 7 left: about " in call(*dry, "--set", "seeds=3", cwd=measured).out
    assert held(measured / "out").seeds == (0, 1)


def test_the_estimate_counts_every_sample_that_is_only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(model: LanguageModel, batch: Batch) -> np.ndarray:
        read.append(len(batch.tokens))
        return original(model, batch)

    read: list[int] = []
    original = training.predict
    monkeypatch.setattr(training, "predict", predict)
    run = tiny_run(steps=7)
    training.train(run)
    assert steps_worth(run.budget) == 7 + sum(read) / (3 * run.budget.batch)


def test_a_table_as_csv_has_one_number_or_word_in_a_cell(measured: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(call("table", "out", "--format", "csv", cwd=measured).out)))
    points = json.loads(call("table", "out", "--json", cwd=measured).out)["points"]
    assert not any("{" in cell for row in rows for cell in row.values())
    for name in ("controls", "validation_by_learning_rate"):
        cells = [{key.removeprefix(f"{name}."): float(cell) for key, cell in row.items() if key.startswith(f"{name}.")} for row in rows]
        assert cells == [point[name] for point in points]


def test_a_table_of_some_of_the_runs_says_so_first(measured: Path) -> None:
    next((measured / "out" / "runs").glob("*.json")).unlink()
    for format in ("text", "md"):
        lines = call("table", "out", "--format", format, cwd=measured).out.splitlines()
        assert lines[0] == "7 of 8 runs, 1–2 seeds"
        assert lines[-1].startswith("7 of 8 runs, 1–2 seeds: ")
    assert json.loads(call("table", "out", "--json", cwd=measured).out)["says"].startswith("7 of 8 runs, 1–2 seeds: ")


def test_figures_are_drawn_again_only_when_the_table_is_another_one_whichever_call_changed_it(measured: Path) -> None:
    def draw(_found: Report, folder: Path, _command: str) -> None:
        drawn.append(folder)
        (folder / "capacity.png").touch()

    def sweep(*options: object) -> Ended:
        return call("sweep", "tiny.toml", "--out", "out", "--workers", 1, *options, cwd=measured)

    drawn: list[Path] = []
    with without_training():
        sys.modules["recall_lab.plots"].draw_all.side_effect = draw  # type: ignore[attr-defined]
        sweep()
        assert "nothing left to do: all 8 runs are in out" in sweep("--limit", 1).err
        assert len(drawn) == 1
        library.sweep(library.load(str(measured / "tiny.toml"), ["seeds=3"]), measured / "out")  # what a call killed before it draws leaves
        assert "nothing left to do: all 12 runs are in out" in sweep("--set", "seeds=3").err
        assert len(drawn) == 2


def test_every_name_that_ls_lists_can_be_shown_as_each_kind_that_has_it(tmp_path: Path) -> None:
    for kind, names in json.loads(call("ls", "--json", cwd=tmp_path).out).items():
        for name in names:
            said = call("show", name, cwd=tmp_path)
            assert said.code == 0, said.err
            assert any(re.match(rf"{kind.removesuffix('s')}: {re.escape(name)}\b", line) for line in said.out.splitlines()), (kind, name)


def test_a_name_of_several_kinds_is_a_list_for_programs_and_settings_go_to_the_mixer(tmp_path: Path) -> None:
    found = call("show", "linear_attention", "--set", "feature_width=3", "--json", cwd=tmp_path)
    mixer, kernel = json.loads(found.out)
    assert mixer["fields"]["feature_width"] == 3
    assert kernel["kernel"].startswith("linear_attention(")


def test_show_gives_programs_the_oracles_answers_and_the_cost_as_records(tmp_path: Path) -> None:
    task = MQAR(length=16, pairs=2)
    shown = json.loads(call("show", "mqar", "--set", "length=16", "--set", "pairs=2", "--json", cwd=tmp_path).out)
    tokens = task.sample(Stream(0, "train"), 0, 1).tokens[0]
    assert [tokens[row["position"]] for row in shown["oracle"]] == [int(row["asked"].removeprefix("k")) for row in shown["oracle"]]
    assert all(f"{row['asked']} {row['answer']}" in shown["sample"] for row in shown["oracle"])
    assert len(shown["oracle"]) == 2
    cost = json.loads(call("show", "sliding_window", "--set", "window=4", "--json", cwd=tmp_path).out)["cost"]
    mixer = mixer_class("sliding_window")(mixer_config_from("sliding_window", {"window": 4}))
    expected = [(row["length"], mixer.state_size(row["length"]), *mixer.cost(row["length"])) for row in cost]
    assert [tuple(row.values()) for row in cost] == expected


def test_ls_into_a_pipe_is_a_line_each(tmp_path: Path) -> None:
    lines = call("ls", cwd=tmp_path).out.splitlines()
    for kind, names in json.loads(call("ls", "--json", cwd=tmp_path).out).items():
        for name, what in names.items():
            assert any(line.split(maxsplit=2) == [kind.removesuffix("s"), name, what] for line in map(str.rstrip, lines)), name


def test_show_draws_every_kind_of_thing(tmp_path: Path) -> None:
    assert "oracle" in call("show", "mqar", "--set", "length=16", cwd=tmp_path).out
    assert "state size" in call("show", "sliding_window", cwd=tmp_path).out
    assert "standing" in call("show", "recall.wall", cwd=tmp_path).out
    assert "runs: " in call("show", "demo", cwd=tmp_path).out


def test_ls_lists_every_kind_and_one_kind_alone(tmp_path: Path) -> None:
    everything = json.loads(call("ls", "--json", cwd=tmp_path).out)
    assert set(everything) == {"tasks", "mixers", "kernels", "claims", "sweeps"}
    assert json.loads(call("ls", "tasks", "--json", cwd=tmp_path).out) == {"tasks": everything["tasks"]}


def test_verify_exits_1_if_one_claim_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOUND", "1")
    found = end(start("verify", "recall.wall", "one_more.claim", "--json", cwd=tmp_path, main="lab.one_more_claim"))
    assert found.code == 1, found.err
    assert {name: evidence["holds"] for name, evidence in json.loads(found.out).items()} == {"one_more.claim": False, "recall.wall": True}
    assert "one_more.claim: DOES NOT HOLD" in found.err


def test_verify_exits_0_if_all_claims_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOUND", "2")
    monkeypatch.setitem(CLAIMS, "one_more.claim", CLAIM)
    found = call("verify", "recall.wall", "one_more.claim", cwd=tmp_path)
    assert found.code == 0, found.err
    assert "one_more.claim" in found.out


def test_doctor_finds_everything_that_should_work_at_work(tmp_path: Path) -> None:
    found = call("doctor", "--json", cwd=tmp_path)
    assert found.code == 0, found.out
    assert json.loads(found.out)["training"]["works"] is True


def test_a_reader_that_leaves_early_gets_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    found = subprocess.run(
        [sys.executable, "-c", "from recall_lab.cli import main; main()"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (found.returncode, found.stderr) == (1, b"")
