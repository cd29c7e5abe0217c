"""What is said of a sweep: its table, and one sentence."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from . import context_use
from .capacity import SATURATED, Capacity, Point, capacities, capacity_row, point_row, points
from .run import Run
from .store import Store
from .sweep import held


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a results folder says."""

    runs: Sequence[Run]
    done: Mapping[str, Mapping[str, Any]]
    """results by hash"""
    failed: int
    """runs whose last attempt failed"""
    points: Sequence[Point]
    capacities: Sequence[Capacity]

    @cached_property
    def context_use(self) -> list[context_use.ContextUse]:
        """Of the runs of joint recall, what tells whether they use the contexts."""
        return context_use.context_uses(self.points, self.runs, self.done)

    @property
    def progress(self) -> str:
        """How much of the sweep this is; empty if it is all of it."""
        if len(self.done) == len(self.runs):
            return ""
        parts = [f"{len(self.done)} of {len(self.runs)} runs"]
        if self.points:
            fewest, most = (pick(len(point.seeds) for point in self.points) for pick in (min, max))
            parts.append(("" if fewest == most else f"{fewest}–") + (f"{most} seed" if most == 1 else f"{most} seeds"))
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)

    @property
    def says(self) -> str:
        """What the sweep shows, in one sentence that says first if it is not finished. There must be a point."""
        return ": ".join(filter(None, [self.progress, sentence(self.points)]))

    def to_dict(self) -> dict[str, Any]:
        """For programs: the same for the same finished and failed runs, whoever ran them and when."""
        return {
            "runs": len(self.runs),
            "done": len(self.done),
            "failed": self.failed,
            "points": [point_row(point) for point in self.points],
            "capacities": [capacity_row(capacity) for capacity in self.capacities],
            **({"context_use": [context_use.context_row(row) for row in self.context_use]} if self.context_use else {}),
            "says": self.says if self.points else None,
        }


def report(folder: Path) -> Report:
    """Reads a results folder. Raises InputError if it is none."""
    runs, store = held(folder).runs(), Store(folder)
    done = {name: row.result for name, row in store.rows(run.hash for run in runs).items()}
    failed = len(store.failures().keys() & {run.hash for run in runs})
    found = points(runs, done)
    return Report(runs=runs, done=done, failed=failed, points=found, capacities=capacities(found))


def sentence(found: Sequence[Point]) -> str:
    """What the points show, in one sentence."""
    clauses = [*_solved(found), *_rising(found)]
    best = max(found, key=lambda point: point.efficiency)
    over = sum(point.certified_low.high > point.state_bits for point in found)
    wall = (
        f"{over} {'point lies' if over == 1 else 'points lie'} beyond the wall, which cannot be"
        if over
        else f"no point passes the wall: the nearest, {best.label}, certifies {percent(best.efficiency)} of its state's bits"
    )
    return "; ".join([*clauses, wall]) + "."


def percent(share: float) -> str:
    """A share in per cent, two digits of it or all before the point."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _solved(found: Sequence[Point]) -> list[str]:
    by_mixer: dict[str, list[Point]] = defaultdict(list)
    for point in found:
        by_mixer[point.model.mixer].append(point)
    solved = [name for name, group in by_mixer.items() if all(point.accuracy.low >= SATURATED for point in group)]
    if not solved:
        return []
    least = min(point.accuracy.low for name in solved for point in by_mixer[name])
    return [f"{' and '.join(solved)} answer{'s' if len(solved) == 1 else ''} everything asked (accuracy at least {least:.3f})"]


def _rising(found: Sequence[Point]) -> list[str]:
    """How certified bits go with the state, at the difficulty with the most bits, for every mixer measured at several states."""
    most = max(point.task.answer_bits for point in found)
    hardest: dict[str, list[Point]] = defaultdict(list)
    for point in found:
        if point.task.answer_bits == most:
            hardest[point.model.mixer].append(point)
    clauses = []
    for name, group in hardest.items():
        ordered = sorted(group, key=lambda point: point.state_bits)
        if len({point.state_bits for point in ordered}) < 2:
            continue
        bits = [point.certified.median for point in ordered]
        verb = "rises" if bits == sorted(bits) and bits[-1] > bits[0] else "goes"
        clauses.append(
            f"{name} {verb} from {bits[0]:.1f} to {bits[-1]:.1f} of {most:.1f} bits as its state grows from {ordered[0].state_bits} to {ordered[-1].state_bits} bits"
        )
    return clauses


COLUMNS = (
    "mixer",
    "difficulty",
    "state bits",
    "accuracy (seeds)",
    "theory",
    "certified bits",
    "of asked",
    "of state",
    "learning rate",
    "best control",
    "chance",
)


def table_rows(found: Sequence[Point]) -> list[tuple[str, ...]]:
    """The points as text under COLUMNS."""
    return [_row(point) for point in found]


def _row(point: Point) -> tuple[str, ...]:
    controls = point.task.controls()
    best = max(controls, key=lambda name: controls[name])
    low, high = point.predicted or (None, None)
    theory = "" if low is None else f"{low:.3f}" if low == high else f"{low:.3f}–{high:.3f}"
    rate = f"{point.learning_rate:g}" + (" (edge)" if point.edge else "") + (f" ({point.diverged} diverged)" if point.diverged else "")
    return (
        point.label,
        point.difficulty,
        str(point.state_bits),
        f"{point.accuracy.median:.3f} ({point.accuracy.low:.3f}–{point.accuracy.high:.3f})",
        theory,
        f"{point.certified.median:.2f}",
        f"{point.task.answer_bits:.1f}",
        percent(point.efficiency),
        rate,
        f"{controls[best]:.3f} ({best})",
        f"{controls['chance']:.3f}",
    )


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows)]
    return "\n".join(lines)
