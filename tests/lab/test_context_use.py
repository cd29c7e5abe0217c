"""What is said of the use of contexts, seed by seed, and when it may be said."""

from pathlib import Path

import pytest
from lab.tiny import outcome

from recall_lab.context_use import COLUMNS, ContextUse, context_row, table_rows
from recall_lab.report import report
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


def results(accuracy: float, first: int, *, swap: float | None = 0.5) -> dict[str, object]:
    probes = {} if swap is None else {"swap": swap}
    return outcome(accuracy_macro=accuracy, by_stratum=[[0, 0, 1000, first], [1, 1, 1000, 900]], probes=probes, certified_low=3.0)


@pytest.fixture
def rows(tmp_path: Path) -> list[ContextUse]:
    """Seed 0 uses contexts, seed 1 is good at later slots only; at the rate 1e-3, worse on validation, none does."""
    spec = parse(SPEC, "spec")
    store = adopt(tmp_path, spec)
    for run in spec.runs():
        worse = run.optimiser.learning_rate == 1e-3
        found = results(0.1, 100) if worse else results(0.99, 990 if run.seed == 0 else 400)
        store.write(run, found | {"validation_accuracy": 0.1 if worse else 0.9}, {})
    return report(tmp_path).context_use


def test_there_is_a_row_for_every_model_and_joint_recall_task_at_the_rate_that_validation_chose(rows: list[ContextUse]) -> None:
    assert [row.task for row in rows] == ["paper, answers revealed", "triples, answers revealed"]
    assert all(row.learning_rate == 1e-2 and row.seeds == (0, 1) and row.accuracy == (0.99, 0.99) for row in rows)
    assert rows[0].controls == JointRecall(contexts=3, keys=2, values=4).controls()
    assert rows[0].first == (0.99, 0.4)
    assert rows[0].by_slot == ((0.99, 0.9), (0.4, 0.9))


def test_a_seed_that_matches_blocks_is_not_said_to_use_contexts(rows: list[ContextUse]) -> None:
    assert rows[0].uses == (True, False)
    assert rows[0].says.startswith("use of contexts is shown on 1 of 2 seeds: accuracy 0.990 beside ")
    assert "first slot 0.400–0.990" in rows[0].says


@pytest.mark.parametrize(("above", "shown"), [(1.9, False), (2.1, True)])
@pytest.mark.parametrize("where", ["everywhere", "first"])
def test_it_takes_two_standard_errors_over_samples_everywhere_and_at_the_first_slot(above: float, shown: bool, where: str) -> None:
    control = 0.5
    reached = control + above * (control * (1 - control) / 400) ** 0.5
    row = ContextUse(
        label="a model", task="a task", seeds=(0,), learning_rate=1e-2, tested=400, certified_low=(0.0,), state_bits=1, swap=(None,),
        accuracy=(reached if where == "everywhere" else 1.0,), first=(reached if where == "first" else 1.0,), by_slot=((1.0,),),
        controls={"context_token_blind": control, "context_blind": 0.3, "chance": 0.25}, matcher_by_slot=(control,),
    )  # fmt: skip
    assert row.uses == (shown,)
    assert row.says.startswith("use of contexts is shown on all 1 seeds" if shown else "use of contexts is not shown on any of 1 seeds")


def test_every_seed_has_a_line_with_its_controls(rows: list[ContextUse]) -> None:
    lines = table_rows(rows)
    assert len(lines) == 4
    assert all(len(line) == len(COLUMNS) for line in lines)
    controls = rows[0].controls
    assert lines[1][2:8] == (
        "1",
        "0.990",
        "0.400",
        "0.900",
        "0.500",
        f"{controls['context_token_blind']:.3f}, {rows[0].matcher_by_slot[0]:.3f}",
    )
    assert [line[-1] for line in lines] == ["yes", "not shown"] * 2


def test_a_row_for_programs_has_what_people_are_told(rows: list[ContextUse]) -> None:
    row = context_row(rows[0])
    assert row["uses"] == (True, False)
    assert row["says"] == rows[0].says
    assert row["certified_low"] == (3.0, 3.0)
