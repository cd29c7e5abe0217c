"""Sliding windows against their law: how much a window recalls over its width, and that it is distance which decides."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ..capacity import Point
from ..theory import predicted_accuracy
from .style import COLUMN, CONTROL, LOOKS, style


def window_figure(points: Sequence[Point], *, title: str) -> Figure:
    """Accuracy over the window: a marker a seed for what was trained, and as a band what the law of distances predicts.

    At its lower edge nothing out of reach is guessed, at its upper edge all of it, as well as one can without the key. `points` are sliding
    windows on one task. Raises ValueError where that task has no such law.
    """
    first = points[0]
    windows = np.arange(1, first.task.length + 1)
    laws = [predicted_accuracy(first.task, replace(first.model, fields={**first.model.fields, "window": int(w)})) for w in windows]
    known = [law for law in laws if law is not None]
    if len(known) < len(laws):
        raise ValueError(f"task and model must have a law of distances, got {first.task} and {first.model}")
    low, high = np.array(known).T
    look = LOOKS["sliding_window"]
    with style():
        figure, axes = plt.subplots(figsize=(COLUMN, COLUMN * 0.8))
        axes.fill_between(windows, low, high, color="0.88", linewidth=0)
        axes.plot(windows, high, color="0.45", linewidth=0.8, linestyle=(0, (3, 2)), label="and the rest guessed without the key")
        axes.plot(windows, low, color="0.45", linewidth=0.8, label="what is within reach")
        for point in points:
            axes.plot(
                [point.model.fields["window"]] * len(point.seeds), point.accuracy.each, look.marker, color=look.colour, label="trained"
            )
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        axes.legend(handles.values(), handles.keys(), loc="lower right", frameon=False)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("window [positions]")
        axes.set_ylabel("accuracy")
        axes.set_title(title, loc="left", wrap=True)
    return figure


def distance_figure(results: Mapping[str, tuple[Mapping[str, Any], int]], *, title: str) -> Figure:
    """Accuracy over the distance from a question back to its answer, a line a result; dotted: its reach, beyond which the law sees nothing.

    `results` maps a label to what training returned and the reach in positions; a dot stands at the nearest distance of its bin.
    """
    with style():
        figure, axes = plt.subplots(figsize=(COLUMN, COLUMN * 0.7))
        for number, (label, (result, reach)) in enumerate(results.items()):
            nearest, _, asked, right = np.array(result["by_stratum"]).T
            colour = str(0.55 * number / max(1, len(results) - 1))
            axes.plot(nearest, right / asked, ".-", color=colour, linewidth=0.8, markersize=3)
            axes.axvline(reach, **{**CONTROL, "color": colour})
            axes.annotate(
                label, (reach, 0.5), (-1, 0), textcoords="offset points", fontsize=5, color=colour, rotation=90, ha="right", va="center"
            )
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("distance from the question back to its answer [tokens]")
        axes.set_ylabel("accuracy")
        axes.set_title(title, loc="left", wrap=True)
    return figure
