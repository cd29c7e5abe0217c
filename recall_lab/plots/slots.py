"""Accuracy on joint recall by the slot of a question in its block: who reads contexts is flat, who matches revealed answers climbs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..context_use import ContextUse
from .accuracy import apart
from .style import COLUMN, CONTROL, THEORY, looks, style

MATCHER, KEYS_ONLY, CHANCE = "context tokens unread", "keys only", "chance"

DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (6, 2)), (0, (4, 1, 1, 1, 1, 1)))
"""for the models of one mixer, which have its colour and its marker"""

BEHIND_A_NAME: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}


def slot_table(rows: Sequence[ContextUse]) -> pd.DataFrame:
    """One row a slot of every seed and of every control, whose seed is empty. Columns: task, label, seed, slot (from 1), accuracy."""
    curves: list[tuple[str, str, int | None, Sequence[float]]] = [
        (row.task, row.label, seed, slots) for row in rows for seed, slots in zip(row.seeds, row.by_slot, strict=True)
    ]
    curves += [(here[0].task, name, None, slots) for here in _panels(rows) for name, slots in controls_by_slot(here[0]).items()]
    found = [
        {"task": task, "label": label, "seed": seed, "slot": slot, "accuracy": accuracy}
        for task, label, seed, slots in curves
        for slot, accuracy in enumerate(slots, start=1)
    ]
    return pd.DataFrame(found).astype({"seed": "Int64"})


def controls_by_slot(row: ContextUse) -> Mapping[str, tuple[float, ...]]:
    """What can be had at each slot without context tokens, from keys alone, and by guessing; over all questions of a slot, as seeds are.

    From keys alone a slot is as good as any other, and the first is where the reader without context tokens has nothing else. It is the control
    "context_blind" over all questions, where `ContextUse.controls` has the mean over samples.
    """
    slots = len(row.matcher_by_slot)
    return {MATCHER: row.matcher_by_slot, KEYS_ONLY: row.matcher_by_slot[:1] * slots, CHANCE: (row.controls["chance"],) * slots}


def slot_title(rows: Sequence[ContextUse]) -> str:
    """The figure in a sentence."""
    seeds, shown = sum(len(row.seeds) for row in rows), sum(sum(row.answers) for row in rows)
    return f"{shown or 'None'} of {seeds} trained models {'answers' if shown < 2 else 'answer'} by contexts"


def slot_figure(rows: Sequence[ContextUse], *, title: str, note: str) -> Figure:
    """A panel a task: every seed a faint line over the slots, the median of a model's seeds with markers; grey: what needs no context token.

    Colour and marker are the mixer's, dashes tell its models apart. Where keys alone give all that can be had without context tokens, one line
    stands for both.
    """
    panels, look_of = _panels(rows), looks([_mixer(row.label) for row in rows])
    dashes = _dashes([row.label for row in rows])
    with style():
        figure, axes = plt.subplots(
            len(panels), 1, figsize=(COLUMN * 1.15, COLUMN * (0.2 + 0.65 * len(panels))), sharex=True, sharey=True, squeeze=False
        )
        for panel, here in zip(axes[:, 0], panels, strict=True):
            panel.spines[["top", "right"]].set_visible(False)
            _controls(panel, controls_by_slot(here[0]))
            ends = []
            for row in here:
                look, slots = look_of[_mixer(row.label)], range(1, len(row.by_slot[0]) + 1)
                for each in row.by_slot:
                    panel.plot(slots, each, ".", color=look.colour, linestyle=dashes[row.label], alpha=0.3, linewidth=0.6, markersize=2)
                middle = [median(of_slot) for of_slot in zip(*row.by_slot, strict=True)]
                panel.plot(slots, middle, look.marker, color=look.colour, linestyle=dashes[row.label], linewidth=0.9, markersize=3)
                ends.append((middle[-1], slots[-1], row.label, look.colour))
            _labels(panel, ends)
            panel.set_ylim(0, 1.03)
            panel.set_ylabel("accuracy")
            panel.set_title(here[0].task, loc="left")
        axes[0, 0].set_xlim(0.5, max(len(row.matcher_by_slot) for row in rows) + 0.5)
        axes[0, 0].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        figure.supxlabel(f"slot of the question in its block\n{note}", fontsize=6)
        figure.suptitle(title, fontsize=7, x=0.01, ha="left")
    return figure


def _panels(rows: Sequence[ContextUse]) -> list[list[ContextUse]]:
    """The rows of each task; tables of other sizes have other controls."""
    by_task: dict[tuple[str, tuple[float, ...]], list[ContextUse]] = defaultdict(list)
    for row in rows:
        by_task[row.task, row.matcher_by_slot].append(row)
    return list(by_task.values())


def _mixer(label: str) -> str:
    return label.partition(" ")[0]


def _dashes(labels: Sequence[str]) -> dict[str, Any]:
    """A line style for each label, the first for the first of every mixer."""
    by_mixer: dict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys(labels):
        by_mixer[_mixer(label)].append(label)
    return {label: dash for same in by_mixer.values() for label, dash in zip(same, cycle(DASHES), strict=False)}


def _controls(axes: Axes, controls: Mapping[str, Sequence[float]]) -> None:
    """Thin grey lines with their names on them, across all slots where they are level; what is equal to one that is drawn is left out."""
    drawn: list[Sequence[float]] = []
    for name, by_slot in controls.items():
        if any(np.allclose(by_slot, other) for other in drawn):
            continue
        drawn.append(by_slot)
        line = CONTROL if name == CHANCE else THEORY
        if np.allclose(by_slot, by_slot[0]):
            axes.axhline(by_slot[0], **line)
            at, offset, side = (len(by_slot) - 0.2, by_slot[0]), (0, 2), "right"
        else:
            axes.plot(range(1, len(by_slot) + 1), by_slot, **line)
            at, offset, side = (2, by_slot[1]), (5, -7), "left"
        axes.annotate(name, at, offset, textcoords="offset points", fontsize=5, ha=side, color="0.35", bbox=BEHIND_A_NAME, zorder=4)


def _labels(axes: Axes, ends: Sequence[tuple[float, int, str, Any]]) -> None:
    """The name of each model where its line ends, moved apart."""
    ordered = sorted(ends, key=lambda end: end[0])
    for height, (_, x, label, colour) in zip(apart([end[0] for end in ordered], 0.045), ordered, strict=True):
        axes.annotate(label, (x, height), (5, 0), textcoords="offset points", fontsize=5, color=colour, va="center")
