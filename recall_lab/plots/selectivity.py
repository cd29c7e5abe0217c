"""What selection buys: accuracy by the signals of a state-space model that depend on the token, and how it lasts on longer sequences."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..capacity import SATURATED
from ..report import Report
from .style import COLUMN, CONTROL, LOOKS, style

REPORTED = {"none": 0.564, "dt+B+C": 0.998}
"""Selective copying in the Mamba architecture with S4 (no signal depends on the token) and with S6 (all do), as Gu & Dao 2023 report it
(arXiv:2312.00752, table 1): length 4,096, 16 content tokens, vocabulary 16, two layers, 400,000 steps."""


def selectivity_table(found: Report) -> pd.DataFrame:
    """One row a finished run of a selective mixer and length on which it was judged.

    Columns: task, mixer, selective (signals joined by +), seed, length, trained_at (the task's own length), accuracy.
    """
    rows = []
    for run in found.runs:
        if run.hash not in found.done or "selective" not in run.model.fields:
            continue
        result, trained_at = found.done[run.hash], run.task.length
        judged = {trained_at: result["accuracy"], **dict(result["by_length"])}
        about = {
            "task": run.task.name,
            "mixer": run.model.mixer,
            "selective": "+".join(run.model.fields["selective"]) or "none",
            "seed": run.seed,
        }
        rows += [{**about, "length": length, "trained_at": trained_at, "accuracy": judged[length]} for length in sorted(judged)]
    return pd.DataFrame(rows)


def selectivity_figures(found: Report, command: str) -> dict[str, tuple[Figure, pd.DataFrame]]:
    """By file name, the two figures of this module and their data for every task of a sweep; `command` draws them again.

    None where there is nothing to compare: that takes one mixer, trained at one rate, with several choices of what is selective.
    """
    table, rates = selectivity_table(found), {point.learning_rate for point in found.points}
    if table.empty or table.selective.nunique() < 2 or table.mixer.nunique() > 1 or len(rates) > 1:
        return {}
    tasks = {point.task.name: point.task for point in found.points}
    figures = {}
    for name, task in tasks.items():
        rows = table[table.task == name]
        controls, note = task.controls(), f"{command} · {name} · {rows.seed.nunique()} seeds: dots, range, median"
        best = max(controls, key=lambda control: controls[control])
        title = f"{name}: every seed answers with {_solved(rows)}"
        reported = REPORTED if name == "selective_copy" else None
        kept = {control: controls[control] for control in ("chance", best)}
        figures[f"selectivity_{name}"] = selectivity_figure(rows, kept, title=title, note=note, reported=reported), rows
        if rows.length.nunique() > 1:
            title = f"{name}, trained at length {task.length}"
            figures[f"lengths_{name}"] = length_figure(rows, controls["chance"], title=title, note=note), rows
    return figures


def _solved(rows: pd.DataFrame) -> str:
    """The choices of what is selective with which every seed reaches SATURATED at the trained length, as words."""
    worst = rows[rows.length == rows.trained_at].groupby("selective", sort=False).accuracy.min()
    return ", ".join(worst[worst >= SATURATED].index) or "none of them"


def selectivity_figure(
    table: pd.DataFrame, controls: Mapping[str, float], *, title: str, note: str, reported: Mapping[str, float] | None = None
) -> Figure:
    """Accuracy at the trained length by what is selective: a faint dot a seed, a bar for their range, the median as a marker.

    `table` is `selectivity_table` of one task and mixer at one learning rate; dotted: its controls; open: what was reported elsewhere, at other sizes.
    """
    own, look = table[table.length == table.trained_at], LOOKS[table.mixer.iloc[0]]
    names = list(dict.fromkeys(own.selective))
    with style():
        figure, axes = plt.subplots(figsize=(COLUMN, COLUMN * 0.8))
        axes.spines[["top", "right"]].set_visible(False)
        for place, name in enumerate(names):
            seeds = own[own.selective == name].accuracy
            axes.plot([place] * len(seeds), seeds, ".", color=look.colour, alpha=0.35, markersize=3)
            axes.plot([place, place], [seeds.min(), seeds.max()], color=look.colour, linewidth=1)
            axes.plot(place, seeds.median(), look.marker, color=look.colour, markersize=4)
            if reported and name in reported:
                axes.plot(place + 0.22, reported[name], look.marker, color="0.3", markerfacecolor="white", markersize=4)
                axes.annotate(
                    "reported", (place + 0.22, reported[name]), (0, -8), textcoords="offset points", fontsize=5, ha="center", color="0.3"
                )
        for name, accuracy in controls.items():
            axes.axhline(accuracy, **CONTROL)
            axes.annotate(
                name.replace("_", " "),
                (len(names) - 0.5, accuracy),
                (0, 2),
                textcoords="offset points",
                fontsize=5,
                ha="right",
                color="0.45",
            )
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(0, 1.03)
        axes.set_ylabel("accuracy")
        figure.supxlabel(f"signals that depend on the token\n{note}", fontsize=6)
        axes.set_title(title, loc="left", wrap=True)
    return figure


def length_figure(table: pd.DataFrame, chance: float, *, title: str, note: str) -> Figure:
    """Accuracy over the length of the sequence, a line for what is selective, its seeds as a band; dotted: chance and the trained length."""
    with style():
        figure, axes = plt.subplots(figsize=(COLUMN, COLUMN * 0.7))
        axes.spines[["top", "right"]].set_visible(False)
        markers = zip(dict.fromkeys(table.selective), "os^vDPX<", strict=False)  # there are eight choices of three signals
        for number, (name, marker) in enumerate(markers):
            by_length = table[table.selective == name].groupby("length").accuracy
            median, low, high = by_length.median(), by_length.min(), by_length.max()
            axes.fill_between(median.index, low, high, color=f"C{number}", alpha=0.15, linewidth=0)
            axes.plot(median.index, median, "-" + marker, color=f"C{number}", linewidth=0.8, markersize=3, label=name)
        axes.axhline(chance, **CONTROL)
        axes.axvline(float(table.trained_at.iloc[0]), **CONTROL)
        axes.annotate("trained", (float(table.trained_at.iloc[0]), 0.02), (2, 0), textcoords="offset points", fontsize=5, color="0.45")
        axes.set_xscale("log", base=2)
        axes.set_ylim(0, 1.03)
        axes.set_ylabel("accuracy")
        axes.legend(frameon=False, title="depends on\nthe token", title_fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.supxlabel(f"length of the sequence [tokens]\n{note}", fontsize=6)
        axes.set_title(title, loc="left", wrap=True)
    return figure
