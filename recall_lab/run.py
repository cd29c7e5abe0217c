"""A run is a value: everything that decides a training result, and nothing else."""

import hashlib
import inspect
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from .errors import InputError, choose
from .loading import as_table, build, unknown_key
from .models import MIXERS, LanguageModelConfig, Mixer, mixer_class
from .models.mixer import MixerConfig
from .store import HASH_DIGITS, content_hash
from .tasks import TASKS, Task

LossOn = Literal["answers", "all"]

SCHEMA = 3
"""raised whenever the same run would train to another result"""


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """AdamW with linear warm-up and cosine decay to zero over the budgeted steps."""

    learning_rate: float = 3e-3
    """peak"""
    weight_decay: float = 0.1
    """on the weights of linear maps and embeddings only"""
    warmup: float = 0.05
    """share of the steps"""
    clip: float = 1.0
    """largest norm of the gradient"""

    def __post_init__(self) -> None:
        for each in ("learning_rate", "weight_decay", "warmup", "clip"):
            object.__setattr__(self, each, float(getattr(self, each)))  # 1 and 1.0 are equal, so they must have one hash
        for each in ("learning_rate", "clip"):
            if not 0 < getattr(self, each) < math.inf:
                raise ValueError(f"{each} must be positive and finite, got {getattr(self, each)}")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup must lie in 0..1 (a share of the steps), got {self.warmup}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be finite and not negative, got {self.weight_decay}")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a run trains and on how much it is judged."""

    steps: int = 400
    """optimiser steps at most, each on fresh samples"""
    batch: int = 64
    """samples a step"""
    check_every: int = 50
    """steps between looks at the validation stream"""
    stop_at: float = 0.995
    """training ends when validation accuracy is this high twice in a row; above 1 it never does"""
    validation: int = 1024
    """samples of the validation stream: they choose the learning rate and the stop"""
    test: int = 4096
    """samples of the test stream: read once, at the end"""
    loss_on: LossOn = "answers"
    """where the loss is taken: at the answers, or at every token, whose label is its answer where it has one and else the next token"""
    eval_lengths: tuple[int, ...] = ()
    """other lengths of the task, on whose test streams the trained model is judged as well"""

    def __post_init__(self) -> None:
        if self.loss_on not in get_args(LossOn):
            raise ValueError(f"loss_on must be one of {', '.join(get_args(LossOn))}, got {self.loss_on!r}")
        for each in ("steps", "batch", "check_every", "validation", "test"):
            if getattr(self, each) < 1:
                raise ValueError(f"{each} must be at least 1, got {getattr(self, each)}")
        object.__setattr__(self, "stop_at", float(self.stop_at))  # as in Optimiser
        if not 0 < self.stop_at < math.inf:
            raise ValueError(f"stop_at must be positive and finite, got {self.stop_at}")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: task, model, optimiser, budget and seeds. Equal runs have equal hashes and equal results."""

    task: Task
    model: LanguageModelConfig
    optimiser: Optimiser = field(default_factory=Optimiser)
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    """of the weights and of the training stream"""
    data_seed: int = 0
    """of the validation and test streams: the same for all runs of a sweep, so that all are judged on the same samples"""

    def __post_init__(self) -> None:
        if self.model.vocab_size < self.task.vocab_size:
            raise ValueError(f"vocab_size must be at least {self.task.vocab_size}, the task's, got {self.model.vocab_size}")
        for length in self.budget.eval_lengths:
            self.task_of_length(length)

    def task_of_length(self, length: int) -> Task:
        """The task with samples of another length and all else alike. Raises ValueError where there is none."""
        if "length" not in {each.name for each in fields(self.task)}:
            raise ValueError(f"eval_lengths cannot be had: {self.task.name} has no field length")
        try:
            return replace(self.task, length=length)  # type: ignore[call-arg]
        except ValueError as error:
            raise ValueError(f"eval_lengths cannot be had: at length {length}, {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """The run as JSON has it; `from_dict` inverts it."""
        return {
            "schema": SCHEMA,
            "task": {"name": self.task.name, "version": self.task.version, **self.task.to_dict()},
            "model": asdict(self.model) | code_of(self.model.mixer),
            "optimiser": asdict(self.optimiser),
            "budget": asdict(self.budget),
            "seed": self.seed,
            "data_seed": self.data_seed,
        }

    @cached_property
    def hash(self) -> str:
        """First digits of `content_hash` over `to_dict`."""
        return content_hash(self.to_dict())[:HASH_DIGITS]

    def __hash__(self) -> int:  # of the content: a model's fields are a mapping, which has none of its own
        return hash(self.hash)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "Run":
        """The run that `to_dict` wrote; a field left out inside one of its tables takes its default.

        Raises InputError for another schema or version of the task, a mixer from outside the lab whose file has changed since, an unknown or
        missing part, and a value that is refused.
        """
        if table.get("schema") != SCHEMA:
            raise InputError(f"run: schema must be {SCHEMA}, got {table.get('schema')!r}")
        parts = {name: part for name, part in table.items() if name != "schema"}
        known = {each.name for each in fields(cls)}
        for name in parts:
            if name not in known:
                raise InputError(unknown_key(name, known | {"schema"}, "run"))
        if missing := sorted(known - parts.keys()):
            raise InputError(f"run: {', '.join(missing)} must be given")
        task = task_from(as_table(parts["task"], "[task]"))
        described = dict(as_table(parts["model"], "[model]"))
        code = described.pop("code", None)
        model = model_from(described, task)
        if code != code_of(model.mixer).get("code"):
            raise InputError(f"mixer {model.mixer!r}: its file is not the one of this run: it has changed")
        built = {
            "task": task,
            "model": model,
            "optimiser": build(Optimiser, as_table(parts["optimiser"], "[optimiser]"), "[optimiser]"),
            "budget": build(Budget, as_table(parts["budget"], "[budget]"), "[budget]"),
        }
        return build(cls, parts | built, "run")


def code_of(mixer: str) -> dict[str, str]:
    """{"code": first 16 hex digits of SHA-256 of its file} for a mixer from outside the lab, so that a changed one is another run; else {}.

    Only the file that defines it counts, not what that imports.
    """
    if mixer in MIXERS:
        return {}
    source = inspect.getsourcefile(mixer_class(mixer))
    return {"code": hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16] if source else "unknown"}


def task_from(table: Mapping[str, Any]) -> Task:
    """The task that a table with `name` and fields describes."""
    if not isinstance(table.get("name"), str):
        raise InputError(f"[task]: name must be given (known: {', '.join(sorted(TASKS))})")
    kind = choose("task", table["name"], TASKS)
    version = table.get("version", kind.version)
    if version != kind.version:
        raise InputError(f"[task]: {kind.name} is at version {kind.version} here, got {version}: its samples have changed")
    return build(kind, {key: value for key, value in table.items() if key not in ("name", "version")}, "[task]")


def mixer_from(mixer: str) -> type[Mixer]:
    """The mixer called `mixer`, or at that import path. Raises InputError."""
    if ":" not in mixer:
        choose("mixer", mixer, MIXERS)
    try:
        return mixer_class(mixer)
    except (ImportError, TypeError, ValueError) as error:  # ValueError: an empty module name
        raise InputError(f"mixer {mixer!r} cannot be used: {error}") from error


def mixer_config_from(mixer: str, table: Mapping[str, Any]) -> MixerConfig:
    """The configuration of the mixer called `mixer` (or at that import path) with the fields of `table`."""
    return build(mixer_from(mixer).Config, table, f"[mixers.{mixer}]")


def model_from(table: Mapping[str, Any], task: Task) -> LanguageModelConfig:
    """The model for a task: its vocabulary is the task's unless the table says a larger one."""
    mixer = table.get("mixer", LanguageModelConfig.mixer)
    if not isinstance(mixer, str):
        raise InputError(f"[model]: mixer must be a text, got {mixer!r}")
    mixer_fields = asdict(mixer_config_from(mixer, as_table(table.get("fields", {}), "[model]: fields")))
    rest = {key: value for key, value in table.items() if key not in ("mixer", "fields")}
    return build(LanguageModelConfig, {"vocab_size": task.vocab_size, **rest, "mixer": mixer, "fields": mixer_fields}, "[model]")


def single_run(task: str, mixer: str, settings: Mapping[str, Any], seed: int) -> Run:
    """One run by names, with `task.FIELD`, `mixer.FIELD`, `model.FIELD`, `optimiser.FIELD` and `budget.FIELD` set. Raises InputError."""
    tables: dict[str, dict[str, Any]] = {"task": {"name": task}, "mixer": {}, "model": {}, "optimiser": {}, "budget": {}}
    for path, value in settings.items():
        table, _, name = path.partition(".")
        if table not in tables or not name:
            raise InputError(f"--set {path}: no such setting (known: {', '.join(f'{each}.FIELD' for each in tables)})")
        if path in ("task.name", "model.mixer", "model.fields"):
            raise InputError(f"--set {path}: task and mixer are chosen by name, and their fields by task.FIELD and mixer.FIELD")
        tables[table][name] = value
    problem = task_from(tables["task"])
    parts = {
        "task": problem,
        "model": model_from({**tables["model"], "mixer": mixer, "fields": tables["mixer"]}, problem),
        "optimiser": build(Optimiser, tables["optimiser"], "[optimiser]"),
        "budget": build(Budget, tables["budget"], "[budget]"),
        "seed": seed,
    }
    return build(Run, parts, "run")
