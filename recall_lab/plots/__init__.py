"""Figures: each a function from a table of results to a Figure; `draw_all` saves those of a sweep."""

from pathlib import Path
from typing import TYPE_CHECKING

from .accuracy import accuracy_figure, accuracy_table
from .capacity import capacity_figure, capacity_table
from .selectivity import selectivity_figures
from .slots import slot_figure, slot_table, slot_title
from .style import save, style

if TYPE_CHECKING:
    from ..report import Report

__all__ = ["FIGURE", "accuracy_figure", "capacity_figure", "draw_all", "save", "slot_figure", "style"]

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
    if found.context_use:
        slots = slot_figure(
            found.context_use, title=slot_title(found.context_use), note=f"{command} · joint_recall · {seeds} seeds: lines, median"
        )
        paths += save(slots, slot_table(found.context_use), folder / "slots.png")
        plt.close(slots)
    for name, (figure, rows) in selectivity_figures(found, command).items():
        paths += save(figure, rows, folder / f"{name}.png")
        plt.close(figure)
    return paths
