"""The figure the lab is for: certified bits against bits of state, between the laws of theory and the wall."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..capacity import SATURATED, Point
from ..models import mixer_class, state_size
from ..tasks import certified_bits
from ..theory import LAW_NAMES, predicted_accuracy
from .style import COLUMN, THEORY, looks, style

PANELS = 4
"""difficulties drawn at most, the ones with the most bits"""

KNOBS = tuple(sorted({round(2 ** (step / 4)) for step in range(0, 33)}))
"""settings of a mixer's state at which a law is drawn"""


class Curve(NamedTuple):
    """What a law says of one mixer on one task, over the size of its state."""

    name: str
    state_bits: np.ndarray
    certified_bits: np.ndarray


def capacity_table(points: Sequence[Point]) -> pd.DataFrame:
    """One row a seed: what the figure draws."""
    return pd.DataFrame(
        [
            {
                "mixer": point.model.mixer,
                "label": point.label,
                "difficulty": point.difficulty,
                "answer_bits": point.task.answer_bits,
                "state_bits": point.state_bits,
                "seed": seed,
                "certified_bits": bits,
                "accuracy": accuracy,
                "saturated": point.accuracy.median >= SATURATED,
            }
            for point in points
            for seed, bits, accuracy in zip(point.seeds, point.certified.each, point.accuracy.each, strict=True)
        ]
    )


def capacity_figure(points: Sequence[Point], *, title: str, note: str) -> Figure:
    """A panel for each difficulty: every seed a faint dot, their range a bar, their median the marker; above the diagonal is the wall."""
    hardest = sorted({point.difficulty: point.task.answer_bits for point in points}.items(), key=lambda entry: entry[1])[-PANELS:]
    with style():
        figure, axes = plt.subplots(
            1, len(hardest), figsize=(COLUMN * max(1.15, len(hardest)), COLUMN * 1.05), sharex=True, sharey=True, squeeze=False
        )
        for panel, (difficulty, bits) in zip(axes[0], hardest, strict=True):
            _panel(panel, [point for point in points if point.difficulty == difficulty], points)
            panel.set_title(f"{difficulty}: {bits:.1f} bits are asked for", loc="left")
        axes[0, 0].set_ylabel("certified bits")
        figure.supxlabel(f"state [bits]\n{note}", fontsize=6)
        figure.suptitle("\n".join(textwrap.wrap(title, 66 * max(1, len(hardest)))), fontsize=7, x=0.01, ha="left")
    return figure


def _panel(axes: Axes, points: Sequence[Point], every: Sequence[Point]) -> None:
    answer_bits = points[0].task.answer_bits
    left = 0.6 * min(point.state_bits for point in every)
    right = 2.2 * max(point.state_bits for point in every)
    top = 4 * left
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1, linscale=0.5)
    axes.set_xlim(left, right)
    axes.set_ylim(-0.15, top)
    wall = np.array([left, min(right, top)])
    axes.fill_between(wall, wall, top, facecolor="none", edgecolor="0.75", hatch="////", linewidth=0)
    axes.plot(wall, wall, color="0.2", linewidth=1)
    axes.annotate("no memory can be here", (left * 1.15, top * 0.72), fontsize=6, color="0.2", va="top", backgroundcolor="white")
    axes.axhline(answer_bits, color="0.2", linewidth=0.6, linestyle=(0, (4, 3)))
    axes.annotate("all that is asked", (left * 1.08, answer_bits * 1.1), fontsize=6, color="0.2", va="bottom", ha="left")
    for curve in law_curves(points):
        axes.plot(curve.state_bits, curve.certified_bits, **THEORY)
        within = np.flatnonzero((curve.state_bits < right) & (curve.state_bits > left))
        if within.size:
            at = within[np.argmin(np.abs(curve.certified_bits[within] - 0.35 * answer_bits))]
            axes.annotate(
                curve.name,
                (curve.state_bits[at], curve.certified_bits[at]),
                xytext=(3, -6),
                textcoords="offset points",
                fontsize=5,
                color="0.35",
            )
    for mixer, look in looks([point.model.mixer for point in every]).items():
        for point in (point for point in points if point.model.mixer == mixer):
            axes.plot(
                [point.state_bits] * len(point.seeds), point.certified.each, look.marker, color=look.colour, alpha=0.3, markersize=2.5
            )
            axes.plot([point.state_bits] * 2, [point.certified.low, point.certified.high], color=look.colour, linewidth=0.8)
            hollow: dict[str, Any] = {"markerfacecolor": "white"} if point.edge else {}
            axes.plot(point.state_bits, point.certified.median, look.marker, color=look.colour, label=mixer.rpartition(":")[2], **hollow)
            if point.accuracy.median >= SATURATED:
                axes.annotate(
                    "",
                    (point.state_bits, 2.4 * point.certified.median),
                    (point.state_bits, 1.15 * point.certified.median),
                    arrowprops={"arrowstyle": "->", "color": look.colour, "linewidth": 0.7},
                )
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), loc="upper right", frameon=True, framealpha=1, edgecolor="none", handletextpad=0.2)


def law_curves(points: Sequence[Point]) -> Iterator[Curve]:
    """The law of each mixer that has one, over all settings of the field that sets its state, other fields as in the sweep."""
    by_mixer = {point.model.mixer: point for point in points if point.predicted is not None}
    for mixer, point in by_mixer.items():
        knob = mixer_class(mixer).state_knob
        drawn = []
        for setting in KNOBS:
            model = replace(point.model, fields={**point.model.fields, knob: setting})
            predicted = predicted_accuracy(point.task, model)
            if predicted is None or not math.isfinite(predicted[0]):
                continue
            bits = certified_bits(
                min(1.0, predicted[0]), stored=point.task.stored, values=point.task.values, entropy=point.task.answer_bits
            )
            drawn.append((32 * state_size(model, point.task.cut), bits))
        yield Curve(LAW_NAMES[mixer], *np.array(sorted(set(drawn)), dtype=float).T)
