"""The figure the lab is for: certified bits against bits of state, between the laws of theory and the wall."""

import itertools
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from ..capacity import SATURATED, Point
from ..models import LanguageModel, mixer_class, state_size
from ..score import certified_at, wall_bits
from ..tasks import MQAR, JointRecall, Stream, Task
from ..theory import (
    LAW_NAMES,
    joint_recall_construction,
    joint_recall_lsh_construction,
    key_value_construction,
    mqar_construction,
    predicted_accuracy,
)
from ..theory.constructions.mqar import answered
from .style import COLUMN, THEORY, Look, looks, style

PANELS = 4
"""difficulties drawn at most, the ones with the most bits"""

KNOBS = tuple(sorted({round(2 ** (step / 4)) for step in range(0, 33)}))
"""settings of a mixer's state at which a law is drawn"""


CONSTRUCTIONS: Mapping[tuple[type[Task], str], Callable[[Any], LanguageModel]] = {
    (MQAR, "attention"): mqar_construction,
    (MQAR, "linear_attention"): lambda task: mqar_construction(task, "linear_attention", feature_width=task.keys),
    (MQAR, "mamba"): lambda task: key_value_construction(task, "sharing"),
    (MQAR, "mamba2"): lambda task: key_value_construction(task, "replacing_heads"),
    (JointRecall, "mamba2"): joint_recall_construction,
    (JointRecall, "hax"): lambda task: joint_recall_lsh_construction(task, hash_bits=24, budget=4),
}
"""by task and mixer, weights set by hand (claims recall.mqar_construction, mamba.key_value, hax.ssm_suffices and hax.solves)"""

WIDEST = 2048
"""channels of a construction that is drawn: a head for every key, as Mamba-2's has, would fill the memory with its projections"""

LARGEST_TABLE = 16
"""contexts, keys and values that constructions for joint_recall have room for"""

BUILT_SAMPLES = 64

BY_HAND = "weights set by hand"


class Curve(NamedTuple):
    """What a law says of one mixer on one task, over the size of its state."""

    name: str
    state_bits: np.ndarray
    certified_bits: np.ndarray


class Built(NamedTuple):
    """Weights set by hand that solve a task."""

    mixer: str
    difficulty: str
    state_bits: int
    certified_bits: float
    """of what they answer of BUILT_SAMPLES test samples"""


def capacity_table(points: Sequence[Point]) -> pd.DataFrame:
    """One row a seed and one a construction, its seed empty: what the figure draws, laws apart."""
    trained = pd.DataFrame(
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
    by_hand = pd.DataFrame([{**each._asdict(), "label": f"{each.mixer}, {BY_HAND}"} for each in built(points)])
    return pd.concat([trained.astype({"seed": "Int64"}), by_hand], ignore_index=True)


def capacity_figure(points: Sequence[Point], *, title: str, note: str) -> Figure:
    """A panel for each difficulty: every seed a faint dot, their range a bar, their median the marker; above the diagonal is the wall.

    A model without any state has no place on the logarithmic axis and is left to the table.
    """
    points = [point for point in points if point.state_bits > 0]
    hardest = sorted({point.difficulty: point.task.answer_bits for point in points}.items(), key=lambda entry: entry[1])[-PANELS:]
    constructions = built(points)
    states = [point.state_bits for point in points] + [each.state_bits for each in constructions]
    left, right = 0.6 * min(states, default=32), 2.2 * max(states, default=3200)
    with style():
        figure, axes = plt.subplots(
            1, max(1, len(hardest)), figsize=(COLUMN * max(1.15, len(hardest)), COLUMN * 1.1), sharex=True, sharey=True, squeeze=False
        )
        for panel, (difficulty, bits) in zip(axes[0], hardest, strict=False):
            _frame(panel, left, right, bits)
            here = [point for point in points if point.difficulty == difficulty]
            _laws(panel, here, left, right)
            for mixer, look in looks([point.model.mixer for point in points]).items():
                for point in (point for point in here if point.model.mixer == mixer):
                    _draw(panel, point, look)
                for each in constructions:
                    if (each.mixer, each.difficulty) == (mixer, difficulty):
                        panel.plot(each.state_bits, each.certified_bits, "*", color=look.colour, markersize=7, markeredgewidth=0.3)
            if constructions:
                panel.plot([], [], "*", color="0.4", markersize=6, label=BY_HAND)
            panel.set_title(f"{difficulty}: {bits:.1f} bits are asked for", loc="left")
        axes[0, 0].set_ylabel("certified bits")
        named = {label: handle for panel in axes[0] for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
        axes[0, 0].legend(named.values(), named.keys(), loc="center left", bbox_to_anchor=(0, 0.6), frameon=False, handletextpad=0.1)
        figure.supxlabel(f"state [bits]\n{note}", fontsize=6)
        figure.suptitle("\n".join(textwrap.wrap(title, 66 * max(1, len(hardest)))), fontsize=7, x=0.01, ha="left")
    return figure


def _frame(axes: Axes, left: float, right: float, answer_bits: float) -> None:
    """Axes from nothing to the wall at the right edge, what lies beyond the wall hatched, and what the task asks for."""
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1, linscale=0.5)
    axes.set_xlim(left, right)
    axes.set_ylim(-0.15, right)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(EngFormatter(sep=""))
    axes.fill_between([left, right], [left, right], right, facecolor="none", edgecolor="0.8", hatch="////", linewidth=0)
    axes.plot([left, right], [left, right], color="0.2", linewidth=1)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.annotate("no memory can be here", (0.03, 0.97), xycoords="axes fraction", fontsize=6, color="0.2", va="top", bbox=box)
    axes.axhline(answer_bits, color="0.2", linewidth=0.6, linestyle=(0, (4, 3)))
    axes.annotate("all that is asked", (right / 1.05, answer_bits / 1.15), fontsize=6, color="0.2", va="top", ha="right")


def _laws(axes: Axes, points: Sequence[Point], left: float, right: float) -> None:
    """Thin grey curves with their names written below them, where they are about a third of the way up."""
    for curve in law_curves(points):
        axes.plot(curve.state_bits, curve.certified_bits, **THEORY)
        within = np.flatnonzero((curve.state_bits < right) & (curve.state_bits > left))
        if within.size:
            at = within[np.argmin(np.abs(curve.certified_bits[within] - 0.35 * points[0].task.answer_bits))]
            axes.annotate(
                curve.name,
                (curve.state_bits[at], curve.certified_bits[at]),
                xytext=(4, -7),
                textcoords="offset points",
                fontsize=5,
                color="0.35",
            )


def _draw(axes: Axes, point: Point, look: Look) -> None:
    """One point: its seeds, their range, their median; hollow if its learning rate lies at an end of the grid, an arrow if it is a lower bound."""
    x, middle = point.state_bits, point.certified.median
    axes.plot([x] * len(point.seeds), point.certified.each, look.marker, color=look.colour, alpha=0.3, markersize=2.5)
    axes.plot([x] * 2, [point.certified.low, point.certified.high], color=look.colour, linewidth=0.8)
    hollow: dict[str, Any] = {"markerfacecolor": "white"} if point.edge else {}
    axes.plot(x, middle, look.marker, color=look.colour, label=point.model.mixer.rpartition(":")[2], **hollow)
    if point.accuracy.median >= SATURATED:
        arrow = {"arrowstyle": "->", "color": look.colour, "linewidth": 0.7}
        axes.annotate("", (x, 2.4 * middle), (x, 1.15 * middle), arrowprops=arrow)


def built(points: Sequence[Point]) -> list[Built]:
    """For every task drawn and each mixer of the sweep with a construction for it: its state and what it answers."""
    tasks = {point.difficulty: point.task for point in points}
    mixers = dict.fromkeys(point.model.mixer for point in points)
    return [
        Built(mixer, difficulty, *_by_hand(mixer, task))
        for mixer, (difficulty, task) in itertools.product(mixers, tasks.items())
        if _can_be_built(mixer, task)
    ]


def _can_be_built(mixer: str, task: Task) -> bool:
    """Whether there is a construction, and it serves this task at a size that can be drawn."""
    if isinstance(task, MQAR) and (task.filler != "own" or (mixer == "mamba2" and task.keys * task.values > WIDEST)):
        return False
    if isinstance(task, JointRecall) and max(task.most_contexts, task.most_keys, task.values) > LARGEST_TABLE:
        return False
    return (type(task), mixer) in CONSTRUCTIONS


@cache  # for the figure and for its table
def _by_hand(mixer: str, task: Task) -> tuple[int, float]:
    """Bits of state of a construction, and those that it certifies."""
    model = CONSTRUCTIONS[type(task), mixer](task)
    accuracy = float(answered(model, task.sample(Stream(0, "test"), 0, BUILT_SAMPLES)).mean())
    state_bits, certified_bits = wall_bits(model.state_size(task.cut)), certified_at(task, accuracy)
    assert certified_bits <= state_bits, (
        f"{mixer}: {certified_bits:.1f} bits certified by a state of {state_bits}, so its state is counted too small"
    )
    return state_bits, certified_bits


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
            drawn.append((wall_bits(state_size(model, point.task.cut)), certified_at(point.task, min(1.0, predicted[0]))))
        yield Curve(LAW_NAMES[mixer], *np.array(sorted(set(drawn)), dtype=float).T)
