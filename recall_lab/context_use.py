"""Whether a trained model uses the contexts of joint recall: every seed beside the controls that do without them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .capacity import Point
from .run import Run
from .tasks import JointRecall


@dataclass(frozen=True, kw_only=True)
class ContextUse:
    """One model on one joint-recall task at the learning rate that validation chose, seed by seed.

    Accuracy is the mean over samples of the accuracy in a sample (macro), as the controls are. A seed uses contexts if it is better than
    the best reader that does without context tokens, over all questions and at the first of a block, each by more than twice the standard
    error of a proportion over the samples tested (the answers of a sample are taken for one).
    """

    label: str
    task: str
    seeds: tuple[int, ...]
    learning_rate: float
    accuracy: tuple[float, ...]
    """of every seed"""
    first: tuple[float, ...]
    """at the first question of a block"""
    by_slot: tuple[tuple[float, ...], ...]
    """of every seed, by the slot of the question in its block"""
    swap: tuple[float | None, ...]
    """share of answers that follow when two contexts are exchanged among the questions; None where that cannot be asked"""
    controls: Mapping[str, float]
    matcher_by_slot: tuple[float, ...]
    """the control context_token_blind, by the slot of the question in its block"""
    tested: int
    """samples"""
    certified_low: tuple[float, ...]
    """bits, at the lower end of the interval of the accuracy"""
    state_bits: int

    @property
    def uses(self) -> tuple[bool, ...]:
        """Of every seed, whether it uses contexts."""
        least, least_first = (_beyond(control, self.tested) for control in (self.controls["context_token_blind"], self.matcher_by_slot[0]))
        return tuple(accuracy > least and first > least_first for accuracy, first in zip(self.accuracy, self.first, strict=True))

    @property
    def says(self) -> str:
        """What may be said of it, in a sentence."""
        control, first = self.controls["context_token_blind"], self.matcher_by_slot[0]
        beside = f"accuracy {_range(self.accuracy)} beside {control:.3f} without context tokens, first slot {_range(self.first)} beside {first:.3f}"
        shown, seeds = sum(self.uses), len(self.seeds)
        if not shown:
            return f"use of contexts is not shown on any of {seeds} seeds: {beside}"
        return f"use of contexts is shown on {'all' if shown == seeds else f'{shown} of'} {seeds} seeds: {beside}"


def context_uses(found: Sequence[Point], runs: Sequence[Run], done: Mapping[str, Mapping[str, Any]]) -> list[ContextUse]:
    """A row for every point that is one of joint recall; `done` holds the results of runs by hash."""
    finished = [run for run in runs if run.hash in done]
    return [
        _row(point, point.task, sorted((run for run in finished if _is_of(run, point)), key=lambda run: run.seed), done)
        for point in found
        if isinstance(point.task, JointRecall)
    ]


def context_row(row: ContextUse) -> dict[str, Any]:
    """A row for programs."""
    return {**asdict(row), "uses": row.uses, "says": row.says}


COLUMNS = (
    "model",
    "task",
    "seed",
    "accuracy",
    "first slot",
    "last slot",
    "swap probe",
    "context tokens unread: all, first slot",
    "key only",
    "chance",
    "uses contexts",
)


def table_rows(found: Sequence[ContextUse]) -> list[tuple[str, ...]]:
    """A line for every seed, under COLUMNS."""
    return [_line(row, i) for row in found for i in range(len(row.seeds))]


def _line(row: ContextUse, i: int) -> tuple[str, ...]:
    swap = row.swap[i]
    return (
        row.label,
        row.task,
        str(row.seeds[i]),
        f"{row.accuracy[i]:.3f}",
        f"{row.first[i]:.3f}",
        f"{row.by_slot[i][-1]:.3f}",
        "–" if swap is None else f"{swap:.3f}",
        f"{row.controls['context_token_blind']:.3f}, {row.matcher_by_slot[0]:.3f}",
        f"{row.controls['context_blind']:.3f}",
        f"{row.controls['chance']:.3f}",
        "yes" if row.uses[i] else "not shown",
    )


def _row(point: Point, task: JointRecall, runs: Sequence[Run], done: Mapping[str, Mapping[str, Any]]) -> ContextUse:
    results = [done[run.hash] for run in runs]
    by_slot = [tuple(right / asked for _, _, asked, right in result["by_stratum"]) for result in results]
    return ContextUse(
        label=point.label,
        task=", ".join([task.layout, "answers revealed" if task.reveal else "answers not revealed"]),
        seeds=point.seeds,
        learning_rate=point.learning_rate,
        accuracy=tuple(result["accuracy_macro"] for result in results),
        first=tuple(slots[0] for slots in by_slot),
        by_slot=tuple(by_slot),
        swap=tuple(result["probes"].get("swap") for result in results),
        controls=task.controls(),
        matcher_by_slot=tuple(task.matcher_by_slot().tolist()),
        tested=runs[0].budget.test,
        certified_low=tuple(result["certified_low"] for result in results),
        state_bits=point.state_bits,
    )


def _is_of(run: Run, point: Point) -> bool:
    same = run.task == point.task and run.model == point.model and run.optimiser.learning_rate == point.learning_rate
    return same and run.seed in point.seeds


def _beyond(control: float, samples: int) -> float:
    return control + 2 * math.sqrt(control * (1 - control) / samples)


def _range(numbers: Sequence[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:.3f}" if low == high else f"{low:.3f}–{high:.3f}"
