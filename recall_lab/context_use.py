"""Whether a trained model uses the contexts of joint recall: every seed beside the controls that do without them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from .capacity import Point
from .run import Run
from .tasks import IGNORE, JointRecall, Stream
from .tasks.joint_recall_strategies import guesses

SWAPPED = 512
"""samples of the swap probe on which readers without context tokens are watched"""


@dataclass(frozen=True, kw_only=True)
class ContextUse:
    """One model on one joint-recall task at the learning rate that validation chose, seed by seed.

    Accuracy is the mean over samples of the accuracy in a sample (macro), as the controls are; by slot it is over all questions. A seed answers by
    contexts if it is better than the best reader without context tokens, over all questions and at the first of a block; it follows them if it
    goes with exchanged contexts more often than two such readers, who strike out what was revealed and who do not, are right by luck. Better is
    by more than twice the standard error of a proportion over the samples tested (the answers of a sample are taken for one).
    """

    label: str
    task: str
    """sizes, layout, and whether answers are revealed"""
    seeds: tuple[int, ...]
    diverged: int
    learning_rate: float
    accuracy: tuple[float, ...]
    """of every seed"""
    by_slot: tuple[tuple[float, ...], ...]
    """of every seed, by the slot of the question in its block; several slots in one where there are more than 16"""
    swap: tuple[float | None, ...]
    """share of answers that follow when two contexts are exchanged among the questions; None where that cannot be asked"""
    controls: Mapping[str, float]
    matcher_by_slot: tuple[float, ...]
    """the control context_token_blind by the same slots; of several in one, the highest"""
    swap_control: float | None
    """share in which a reader without context tokens is right on the swap probe by luck"""
    tested: int
    """samples"""
    certified_low: tuple[float, ...]
    """bits, at the lower end of the interval of the accuracy"""
    state_bits: int

    @property
    def first(self) -> tuple[float, ...]:
        """Of every seed, accuracy at the first question of a block."""
        return tuple(slots[0] for slots in self.by_slot)

    @property
    def answers(self) -> tuple[bool, ...]:
        """Of every seed, whether it answers by contexts."""
        least, least_first = (_beyond(control, self.tested) for control in (self.controls["context_token_blind"], self.matcher_by_slot[0]))
        return tuple(accuracy > least and first > least_first for accuracy, first in zip(self.accuracy, self.first, strict=True))

    @property
    def follows(self) -> tuple[bool, ...]:
        """Of every seed, whether it follows exchanged contexts."""
        if self.swap_control is None:
            return (False,) * len(self.seeds)
        least = _beyond(self.swap_control, self.tested)
        return tuple(swap is not None and swap > least for swap in self.swap)

    @property
    def says(self) -> str:
        """What may be said of it, in a sentence."""
        seeds, control, first = len(self.seeds), self.controls["context_token_blind"], self.matcher_by_slot[0]
        beside = f"accuracy {_range(self.accuracy)} beside {control:.3f} without context tokens, first slot {_range(self.first)} beside {first:.3f}"
        said = f"answers by contexts: {sum(self.answers)} of {seeds} seeds ({beside})"
        if self.swap_control is not None:
            swaps = _range([swap for swap in self.swap if swap is not None])
            said += f"; follows exchanged contexts: {sum(self.follows)} of {seeds} ({swaps} beside {self.swap_control:.3f})"
        return said + (f"; {self.diverged} diverged" if self.diverged else "")


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
    return {**asdict(row), "first": row.first, "answers_by_contexts": row.answers, "follows_contexts": row.follows, "says": row.says}


COLUMNS = (
    "model",
    "task",
    "seed",
    "accuracy",
    "context tokens unread",
    "key only",
    "chance",
    "first slot",
    "unread",
    "last slot",
    "swap probe",
    "unread",
    "answers by contexts",
    "follows them",
)


def table_rows(found: Sequence[ContextUse]) -> list[tuple[str, ...]]:
    """A line for every seed, under COLUMNS; "unread" is the reader without context tokens."""
    return [_line(row, i) for row in found for i in range(len(row.seeds))]


def _line(row: ContextUse, i: int) -> tuple[str, ...]:
    return (
        row.label,
        row.task,
        str(row.seeds[i]),
        f"{row.accuracy[i]:.3f}",
        f"{row.controls['context_token_blind']:.3f}",
        f"{row.controls['context_blind']:.3f}",
        f"{row.controls['chance']:.3f}",
        f"{row.first[i]:.3f}",
        f"{row.matcher_by_slot[0]:.3f}",
        f"{row.by_slot[i][-1]:.3f}",
        _or_dash(row.swap[i]),
        _or_dash(row.swap_control),
        "yes" if row.answers[i] else "not shown",
        "yes" if row.follows[i] else "not shown",
    )


def _row(point: Point, task: JointRecall, runs: Sequence[Run], done: Mapping[str, Mapping[str, Any]]) -> ContextUse:
    results = [done[run.hash] for run in runs]
    matcher = task.matcher_by_slot()
    swap = tuple(result.get("probes", {}).get("swap") for result in results)  # rows from before there were probes have none
    return ContextUse(
        label=point.label,
        task=_described(task),
        seeds=point.seeds,
        diverged=point.diverged,
        learning_rate=point.learning_rate,
        accuracy=tuple(result["accuracy_macro"] for result in results),
        by_slot=tuple(tuple(right / asked for _, _, asked, right in result["by_stratum"]) for result in results),
        swap=swap,
        controls=task.controls(),
        matcher_by_slot=tuple(float(matcher[low : high + 1].max()) for low, high, _, _ in results[0]["by_stratum"]),
        swap_control=None if set(swap) == {None} else swap_control(task),
        tested=runs[0].budget.test,
        certified_low=tuple(result["certified_low"] for result in results),
        state_bits=point.state_bits,
    )


@cache
def swap_control(task: JointRecall) -> float:
    """Share of the swap probe in which a reader without context tokens is right by luck, on SWAPPED samples of a fixed stream.

    The better of one who strikes out what was revealed, and so expects the block that is still unused, and one who does not.
    """
    probe = task.probes(task.sample(Stream(0, "validation"), 0, SWAPPED).tokens)["swap"]
    asked = probe.targets != IGNORE
    read = [guesses(replace(task, reveal=strikes), probe.tokens, "context_token_blind")[asked] for strikes in {task.reveal, False}]
    return max(float((answers == probe.targets[asked]).mean()) for answers in read)


def _described(task: JointRecall) -> str:
    contexts, keys = ("–".join(map(str, size)) if isinstance(size, tuple) else str(size) for size in (task.contexts, task.keys))
    return f"{contexts} × {keys}, {task.values} values, {task.layout}, answers {'' if task.reveal else 'not '}revealed"


def _is_of(run: Run, point: Point) -> bool:
    same = run.task == point.task and run.model == point.model and run.optimiser.learning_rate == point.learning_rate
    return same and run.seed in point.seeds


def _beyond(control: float, samples: int) -> float:
    return control + 2 * math.sqrt(control * (1 - control) / samples)


def _range(numbers: Sequence[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:.3f}" if low == high else f"{low:.3f}–{high:.3f}"


def _or_dash(number: float | None) -> str:
    return "–" if number is None else f"{number:.3f}"
