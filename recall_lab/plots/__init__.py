"""Figures: each a function from a table of results to a Figure; `draw_all` saves those of a sweep."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..capacity import SATURATED
from .accuracy import accuracy_figure, accuracy_table
from .capacity import capacity_figure, capacity_table
from .style import save, style

if TYPE_CHECKING:
    import pandas as pd

    from ..report import Report

__all__ = ["FIGURE", "accuracy_figure", "capacity_figure", "draw_all", "save", "style"]

FIGURE = "capacity.png"
"""the file to look at first"""


def draw_all(found: "Report", folder: Path, command: str) -> list[Path]:
    """Draws and saves the figures of a sweep; `command` is what draws them again. Returns the files."""
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    seeds = max(len(point.seeds) for point in found.points)
    names = sorted({point.task.name for point in found.points})
    note = f"{command} · {', '.join(names)} · {seeds} seeds"
    capacity = capacity_figure(found.points, title=found.says, note=f"{note}: dots, range, median")
    paths = save(capacity, capacity_table(found.points), folder / FIGURE)
    plt.close(capacity)
    for name in names:
        points = [point for point in found.points if point.task.name == name]
        accuracy = accuracy_figure(points, note=f"{command} · {name} · {seeds} seeds: range as a band, median")
        file = "accuracy.png" if len(names) == 1 else f"accuracy_{name}.png"
        paths += save(accuracy, accuracy_table(points), folder / file)
        plt.close(accuracy)
    return paths + _draw_selectivity(found, folder, command)


def _draw_selectivity(found: "Report", folder: Path, command: str) -> list[Path]:
    """What selection buys on each task, and on longer sequences, where one mixer was trained at one rate with several choices of it."""
    import matplotlib.pyplot as plt

    from .selectivity import REPORTED, length_figure, selectivity_figure, selectivity_table

    table = selectivity_table(found)
    rates = {point.learning_rate for point in found.points}
    if table.empty or table.selective.nunique() < 2 or table.mixer.nunique() > 1 or len(rates) > 1:
        return []
    paths = []
    for name, rows in table.groupby("task"):
        task = next(point.task for point in found.points if point.task.name == name)
        controls, note = task.controls(), f"{command} · {name} · {rows.seed.nunique()} seeds: dots, range, median"
        best = max(controls, key=lambda control: controls[control])
        kept = {control: controls[control] for control in ("chance", best)}
        solved = f"{name}: every seed answers with {_solved(rows)}"
        reported = REPORTED if name == "selective_copy" else None
        drawn = {f"selectivity_{name}.png": selectivity_figure(rows, kept, title=solved, note=note, reported=reported)}
        if rows.length.nunique() > 1:
            longer = f"{name}, trained at length {task.length}"
            drawn[f"lengths_{name}.png"] = length_figure(rows, controls["chance"], title=longer, note=note)
        for file, figure in drawn.items():
            paths += save(figure, rows, folder / file)
            plt.close(figure)
    return paths


def _solved(rows: "pd.DataFrame") -> str:
    """The choices of what is selective with which every seed reaches SATURATED at the trained length, as words."""
    worst = rows[rows.length == rows.trained_at].groupby("selective", sort=False).accuracy.min()
    return ", ".join(worst[worst >= SATURATED].index) or "none of them"
