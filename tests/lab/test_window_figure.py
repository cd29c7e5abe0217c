"""What the figures of sliding windows draw is what the law says and what training returned."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from recall_lab.capacity import points
from recall_lab.plots.window import distance_figure, window_figure
from recall_lab.run import single_run
from recall_lab.theory import window_accuracy, window_reach
from recall_lab.train import train

SETTINGS = {"task.length": 16, "task.pairs": 2, "model.depth": 1, "mixer.width": 8, "budget.steps": 2, "budget.test": 64}


def trained(**task: object) -> tuple[list, dict]:
    fields = {f"task.{name}": value for name, value in task.items()}
    runs = [single_run("mqar", "sliding_window", {**SETTINGS, **fields, "mixer.window": window}, seed=0) for window in (2, 4)]
    return runs, {run.hash: train(run) for run in runs}


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


def test_the_band_is_the_law_and_the_markers_are_the_trained_accuracies():
    runs, results = trained()
    figure = window_figure(points(runs, results), title="")
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    within = lines["what is within reach"]
    expected = [window_accuracy(runs[0].task, window_reach(w, runs[0].model.short_conv)) for w in range(1, 17)]
    np.testing.assert_allclose(within.get_ydata(), expected)
    assert np.all(lines["and the rest guessed without the key"].get_ydata() >= within.get_ydata() - 1e-12)
    drawn = [float(line.get_ydata()[0]) for line in figure.axes[0].get_lines() if line.get_label() == "trained"]
    assert drawn == [results[run.hash]["accuracy"] for run in runs]


def test_a_task_without_a_law_of_distances_is_refused():
    with pytest.raises(ValueError, match="must have a law of distances"):
        window_figure(points(*trained(layout="scattered")), title="")


def test_accuracy_is_drawn_at_every_distance_that_was_asked_at():
    runs, results = trained()
    figure = distance_figure({str(run.model.fields["window"]): (results[run.hash], 3) for run in runs}, title="")
    curve = next(line for line in figure.axes[0].get_lines() if len(line.get_xdata()) > 2)
    rows = np.array(results[runs[0].hash]["by_stratum"])
    np.testing.assert_array_equal(curve.get_xdata(), rows[:, 0])
    np.testing.assert_allclose(curve.get_ydata(), rows[:, 3] / rows[:, 2])
