"""What the figures of a sweep draw is what its points say."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.tiny import TASK, point
from matplotlib.colors import to_rgba

from recall_lab.plots import accuracy_figure, capacity_figure, save
from recall_lab.plots.accuracy import accuracy_table, apart
from recall_lab.plots.capacity import built, capacity_table, law_curves
from recall_lab.score import certified_at
from recall_lab.tasks import MQAR
from recall_lab.theory import predicted_accuracy
from recall_lab.theory.constructions.slots import replacing_heads_state, sharing_state


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


def drawn_at(figure, x: float) -> list:
    return [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) and line.get_xdata()[0] == x]


def test_every_seed_is_a_dot_their_range_a_bar_and_their_median_the_marker():
    figure = capacity_figure([point(bits=(1.0, 4.0, 2.0), accuracy=(0.1, 0.2, 0.3), low=(0.0, 0.0, 0.0))], title="", note="")
    ranges, dots, middle = sorted(drawn_at(figure, 256), key=lambda line: line.get_markersize() if line.get_marker() != "None" else 0)
    assert list(dots.get_ydata()) == [1.0, 4.0, 2.0]
    assert list(ranges.get_ydata()) == [1.0, 4.0]
    assert list(middle.get_ydata()) == [2.0]


def test_the_wall_is_the_diagonal_and_the_figure_reaches_it():
    axes = capacity_figure([point(), point(state_bits=4096)], title="", note="").axes[0]
    wall = next(line for line in axes.get_lines() if line.get_linewidth() == 1 and line.get_marker() == "None")
    np.testing.assert_array_equal(wall.get_xdata(), wall.get_ydata())
    assert wall.get_xdata()[0] <= 256
    assert wall.get_xdata()[-1] >= 4096
    assert axes.get_ylim()[1] >= wall.get_ydata()[-1]


@pytest.mark.parametrize("edge", [False, True])
def test_a_marker_is_hollow_where_a_better_learning_rate_may_lie_beyond_the_grid(edge: bool):
    figure = capacity_figure([replace(point(), edge=edge)], title="", note="")
    marker = max(drawn_at(figure, 256), key=lambda line: line.get_markersize() if line.get_marker() != "None" else 0)
    assert (to_rgba(marker.get_markerfacecolor()) == to_rgba("white")) == edge


@pytest.mark.parametrize("accuracy, arrows", [(0.94, 0), (0.95, 1)])
def test_an_arrow_says_that_all_was_answered(accuracy: float, arrows: int):
    axes = capacity_figure([point(accuracy=(accuracy,))], title="", note="").axes[0]
    assert sum(text.get_text() == "" for text in axes.texts) == arrows


def test_a_model_without_state_is_left_to_the_table():
    figure = capacity_figure([point(), point(state_bits=0, mixer="sliding_window")], title="", note="")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["attention", "weights set by hand"]
    assert len(capacity_figure([point(state_bits=0)], title="", note="").axes) == 1


def test_the_hardest_four_difficulties_have_a_panel_each():
    points = [replace(point(task=MQAR(length=64, pairs=n, keys=8, values=8)), difficulty=f"pairs={n}") for n in (5, 1, 3, 2, 4)]
    titles = [axes.get_title(loc="left") for axes in capacity_figure(points, title="", note="").axes]
    assert [title.partition(":")[0] for title in titles] == [f"pairs={n}" for n in (2, 3, 4, 5)]


def test_a_law_is_drawn_at_the_states_of_its_own_mixer():
    found = point(mixer="linear_attention", feature_width=4)
    (curve,) = law_curves([found, point()])
    assert curve.name == "random codes"
    model = replace(found.model, fields={**found.model.fields, "feature_width": 2})
    accuracy, _ = predicted_accuracy(TASK, model)
    at = list(curve.state_bits).index(32 * (2 * 8 + 3 * 8))  # the matrix and three taps of the convolution
    assert curve.certified_bits[at] == pytest.approx(certified_at(TASK, accuracy))


def test_weights_set_by_hand_stand_where_their_state_is_and_answer_everything():
    mixers = ("attention", "linear_attention", "mamba", "mamba2", "sliding_window")
    points = [*(point(mixer=mixer) for mixer in mixers), point(task=MQAR(length=16, pairs=2, filler="blank"))]
    width, cut = 2 * TASK.keys + TASK.values, TASK.cut
    found = {each.mixer: each for each in built(points[:-1])}
    assert list(found) == list(mixers[:-1])
    assert found["attention"].state_bits == 32 * (2 * width * cut + width)
    assert found["linear_attention"].state_bits == 32 * (TASK.keys + 1) * width
    assert found["mamba"].state_bits == 32 * sharing_state(TASK.keys, TASK.values)
    assert found["mamba2"].state_bits == 32 * replacing_heads_state(TASK.keys, TASK.values)
    assert all(each.certified_bits == pytest.approx(TASK.answer_bits) for each in found.values())
    assert not built(points[-1:])
    by_hand = capacity_table(points[:-1]).query("seed.isna()")
    assert list(by_hand["label"]) == [f"{mixer}, weights set by hand" for mixer in mixers[:-1]]


def test_a_construction_too_wide_to_draw_is_left_out():
    task = MQAR(length=16, pairs=2, keys=64, values=64)
    assert [each.mixer for each in built([point(task=task, mixer="mamba2"), point(task=task, mixer="mamba")])] == ["mamba"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_labels_are_apart_and_below_the_top(heights: list[float]):
    placed = apart(sorted(heights), 0.05)
    assert np.all(np.diff(placed) >= 0.05 - 1e-9)
    assert placed[-1] <= 1.0
    if np.all(np.diff(sorted(heights)) > 0.05):
        np.testing.assert_allclose(placed, sorted(heights))


def test_accuracy_is_drawn_with_its_controls_and_its_law():
    tasks = [MQAR(length=32, pairs=n, keys=8, values=8, order="shuffled") for n in (2, 4)]
    points = [point(task=task, mixer="sliding_window", window=4, accuracy=(0.3, 0.5)) for task in tasks]
    axes = accuracy_figure(points, note="").axes[0]
    curves = [list(line.get_ydata()) for line in axes.get_lines()]
    assert [0.4, 0.4] in curves
    assert [predicted_accuracy(task, points[0].model)[0] for task in tasks] in curves
    assert [1 / 8, 1 / 8] in curves
    assert [1 / 2, 1 / 4] in curves
    assert {"chance", "values in context", "sliding_window", "window law"} == {text.get_text() for text in axes.texts}
    assert axes.get_title(loc="left") == "0 of 1 models answer 4 questions with accuracy 0.95 or more"


def test_the_tables_have_a_row_a_seed():
    points = [point(accuracy=(0.1, 0.2), bits=(1.0, 2.0), low=(0.0, 0.0)), point(accuracy=(0.3,))]
    table = capacity_table(points)
    assert list(table["certified_bits"][table["seed"].notna()]) == [1.0, 2.0, 1.0]
    assert list(accuracy_table(points)["accuracy"]) == [0.1, 0.2, 0.3]


def test_a_figure_is_saved_with_its_data_and_leaves_nothing_else(tmp_path):
    figure, _ = plt.subplots()
    paths = save(figure, pd.DataFrame({"a": [1]}), tmp_path / "one.png")
    assert [path.name for path in paths] == ["one.png", "one.svg", "one.csv"]
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert (tmp_path / "one.csv").read_text() == "a\n1\n"
