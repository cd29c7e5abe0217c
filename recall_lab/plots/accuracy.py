"""Accuracy against the size of the problem, with the controls and the laws of theory beside it."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

from ..capacity import SATURATED, Point
from ..theory import LAW_NAMES
from .style import COLUMN, CONTROL, THEORY, looks, style


def accuracy_table(points: Sequence[Point]) -> pd.DataFrame:
    """One row a seed."""
    return pd.DataFrame(
        [
            {"label": point.label, "mixer": point.model.mixer, "stored": point.task.stored, "seed": seed, "accuracy": accuracy}
            for point in points
            for seed, accuracy in zip(point.seeds, point.accuracy.each, strict=True)
        ]
    )


def accuracy_figure(points: Sequence[Point], *, note: str) -> Figure:
    """A line a model over the stored answers, its seeds as a band; dotted grey: controls; thin grey: what theory predicts at least."""
    with style():
        figure, axes = plt.subplots(figsize=(COLUMN * 1.15, COLUMN * 0.95))
        axes.spines[["top", "right"]].set_visible(False)
        colours = looks([point.model.mixer for point in points])
        ends = []
        for label in dict.fromkeys(point.label for point in points):
            line = sorted((point for point in points if point.label == label), key=lambda point: point.task.stored)
            look, stored = colours[line[0].model.mixer], [point.task.stored for point in line]
            low, high = [point.accuracy.low for point in line], [point.accuracy.high for point in line]
            axes.fill_between(stored, low, high, color=look.colour, alpha=0.2, linewidth=0)
            axes.plot(stored, [point.accuracy.median for point in line], "-" + look.marker, color=look.colour, linewidth=0.8)
            ends.append((line[-1].accuracy.median, stored[-1], label, look.colour))
            predicted = [(point.task.stored, point.predicted[0]) for point in line if point.predicted]
            if predicted:
                axes.plot(*zip(*predicted, strict=True), **THEORY)
                name = LAW_NAMES[line[0].model.mixer]
                axes.annotate(name, predicted[0], xytext=(2, -6), textcoords="offset points", fontsize=4, color="0.35")
        ends.sort(key=lambda end: end[0])
        for height, (_, x, label, colour) in zip(apart([end[0] for end in ends], 0.035), ends, strict=True):
            axes.annotate(label, (x, height), xytext=(5, 0), textcoords="offset points", fontsize=5, color=colour, va="center")
        _guesses(axes, points)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({point.task.stored for point in points}))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.set_ylim(0, 1.03)
        figure.supxlabel(f"answers to be held\n{note}", fontsize=6)
        axes.set_ylabel("accuracy")
        axes.set_title(_says(points), loc="left")
    return figure


def _says(points: Sequence[Point]) -> str:
    """The figure in a sentence: how many models answer the largest problem."""
    most = max(point.task.stored for point in points)
    largest = [point for point in points if point.task.stored == most]
    solved = sum(point.accuracy.median >= SATURATED for point in largest)
    return f"{solved} of {len(largest)} models answer {most:g} questions with accuracy {SATURATED:g} or more"


def _guesses(axes: Axes, points: Sequence[Point]) -> None:
    """Chance, and the best of the controls, dotted."""
    controls = [(point.task.stored, point.task.controls()) for point in sorted(points, key=lambda point: point.task.stored)]
    x, first = controls[0]
    for name in ("chance", max(first, key=lambda name: first[name])):
        axes.plot([stored for stored, _ in controls], [each[name] for _, each in controls], **CONTROL)
        shown = name.replace("_", " ")
        axes.annotate(shown, (x, first[name]), xytext=(1, 2), textcoords="offset points", fontsize=5, color="0.45")


def apart(heights: Sequence[float], gap: float, top: float = 1.0) -> list[float]:
    """Heights, given in rising order, moved up until neighbours are `gap` apart, then down until the last is at most `top`."""
    up: list[float] = []
    for height in heights:
        up.append(max(height, up[-1] + gap) if up else height)
    down: list[float] = []
    for height in reversed(up):
        down.append(min(height, down[-1] - gap if down else top))
    return down[::-1]
