"""What the figures of selection draw is what training returned."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from recall_lab.plots import draw_all
from recall_lab.plots.selectivity import REPORTED, length_figure, selectivity_figure, selectivity_table
from recall_lab.report import Report, report
from recall_lab.sweep import load, sweep

SMALL = ["budget.steps=1", "budget.batch=2", "budget.validation=2", "budget.test=8", "budget.eval_lengths=[[24]]", "seeds=2"]
SMALL += ["mixers.mamba.width=4", "mixers.mamba.state_width=2", 'mixers.mamba.selective=[[], ["dt", "B", "C"]]']
SMALL += ["task.length=[20]"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("selectivity")
    sweep(load("mamba_selectivity", SMALL), folder, workers=1)
    return report(folder)


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


def copying(found: Report) -> pd.DataFrame:
    table = selectivity_table(found)
    return table[table.task == "selective_copy"]


def test_every_run_is_a_row_at_every_length_it_was_judged_on(found: Report) -> None:
    table = selectivity_table(found)
    assert len(table) == 2 * 2 * 2 * 2  # tasks, choices of what is selective, seeds, lengths
    for run in found.runs:
        name = "+".join(run.model.fields["selective"]) or "none"
        rows = table[(table.task == run.task.name) & (table.selective == name) & (table.seed == run.seed)]
        result = found.done[run.hash]
        assert dict(zip(rows.length, rows.accuracy, strict=True)) == {20: result["accuracy"], 24: result["by_length"][0][1]}


def test_the_markers_are_the_seeds_their_median_and_what_was_reported(found: Report) -> None:
    table = copying(found)
    figure = selectivity_figure(table, {"chance": 0.125}, title="", note="", reported=REPORTED)
    dots, bar, marker, reported = figure.axes[0].get_lines()[:4]
    own = table[(table.selective == "none") & (table.length == 20)].accuracy
    assert sorted(dots.get_ydata()) == sorted(own)
    assert list(bar.get_ydata()) == [own.min(), own.max()]
    assert marker.get_ydata()[0] == own.median()
    assert reported.get_ydata()[0] == REPORTED["none"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["none", "dt+B+C"]


def test_a_line_goes_through_the_medians_at_every_length(found: Report) -> None:
    table = copying(found)
    line = length_figure(table, 0.1, title="", note="").axes[0].get_lines()[0]
    assert list(line.get_xdata()) == [20, 24]
    assert list(line.get_ydata()) == [
        table[(table.selective == "none") & (table.length == length)].accuracy.median() for length in (20, 24)
    ]


def test_a_sweep_of_two_tasks_has_a_figure_of_accuracy_for_each_and_a_capacity_for_each(found: Report, tmp_path: Path) -> None:
    names = {path.name for path in draw_all(found, tmp_path, "command")}
    assert {"capacity.png", "accuracy_induction.png", "accuracy_selective_copy.png"} <= names
    assert {f"{kind}_{task}.csv" for kind in ("selectivity", "lengths") for task in ("induction", "selective_copy")} <= names
    labels = [capacity.label for capacity in found.capacities]
    assert len(set(labels)) == len(labels) == 4
    assert {point.difficulty for point in found.points} == {"selective_copy", "induction"}
