"""What is said of the use of contexts, seed by seed, and when it may be said."""

from pathlib import Path

import pytest
from lab.tiny import outcome

from recall_lab.context_use import COLUMNS, ContextUse, context_row, swap_control, table_rows
from recall_lab.report import report
from recall_lab.run import Run
from recall_lab.sweep import adopt, parse
from recall_lab.tasks import JointRecall

SPEC = """
seeds = 2
[[task]]
name = "joint_recall"
contexts = 3
keys = 2
values = 4
layout = ["paper", "triples"]
reveal = [true, false]
[[task]]
name = "mqar"
length = 16
pairs = 1
[mixers.attention]
width = 8
[optimiser]
learning_rate = [1e-3, 1e-2]
[budget]
test = 400
"""


def results(run: Run, accuracy: float, first: int, swap: float) -> dict[str, object]:
    by_slot = [[0, 0, 1000, first], [1, 1, 1000, 900]][: 1 if run.task.layout == "triples" else 2]
    return outcome(accuracy_macro=accuracy, by_stratum=by_slot, probes={"swap": swap}, certified_low=3.0)


@pytest.fixture
def rows(tmp_path: Path) -> list[ContextUse]:
    """Seed 0 uses contexts, seed 1 is good at later slots only; at the rate 1e-3, worse on validation, none does."""
    spec = parse(SPEC, "spec")
    store = adopt(tmp_path, spec)
    for run in spec.runs():
        worse = run.optimiser.learning_rate == 1e-3
        found = results(run, *((0.1, 100, 0.0) if worse else (0.99, 990, 0.95) if run.seed == 0 else (0.99, 400, 0.1)))
        store.write(run, found | {"validation_accuracy": 0.1 if worse else 0.9}, {})
    return report(tmp_path).context_use


def row(accuracy: float = 1.0, first: float = 1.0, swap: float | None = 1.0, **others: object) -> ContextUse:
    """Of one seed on 400 samples, beside controls of 1/2."""
    fields = {"seeds": (0,), "accuracy": (accuracy,), "by_slot": ((first, 1.0),), "swap": (swap,), "swap_control": 0.5}
    fields |= {"controls": {"context_token_blind": 0.5, "context_blind": 0.3, "chance": 0.25}, "matcher_by_slot": (0.5, 0.9)}
    fields |= {
        "label": "a model",
        "task": "a task",
        "diverged": 0,
        "learning_rate": 1e-2,
        "tested": 400,
        "certified_low": (0.0,),
        "state_bits": 1,
    }
    return ContextUse(**(fields | others))


def test_there_is_a_row_for_every_model_and_joint_recall_task_at_the_rate_that_validation_chose(rows: list[ContextUse]) -> None:
    described = "3 × 2, 4 values, {}, answers {}revealed"
    told = [described.format(layout, revealed) for layout in ("paper", "triples") for revealed in ("", "not ")]
    assert [each.task for each in rows] == told
    assert all(each.learning_rate == 1e-2 and each.seeds == (0, 1) and each.accuracy == (0.99, 0.99) for each in rows)
    assert all(each.tested == 400 and each.certified_low == (3.0, 3.0) for each in rows)
    task = JointRecall(contexts=3, keys=2, values=4)
    assert rows[0].controls == task.controls()
    assert rows[0].matcher_by_slot == tuple(task.matcher_by_slot())
    assert rows[0].by_slot == ((0.99, 0.9), (0.4, 0.9))


def test_a_seed_that_matches_blocks_is_not_said_to_use_contexts(rows: list[ContextUse]) -> None:
    assert rows[0].answers == rows[0].follows == (True, False)
    assert rows[0].says.startswith("answers by contexts: 1 of 2 seeds (accuracy 0.990 beside ")
    assert "first slot 0.400–0.990 beside " in rows[0].says
    assert "; follows exchanged contexts: 1 of 2 (0.100–0.950 beside " in rows[0].says


@pytest.mark.parametrize(("above", "shown"), [(1.9, False), (2.1, True)])
@pytest.mark.parametrize("where", ["accuracy", "first", "swap"])
def test_it_takes_two_standard_errors_over_samples(above: float, shown: bool, where: str) -> None:
    reached = row(**{where: 0.5 + above * (0.25 / 400) ** 0.5})
    assert (reached.follows if where == "swap" else reached.answers) == (shown,)
    assert (reached.answers if where == "swap" else reached.follows) == (True,)


def test_where_contexts_cannot_be_exchanged_nothing_is_said_of_it() -> None:
    unasked = row(swap=None, swap_control=None)
    assert unasked.follows == (False,)
    assert "follows" not in unasked.says
    assert "1 diverged" in row(diverged=1).says


def test_slots_that_share_a_bin_are_held_against_the_best_of_them(tmp_path: Path) -> None:
    spec = parse(SPEC.replace("keys = 2", "keys = 4").replace('["paper", "triples"]', '"paper"'), "spec")
    store = adopt(tmp_path, spec)
    for run in spec.runs():
        store.write(run, results(run, 0.9, 900, 0.9) | {"by_stratum": [[0, 1, 1000, 900], [2, 3, 1000, 900]]}, {})
    by_slot = JointRecall(contexts=3, keys=4, values=4).matcher_by_slot()
    assert report(tmp_path).context_use[0].matcher_by_slot == (by_slot[1], by_slot[3])


def test_rows_from_before_there_were_probes_have_none(tmp_path: Path) -> None:
    spec = parse(SPEC, "spec")
    store = adopt(tmp_path, spec)
    for run in spec.runs():
        store.write(run, {name: value for name, value in results(run, 0.9, 900, 0.9).items() if name != "probes"}, {})
    old = report(tmp_path).context_use[0]
    assert old.swap == (None, None)
    assert old.swap_control is None


@pytest.mark.parametrize("reveal", [True, False])
def test_of_two_contexts_a_reader_of_neither_is_right_half_of_the_time_where_they_are_exchanged(reveal: bool) -> None:
    assert swap_control(JointRecall(contexts=2, keys=3, values=8, reveal=reveal)) == pytest.approx(0.5, abs=0.05)


def test_many_values_leave_a_guess_among_the_contexts() -> None:
    assert swap_control(JointRecall(contexts=5, keys=2, values=1000, reveal=False)) == pytest.approx(1 / 5, abs=0.05)


def test_every_seed_has_a_line_with_its_controls(rows: list[ContextUse]) -> None:
    lines = table_rows(rows)
    assert len(lines) == 8
    assert all(len(line) == len(COLUMNS) for line in lines)
    told = dict(zip([f"{at}:{name}" for at, name in enumerate(COLUMNS)], lines[1], strict=True))
    assert told["2:seed"] == "1"
    assert told["3:accuracy"] == "0.990"
    assert told["4:context tokens unread"] == f"{rows[0].controls['context_token_blind']:.3f}"
    assert (told["7:first slot"], told["8:unread"]) == ("0.400", f"{rows[0].matcher_by_slot[0]:.3f}")
    assert (told["10:swap probe"], told["11:unread"]) == ("0.100", f"{rows[0].swap_control:.3f}")
    assert [line[-2:] for line in lines[:2]] == [("yes", "yes"), ("not shown", "not shown")]


def test_a_row_for_programs_has_what_people_are_told(rows: list[ContextUse]) -> None:
    told = context_row(rows[0])
    assert told["answers_by_contexts"] == told["follows_contexts"] == (True, False)
    assert told["says"] == rows[0].says
    assert told["certified_low"] == (3.0, 3.0)
