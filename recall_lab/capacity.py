"""From finished runs to what is reported: one learning rate chosen on validation, all its seeds judged on test, capacity over difficulties."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import fmean, median
from typing import Any

from .models import LanguageModelConfig
from .run import Run
from .tasks import Task
from .tasks.stream import canonical_json
from .theory import predicted_accuracy

SATURATED = 0.95
"""accuracy on the hardest difficulty tried from which a capacity is only a lower bound"""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A quantity over seeds."""

    each: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle seed."""
        return median(self.each)

    @property
    def low(self) -> float:
        """The worst seed."""
        return min(self.each)

    @property
    def high(self) -> float:
        """The best seed."""
        return max(self.each)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model on one difficulty at the learning rate that validation chose."""

    task: Task
    model: LanguageModelConfig
    label: str
    """mixer, and the fields in which the sweep's models of that mixer differ"""
    difficulty: str
    """fields in which the sweep's tasks differ"""
    state_size: int
    state_bits: int
    learning_rate: float
    edge: bool
    """the chosen learning rate is the lowest or the highest of several tried: a better one may lie beyond"""
    seeds: tuple[int, ...]
    diverged: int
    """seeds whose loss left the numbers"""
    accuracy: Spread
    validation: Spread
    certified: Spread
    certified_low: Spread
    by_learning_rate: Mapping[float, float]
    """mean validation accuracy over seeds at every learning rate tried: how brittle the mixer is"""

    @property
    def efficiency(self) -> float:
        """Certified bits per bit of state; the wall is 1."""
        return self.certified.median / self.state_bits

    @cached_property
    def predicted(self) -> tuple[float, float] | None:
        """Accuracy between which theory places the mixer on this task, where it says something."""
        return predicted_accuracy(self.task, self.model)


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The most bits that one model certified over the difficulties tried."""

    label: str
    state_bits: int
    """at the difficulty where the most was certified"""
    certified: Spread
    saturated: bool
    """the hardest difficulty was still answered: the capacity is at least this"""
    largest_at_90: float | None
    """the size of the largest problem answered with accuracy 0.9, interpolated in its logarithm; None if none was"""

    @property
    def efficiency(self) -> float:
        """Certified bits per bit of state."""
        return self.certified.median / self.state_bits


def points(runs: Sequence[Run], results: Mapping[str, Mapping[str, Any]]) -> list[Point]:
    """A point for every model and task of which a run has finished, in the order of `runs`; `results` is by hash.

    The learning rate is the one of highest mean validation accuracy over seeds, the lower one on a tie; test results choose nothing.
    """
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        if run.hash in results:
            groups[canonical_json(run.task.to_dict()), canonical_json(asdict(run.model))].append(run)
    labels = _model_labels(runs)
    difficulties = _difficulties(runs)
    return [
        _point(group, results, labels[_model_key(group[0].model)], difficulties[canonical_json(group[0].task.to_dict())])
        for group in groups.values()
    ]


def _point(group: Sequence[Run], results: Mapping[str, Mapping[str, Any]], label: str, difficulty: str) -> Point:
    by_rate: dict[float, list[Run]] = defaultdict(list)
    for run in group:
        by_rate[run.optimiser.learning_rate].append(run)
    validation = {rate: fmean(results[run.hash]["validation_accuracy"] for run in by_rate[rate]) for rate in sorted(by_rate)}
    chosen = max(validation, key=lambda rate: (validation[rate], -rate))
    kept = sorted(by_rate[chosen], key=lambda run: run.seed)

    def spread(name: str) -> Spread:
        return Spread(each=tuple(results[run.hash][name] for run in kept))

    first = results[kept[0].hash]
    return Point(
        task=kept[0].task,
        model=kept[0].model,
        label=label,
        difficulty=difficulty,
        state_size=first["state_size"],
        state_bits=first["state_bits"],
        learning_rate=chosen,
        edge=len(validation) > 1 and chosen in (min(validation), max(validation)),
        seeds=tuple(run.seed for run in kept),
        diverged=sum(results[run.hash]["status"] == "diverged" for run in kept),
        accuracy=spread("accuracy"),
        validation=spread("validation_accuracy"),
        certified=spread("certified_bits"),
        certified_low=spread("certified_low"),
        by_learning_rate=validation,
    )


def capacities(found: Iterable[Point]) -> list[Capacity]:
    """The capacity of every model, its difficulties taken together."""
    groups: dict[str, list[Point]] = defaultdict(list)
    for point in found:
        groups[_model_key(point.model)].append(point)
    return [_capacity(group) for group in groups.values()]


def _capacity(group: Sequence[Point]) -> Capacity:
    best = max(group, key=lambda point: point.certified.median)
    hardest = max(group, key=lambda point: point.task.answer_bits)
    return Capacity(
        label=best.label,
        state_bits=best.state_bits,
        certified=best.certified,
        saturated=hardest.accuracy.median >= SATURATED,
        largest_at_90=_largest_at(0.9, [(point.task.stored, point.accuracy.median) for point in group]),
    )


def _largest_at(accuracy: float, sizes: Iterable[tuple[float, float]]) -> float | None:
    """The size at which accuracy falls through a level, linear in the logarithm of size; the largest size if it does not fall."""
    ordered = sorted(sizes)
    above = [index for index, (_, reached) in enumerate(ordered) if reached >= accuracy]
    if not above:
        return None
    low, reached = ordered[above[-1]]
    if above[-1] == len(ordered) - 1:
        return low
    high, missed = ordered[above[-1] + 1]
    share = (reached - accuracy) / (reached - missed)
    return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))


def _model_key(model: LanguageModelConfig) -> str:
    return canonical_json({key: value for key, value in asdict(model).items() if key != "vocab_size"})


def _model_labels(runs: Sequence[Run]) -> dict[str, str]:
    """Model to its mixer's name with the fields in which the models of that mixer differ."""
    flat = {}
    for run in runs:
        described = asdict(run.model)
        flat[_model_key(run.model)] = (
            run.model.mixer,
            {**described.pop("fields"), **{k: described[k] for k in ("depth", "short_conv", "mlp")}},
        )
    labels = {}
    for key, (mixer, fields) in flat.items():
        rivals = [other for name, other in flat.values() if name == mixer]
        labels[key] = " ".join([mixer.rpartition(":")[2], *_differing(fields, rivals)])
    return labels


def _difficulties(runs: Sequence[Run]) -> dict[str, str]:
    """Task to the fields in which the sweep's tasks differ."""
    tasks = {canonical_json(run.task.to_dict()): run.task for run in runs}
    described = [{"task": task.name, **task.to_dict()} for task in tasks.values()]
    return {key: " ".join(_differing({"task": task.name, **task.to_dict()}, described)) or task.name for key, task in tasks.items()}


def _differing(fields: Mapping[str, Any], rivals: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{name}={value}" for name, value in fields.items() if any(rival.get(name) != value for rival in rivals)]


def point_row(point: Point) -> dict[str, Any]:
    """A point as a flat row for tables and files; a pure function of finished runs, without times or hosts."""
    low, high = point.predicted or (None, None)
    return {
        "mixer": point.label,
        "difficulty": point.difficulty,
        "state_size": point.state_size,
        "state_bits": point.state_bits,
        "answer_bits": round(point.task.answer_bits, 4),
        "seeds": len(point.seeds),
        "diverged": point.diverged,
        "learning_rate": point.learning_rate,
        "edge": point.edge,
        "accuracy": point.accuracy.median,
        "accuracy_low": point.accuracy.low,
        "accuracy_high": point.accuracy.high,
        "certified_bits": point.certified.median,
        "certified_bits_low": point.certified.low,
        "certified_bits_high": point.certified.high,
        "certified_at_95": point.certified_low.low,
        "efficiency": point.efficiency,
        "predicted_low": low,
        "predicted_high": high,
        "controls": point.task.controls(),
        "validation_by_learning_rate": {f"{rate:g}": accuracy for rate, accuracy in point.by_learning_rate.items()},
    }


def capacity_row(capacity: Capacity) -> dict[str, Any]:
    """A capacity as a flat row."""
    return {
        "mixer": capacity.label,
        "state_bits": capacity.state_bits,
        "capacity": capacity.certified.median,
        "capacity_low": capacity.certified.low,
        "capacity_high": capacity.certified.high,
        "saturated": capacity.saturated,
        "efficiency": capacity.efficiency,
        "largest_at_90": capacity.largest_at_90,
    }
