"""From finished runs to what is reported: one learning rate chosen on validation, all its seeds judged on test, capacity over difficulties."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
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
    """mixer, and what differs among the sweep's models of that mixer and their training, learning rate and seed apart"""
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
        return _efficiency(self.certified, self.state_bits)

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
    """a difficulty with the most bits of those tried was still answered: the capacity is at least this"""
    largest_at_90: float | None
    """the size of the largest problem answered with accuracy 0.9, interpolated in its logarithm; None if none was"""

    @property
    def efficiency(self) -> float:
        """Certified bits per bit of state."""
        return _efficiency(self.certified, self.state_bits)


def _efficiency(certified: Spread, state_bits: int) -> float:
    """A model may have no state at all (a window of one token); what it certifies by luck is then held against one bit."""
    return certified.median / max(state_bits, 1)


def points(runs: Sequence[Run], results: Mapping[str, Mapping[str, Any]]) -> list[Point]:
    """A point for every task, model and way of training of which a run has finished, in the order of `runs`; `results` is by hash.

    The learning rate is the one of highest mean validation accuracy over seeds, the lower one on a tie; test results choose nothing.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.hash in results:
            groups[canonical_json({"task": _described(run.task), "model": asdict(run.model), "training": _training(run)})].append(run)
    labels, difficulties = _labels(runs), _difficulties(runs)
    return [
        _point(group, results, labels[_label_key(group[0])], difficulties[canonical_json(_described(group[0].task))])
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
    """The capacity of every model on every kind of task, its difficulties taken together."""
    groups: dict[tuple[str, str, str], list[Point]] = defaultdict(list)
    for point in found:
        groups[point.label, point.task.name, canonical_json(_model(point.model))].append(point)
    tasks = {name for _, name, _ in groups}
    return [_capacity(group, f"{label} on {name}" if len(tasks) > 1 else label) for (label, name, _), group in groups.items()]


def _capacity(group: Sequence[Point], label: str) -> Capacity:
    best = max(group, key=lambda point: point.certified.median)
    most = max(point.task.answer_bits for point in group)
    return Capacity(
        label=label,
        state_bits=best.state_bits,
        certified=best.certified,
        saturated=any(point.accuracy.median >= SATURATED for point in group if point.task.answer_bits == most),
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


def _model(model: LanguageModelConfig) -> dict[str, Any]:
    """The model's fields, those of its mixer among them; the vocabulary is the task's."""
    described = asdict(model)
    return {**described.pop("fields"), **{name: value for name, value in described.items() if name != "vocab_size"}}


def _training(run: Run) -> dict[str, Any]:
    """How the model was trained and judged, learning rate and seed apart: runs that differ in it are no seeds of one another."""
    optimiser = {name: value for name, value in asdict(run.optimiser).items() if name != "learning_rate"}
    return {**optimiser, **asdict(run.budget), "data_seed": run.data_seed}


def _label_key(run: Run) -> str:
    return canonical_json({"model": _model(run.model), "training": _training(run)})


def _labels(runs: Sequence[Run]) -> dict[str, str]:
    """Model and training to the mixer's name with what differs among the runs of that mixer."""
    described = {_label_key(run): {**_model(run.model), **_training(run)} for run in runs}
    rivals: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for fields in described.values():
        rivals[fields["mixer"]].append(fields)
    names = _short_names(rivals)
    return {key: " ".join([names[fields["mixer"]], *differing(fields, rivals[fields["mixer"]])]) for key, fields in described.items()}


def _short_names(mixers: Collection[str]) -> dict[str, str]:
    """Mixers without the module of their import path, unless two would then have one name."""
    count = Counter(mixer.rpartition(":")[2] for mixer in mixers)
    return {mixer: short if count[short := mixer.rpartition(":")[2]] == 1 else mixer for mixer in mixers}


def _difficulties(runs: Sequence[Run]) -> dict[str, str]:
    """Task to its kind, where the sweep has several, and the fields in which it differs from others of its kind."""
    tasks = {canonical_json(_described(run.task)): run.task for run in runs}
    rivals: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for task in tasks.values():
        rivals[task.name].append(task.to_dict())
    kinds = {name: [name] if len(rivals) > 1 else [] for name in rivals}
    return {key: " ".join([*kinds[task.name], *differing(task.to_dict(), rivals[task.name])]) or task.name for key, task in tasks.items()}


def _described(task: Task) -> dict[str, Any]:
    return {"task": task.name, **task.to_dict()}


def differing(fields: Mapping[str, Any], rivals: Sequence[Mapping[str, Any]]) -> list[str]:
    """`name=value` for every field that has another value in any of the rivals."""
    return [f"{name}={_shown(value)}" for name, value in fields.items() if any(rival.get(name) != value for rival in rivals)]


def _shown(value: object) -> object:
    """A choice of several as its parts joined, which a table has room for."""
    return ("+".join(map(str, value)) or "none") if isinstance(value, tuple) else value


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
