"""Accuracy against the size of the problem, with the controls that need no memory and the laws of theory beside it."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..capacity import Point
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


def accuracy_figure(points: Sequence[Point], *, title: str, note: str) -> Figure:
    """A line a model over the stored answers, its seeds as a band; dotted grey: guessing; thin grey: what theory predicts."""
    with style():
        figure, axes = plt.subplots(figsize=(COLUMN * 1.15, COLUMN * 0.95))
        colours = looks([point.model.mixer for point in points])
        for label in dict.fromkeys(point.label for point in points):
            line = sorted((point for point in points if point.label == label), key=lambda point: point.task.stored)
            look, stored = colours[line[0].model.mixer], [point.task.stored for point in line]
            axes.fill_between(
                stored,
                [point.accuracy.low for point in line],
                [point.accuracy.high for point in line],
                color=look.colour,
                alpha=0.2,
                linewidth=0,
            )
            axes.plot(stored, [point.accuracy.median for point in line], "-" + look.marker, color=look.colour, linewidth=0.8)
            axes.annotate(
                label, (stored[-1], line[-1].accuracy.median), xytext=(4, -1), textcoords="offset points", fontsize=5, color=look.colour
            )
            predicted = [(point.task.stored, point.predicted[0]) for point in line if point.predicted]
            if predicted:
                axes.plot(*zip(*predicted, strict=True), **THEORY)
        controls = [(point.task.stored, point.task.controls()) for point in sorted(points, key=lambda point: point.task.stored)]
        for name in ("chance", max(controls[0][1], key=lambda name: controls[0][1][name])):
            axes.plot([stored for stored, _ in controls], [each[name] for _, each in controls], **CONTROL)
            axes.annotate(
                name.replace("_", " "),
                (controls[0][0], controls[0][1][name]),
                xytext=(1, 2),
                textcoords="offset points",
                fontsize=5,
                color="0.45",
            )
        axes.set_xscale("log", base=2)
        axes.set_ylim(0, 1.03)
        axes.margins(x=0.35)
        axes.set_xlabel(f"answers to be held\n{note}")
        axes.set_ylabel("accuracy")
        axes.set_title(title, loc="left")
    return figure
