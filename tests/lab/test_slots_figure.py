"""What the figure of accuracy by slot draws is what training returned, beside what can be had without context tokens."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from lab.tiny import TASK, outcome
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from recall_lab.context_use import ContextUse
from recall_lab.plots import draw_all, slot_figure
from recall_lab.plots.slots import CHANCE, KEYS_ONLY, MATCHER, controls_by_slot, slot_table, slot_title
from recall_lab.plots.style import LOOKS
from recall_lab.report import report
from recall_lab.sweep import adopt, parse
from recall_lab.tasks import IGNORE, JointRecall, Stream
from recall_lab.tasks.joint_recall_strategies import guesses

REVEALED = JointRecall(contexts=3, keys=3, values=4)
HIDDEN = JointRecall(contexts=3, keys=3, values=4, reveal=False)
TRIPLES = JointRecall(contexts=3, keys=3, values=4, layout="triples")
CLIMBING = ((0.3, 0.8, 0.9), (0.5, 0.6, 0.7), (0.2, 0.9, 1.0))
MEDIAN = [0.3, 0.8, 0.9]
LEVEL = ((0.97, 0.98, 0.99),) * 3


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


def row(task: JointRecall, by_slot: tuple[tuple[float, ...], ...] = CLIMBING, label: str = "hax") -> ContextUse:
    """A model whose seeds reached these accuracies at each slot."""
    return ContextUse(
        label=label,
        task=f"{task.layout}, {task.reveal}",
        seeds=(7, 8, 9),
        diverged=0,
        learning_rate=1e-2,
        accuracy=tuple(float(np.mean(slots)) for slots in by_slot),
        by_slot=by_slot,
        swap=(None,) * 3,
        swap_control=None,
        controls=task.controls(),
        matcher_by_slot=tuple(task.matcher_by_slot().tolist()),
        tested=10_000,
        certified_low=(0.0,) * 3,
        state_bits=32,
    )


def curves(axes: Axes, *, faint: bool) -> list[list[float]]:
    """What is drawn with markers, of single seeds or of their medians."""
    return [list(line.get_ydata()) for line in axes.get_lines() if line.get_marker() != "None" and (line.get_alpha() is not None) == faint]


def named(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_every_seed_is_a_faint_line_and_the_median_of_each_slot_has_the_marker() -> None:
    axes = slot_figure([row(REVEALED)], title="", note="").axes[0]
    assert curves(axes, faint=True) == [list(slots) for slots in CLIMBING]
    assert curves(axes, faint=False) == [MEDIAN]
    assert all(list(line.get_xdata()) == [1, 2, 3] for line in axes.get_lines() if line.get_marker() != "None")


def test_the_matcher_of_blocks_climbs_from_what_keys_alone_give_and_both_are_named() -> None:
    axes = slot_figure([row(REVEALED)], title="", note="").axes[0]
    matcher, keys_only, chance = (line for line in axes.get_lines() if line.get_marker() == "None")
    assert list(matcher.get_ydata()) == list(REVEALED.matcher_by_slot())
    assert set(keys_only.get_ydata()) == {REVEALED.matcher_by_slot()[0]}
    assert set(chance.get_ydata()) == {0.25}
    assert {MATCHER, KEYS_ONLY, CHANCE} <= set(named(axes))


@pytest.mark.parametrize("task", [HIDDEN, TRIPLES], ids=["hidden", "triples"])
def test_where_nothing_is_matched_one_line_stands_for_both(task: JointRecall) -> None:
    slots = len(task.matcher_by_slot())
    axes = slot_figure([row(task, tuple(each[:slots] for each in CLIMBING))], title="", note="").axes[0]
    level = [line.get_ydata()[0] for line in axes.get_lines() if line.get_marker() == "None"]
    assert level == [pytest.approx(task.matcher_by_slot()[0]), 0.25]
    assert KEYS_ONLY not in named(axes)


def test_a_reader_of_keys_alone_is_in_no_slot_better_than_in_the_first() -> None:
    batch = REVEALED.sample(Stream(0, "test"), 0, 600)
    right, asked = guesses(REVEALED, batch.tokens, "context_blind") == batch.targets, batch.targets != IGNORE
    slot, predicted = REVEALED.stratum(batch.tokens), controls_by_slot(row(REVEALED))[KEYS_ONLY]
    for number, expected in enumerate(predicted):
        by_sample = (right & asked & (slot == number)).sum(axis=1) / 3
        assert abs(by_sample.mean() - expected) <= 4 * by_sample.std(ddof=1) / 600**0.5


def test_what_keys_alone_give_is_the_control_over_all_questions() -> None:
    task = JointRecall(contexts=(2, 4), keys=(1, 3), values=4)
    cells = [(c * k, JointRecall(contexts=c, keys=k, values=4).controls()["context_blind"]) for c, k in task.cells]
    of_questions = sum(asked * accuracy for asked, accuracy in cells) / sum(asked for asked, _ in cells)
    assert controls_by_slot(row(task))[KEYS_ONLY] == (pytest.approx(of_questions),) * 3


def test_a_task_has_a_panel_and_tables_of_another_size_are_another_task() -> None:
    larger = JointRecall(contexts=5, keys=3, values=4)
    figure = slot_figure([row(REVEALED), row(HIDDEN), row(REVEALED, label="mamba2"), row(larger)], title="", note="")
    assert [axes.get_title("left") for axes in figure.axes] == ["paper, True", "paper, False", "paper, True"]
    assert [len(curves(axes, faint=False)) for axes in figure.axes] == [2, 1, 1]


def test_models_of_one_mixer_share_its_colour_and_marker_and_differ_in_their_dashes() -> None:
    labels = ("hax pattern=ks", "mamba2", "hax pattern=lsh")
    axes = slot_figure([row(REVEALED, label=label) for label in labels], title="", note="").axes[0]
    ks, mamba2, lsh = (line for line in axes.get_lines() if line.get_marker() in {look.marker for look in LOOKS.values()})
    for line, mixer in ((ks, "hax"), (lsh, "hax"), (mamba2, "mamba2")):
        assert (to_rgba(line.get_color()), line.get_marker()) == (to_rgba(LOOKS[mixer].colour), LOOKS[mixer].marker)
    assert ks.get_linestyle() != lsh.get_linestyle()
    assert set(labels) <= set(named(axes))


def test_the_table_has_every_point_of_every_line() -> None:
    table = slot_table([row(REVEALED), row(HIDDEN, label="mamba2")])
    seeds, controls = table[table.seed.notna()], table[table.seed.isna()]
    assert len(seeds) == 2 * 3 * 3
    of_one = seeds[(seeds.label == "mamba2") & (seeds.seed == 8)]
    assert dict(zip(of_one.slot, of_one.accuracy, strict=True)) == dict(enumerate(CLIMBING[1], start=1))
    assert list(controls.label.unique()) == [MATCHER, KEYS_ONLY, CHANCE]
    assert len(controls) == 2 * 3 * 3


def test_the_title_counts_the_models_that_use_contexts() -> None:
    assert slot_title([row(REVEALED), row(HIDDEN, LEVEL)]) == "3 of 6 trained models answer by contexts"
    assert slot_title([row(REVEALED)]) == "None of 3 trained models answers by contexts"


SPEC = """
seeds = 2
[mixers.attention]
width = 8
"""
OF_JOINT_RECALL = 'task = { name = "joint_recall", contexts = 3, keys = 2, values = 4 }'
OF_MQAR = f'task = {{ name = "mqar", length = {TASK.length}, pairs = {TASK.pairs} }}'


@pytest.mark.parametrize(("task", "drawn"), [(OF_JOINT_RECALL, True), (OF_MQAR, False)], ids=["joint_recall", "mqar"])
def test_a_sweep_has_the_figure_if_it_holds_joint_recall(task: str, drawn: bool, tmp_path: Path) -> None:
    spec = parse(task + SPEC, "spec")
    store = adopt(tmp_path / "runs", spec)
    for run in spec.runs():
        by_slot = [[0, 0, 100, 40 + run.seed], [1, 1, 100, 90]]
        store.write(run, outcome(accuracy_macro=0.5, by_stratum=by_slot, probes={"swap": 0.5}), {})
    paths = draw_all(report(tmp_path / "runs"), tmp_path, "command")
    assert (tmp_path / "slots.png" in paths) == drawn
    if drawn:
        table = pd.read_csv(tmp_path / "slots.csv")
        assert list(table[table.seed.notna()].accuracy) == [0.4, 0.9, 0.41, 0.9]
