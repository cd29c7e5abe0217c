"""Runs that train in a tenth of a second, and results and points written by hand."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jaxtyping

from recall_lab.capacity import Point, Spread
from recall_lab.models import LanguageModelConfig
from recall_lab.run import Budget, Optimiser, Run
from recall_lab.tasks import MQAR, Task

TASK = MQAR(length=16, pairs=2, keys=8, values=8, fillers=4, order="shuffled")


def tiny_model(task: Task = TASK, mixer: str = "attention", depth: int = 1, **fields: Any) -> LanguageModelConfig:
    """One block of width 8 unless told otherwise."""
    return LanguageModelConfig(vocab_size=task.vocab_size, mixer=mixer, fields={"width": 8, **fields}, depth=depth)


def tiny_run(task: Task = TASK, model: LanguageModelConfig | None = None, rate: float = 1e-2, seed: int = 0, **budget: Any) -> Run:
    """Eight steps, a look after every second one."""
    looks = {"steps": 8, "batch": 8, "check_every": 2, "stop_at": 2.0, "validation": 16, "test": 32}
    return Run(
        task=task,
        model=model or tiny_model(task),
        optimiser=Optimiser(learning_rate=rate),
        budget=Budget(**(looks | budget)),
        seed=seed,
    )


@contextmanager
def as_users_call() -> Iterator[None]:
    """Without the checks of types and shapes that are on in tests only, so that a function's own are reached."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def outcome(*, validation: float = 0.5, accuracy: float = 0.5, bits: float = 1.0, **others: Any) -> dict[str, Any]:
    """As much of a result as reports read."""
    return {
        "status": "finished",
        "validation_accuracy": validation,
        "accuracy": accuracy,
        "certified_bits": bits,
        "certified_low": bits / 2,
        "state_size": 8,
        "state_bits": 256,
    } | others


def point(
    *,
    accuracy: Sequence[float] = (0.5,),
    bits: Sequence[float] = (1.0,),
    low: Sequence[float] = (0.5,),
    state_bits: int = 256,
    task: Task = TASK,
    mixer: str = "attention",
    label: str | None = None,
    **fields: Any,
) -> Point:
    """A point whose seeds reached these accuracies and bits."""
    return Point(
        task=task,
        model=tiny_model(task, mixer, **fields),
        label=label or mixer,
        difficulty=task.name,
        state_size=state_bits // 32,
        state_bits=state_bits,
        learning_rate=1e-2,
        edge=False,
        seeds=tuple(range(len(accuracy))),
        diverged=0,
        accuracy=Spread(each=tuple(accuracy)),
        validation=Spread(each=tuple(accuracy)),
        certified=Spread(each=tuple(bits)),
        certified_low=Spread(each=tuple(low)),
        by_learning_rate={1e-2: accuracy[0]},
    )
