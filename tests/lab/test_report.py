"""The one sentence about a sweep, clause by clause, and the rows of its table."""

from dataclasses import replace
from pathlib import Path

import pytest
from lab.tiny import TASK, outcome, point, tiny_run

from recall_lab.errors import InputError
from recall_lab.report import COLUMNS, markdown, percent, report, sentence, table_rows
from recall_lab.sweep import adopt, parse
from recall_lab.tasks import MQAR

EASY, HARD = (MQAR(length=64, pairs=pairs, keys=16, values=16, order="shuffled") for pairs in (2, 8))

SPEC = """
seeds = 2
[task]
name = "mqar"
length = 16
pairs = [1, 2]
[mixers.attention]
width = 8
"""


def test_a_mixer_that_answers_everything_is_named_with_its_worst_seed() -> None:
    solved = [point(task=EASY, accuracy=(1.0, 0.97, 0.99)), point(task=HARD, accuracy=(0.96, 0.951, 1.0))]
    failed = [point(task=EASY, mixer="sliding_window", accuracy=(0.99,)), point(task=HARD, mixer="sliding_window", accuracy=(0.3,))]
    said = sentence([*solved, *failed])
    assert said.startswith("attention answers everything asked (accuracy at least 0.951); ")
    assert "sliding_window answer" not in said


def test_several_mixers_that_answer_everything_are_named_together() -> None:
    said = sentence([point(accuracy=(0.98,)), point(mixer="linear_attention", accuracy=(0.96,))])
    assert said.startswith("attention and linear_attention answer everything asked (accuracy at least 0.960); ")


@pytest.mark.parametrize("accuracy", [(0.94,), (0.96, 0.2, 1.0)])
def test_nothing_is_said_of_everything_where_a_seed_of_every_mixer_does_not_answer_it(accuracy: tuple[float, ...]) -> None:
    assert "everything" not in sentence([point(accuracy=accuracy)])


def test_bits_that_rise_with_the_state_are_said_to_rise() -> None:
    found = [point(task=HARD, bits=(bits,), state_bits=state) for state, bits in ((512, 6.0), (128, 2.0), (256, 2.0))]
    assert f"attention rises from 2.0 to 6.0 of {HARD.answer_bits:.1f} bits as its state grows from 128 to 512 bits" in sentence(found)


@pytest.mark.parametrize("bits", [(2.0, 9.0, 6.0), (2.0, 2.0, 2.0), (6.0, 4.0, 2.0)])
def test_bits_that_do_not_rise_throughout_are_said_to_go(bits: tuple[float, ...]) -> None:
    found = [point(task=HARD, bits=(each,), state_bits=state) for state, each in zip((128, 256, 512), bits, strict=True)]
    assert f"attention goes from {bits[0]:.1f} to {bits[2]:.1f} of " in sentence(found)


def test_only_the_difficulty_with_the_most_bits_tells_how_bits_go_with_the_state() -> None:
    easy = [point(task=EASY, bits=(bits,), state_bits=state) for state, bits in ((128, 7.0), (256, 5.0))]
    hard = [point(task=HARD, bits=(bits,), state_bits=state) for state, bits in ((128, 1.0), (256, 3.0))]
    assert "attention rises from 1.0 to 3.0" in sentence([*easy, *hard])


def test_nothing_is_said_of_growth_where_the_state_does_not_grow() -> None:
    assert "state grows" not in sentence([point(bits=(1.0,)), point(bits=(2.0,), label="attention depth=2")])


def test_the_point_nearest_to_the_wall_is_named_with_its_share() -> None:
    far, near = point(bits=(4.0,), state_bits=512), point(bits=(3.0,), state_bits=128, mixer="sliding_window", label="window four")
    assert sentence([far, near]).endswith("no point passes the wall: the nearest, window four, certifies 2.3 % of its state's bits.")


@pytest.mark.parametrize(("over", "said"), [(1, "1 point lies beyond the wall, which cannot be."), (2, "2 points lie beyond the wall")])
def test_points_beyond_the_wall_are_counted_by_their_surest_seed(over: int, said: str) -> None:
    found = [point(low=(0.0, 256.5) if index < over else (0.0, 256.0), accuracy=(0.5, 0.5), bits=(300.0, 300.0)) for index in range(3)]
    assert said in sentence(found)
    assert "no point passes" not in sentence(found)


def test_clauses_are_parted_by_semicolons_and_end_in_a_full_stop() -> None:
    found = [point(task=HARD, accuracy=(1.0,), bits=(bits,), state_bits=state) for state, bits in ((128, 2.0), (256, 3.0))]
    clauses = sentence(found).removesuffix(".").split("; ")
    assert [clause.split()[1] for clause in clauses] == ["answers", "rises", "point"]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (0.00123, "0.12 %"),
        (0.0234, "2.3 %"),
        (0.0999, "10 %"),
        (0.456, "46 %"),
        (0.997, "100 %"),
        (1, "100 %"),
        (12.5, "1250 %"),
    ],
)
def test_shares_in_per_cent(share: float, text: str) -> None:
    assert percent(float(share)) == text


def test_a_row_of_the_table_has_a_text_for_every_column() -> None:
    [row] = table_rows([point(accuracy=(0.25, 0.5, 1.0), bits=(1.0, 2.0, 3.0), low=(0.5, 1.0, 2.0))])
    told = dict(zip(COLUMNS, row, strict=True))
    assert told["accuracy (seeds)"] == "0.500 (0.250–1.000)"
    assert (told["state bits"], told["certified bits"], told["of asked"], told["of state"]) == ("256", "2.00", "5.8", "0.78 %")
    assert (told["learning rate"], told["theory"], told["chance"]) == ("0.01", "", "0.125")
    best = max(TASK.controls(), key=TASK.controls().__getitem__)
    assert told["best control"] == f"{TASK.controls()[best]:.3f} ({best})"


def test_a_row_tells_of_edge_divergence_and_theory() -> None:
    window = replace(point(mixer="sliding_window", window=4), edge=True, diverged=2)
    told = dict(zip(COLUMNS, table_rows([window])[0], strict=True))
    assert told["learning rate"] == "0.01 (edge) (2 diverged)"
    assert window.predicted is not None
    assert told["theory"] == "{:.3f}–{:.3f}".format(*window.predicted)
    linear = point(mixer="linear_attention", feature_width=4)
    assert linear.predicted is not None
    assert table_rows([linear])[0][COLUMNS.index("theory")] == f"{linear.predicted[0]:.3f}"


def test_markdown_is_a_table_with_a_rule_under_its_head() -> None:
    assert markdown(("a", "b"), [("1", "2"), ("3", "4")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"


def test_a_report_is_what_a_folder_holds(tmp_path: Path) -> None:
    spec = parse(SPEC, "tiny.toml")
    store = adopt(tmp_path, spec)
    assert report(tmp_path).to_dict() == {"runs": 4, "done": 0, "failed": 0, "points": [], "capacities": [], "says": None}
    runs = spec.runs()
    for run in runs[:3]:
        store.write(run, outcome(accuracy=run.seed / 4, bits=1.0 + run.seed), {"host": "elsewhere"})
    found = report(tmp_path)
    assert set(found.done) == {run.hash for run in runs[:3]}
    assert [(each.difficulty, each.seeds) for each in found.points] == [("pairs=1", (0, 1)), ("pairs=2", (0,))]
    written = found.to_dict()
    assert (written["runs"], written["done"], len(written["points"]), len(written["capacities"])) == (4, 3, 2, 1)
    assert written["says"] == "3 of 4 runs, 1–2 seeds: " + sentence(found.points)
    assert written["capacities"][0]["capacity"] == 1.5


def test_a_sweep_that_is_not_finished_says_so_first_with_its_failed_runs_and_one_that_is_says_nothing_of_it(tmp_path: Path) -> None:
    spec = parse(SPEC, "tiny.toml")
    store, runs = adopt(tmp_path, spec), spec.runs()
    assert report(tmp_path).progress == "0 of 4 runs"
    for run in runs[:2]:
        store.write(run, outcome(), {})
    store.write_failure(runs[2], "no room", "", {})
    assert report(tmp_path).progress == "2 of 4 runs, 1 seed, 1 failed"
    assert report(tmp_path).to_dict()["failed"] == 1
    store.write_failure(tiny_run(), "of no run of this sweep", "", {})
    for run in runs[2:]:
        store.write(run, outcome(), {})
    found = report(tmp_path)
    assert (found.progress, found.failed, found.says) == ("", 0, sentence(found.points))


def test_what_is_no_results_folder_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a results folder"):
        report(tmp_path / "absent")
