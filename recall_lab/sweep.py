"""A sweep is a list of runs, written as a TOML file in which any field may be a list."""

import itertools
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from .engine import Event, Outcome, run_all
from .errors import InputError, choose
from .loading import as_table, build, parse_setting, unknown_key
from .models import LanguageModelConfig, with_state
from .run import Budget, Optimiser, Run, mixer_config_from, mixer_from, model_from, task_from
from .store import Store

Table = Mapping[str, Any]

SPEC_FILE = "spec.toml"
"""in a results folder: the sweep it holds"""

MODEL_FIELDS = tuple(each.name for each in fields(LanguageModelConfig) if each.name not in ("vocab_size", "mixer", "fields"))
"""fields of the backbone; [model] and each [mixers.*] may set them"""


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A grid: every task with every mixer, learning rate, budget and seed.

    A table is a grid over those of its fields that are lists, in the order written; several tables under one name (`[[task]]`) are
    several grids, one after the other: so fields that belong together (length with pairs) are tied. A field that is a pair itself, as
    `joint_recall` has them, is written as a list of pairs: `contexts = [[5, 16]]`.
    """

    about: str = ""
    """one line for `ls`"""
    task: tuple[Table, ...]
    model: Table = field(default_factory=dict)
    mixers: Mapping[str, tuple[Table, ...]]
    optimiser: Table = field(default_factory=dict)
    budget: Table = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    data_seed: int = 0

    def __post_init__(self) -> None:
        for seed in (*self.seeds, self.data_seed):
            if not 0 <= seed < 2**63:
                raise ValueError(f"seeds and data_seed must lie in 0..2^63-1, as every generator takes them, got {seed}")
        for name, entries in (("seeds", self.seeds), *((f"mixers.{mixer}", tables) for mixer, tables in self.mixers.items())):
            if not entries:
                raise ValueError(f"{name} must not be empty: nothing would be run")

    def to_toml(self) -> str:
        """The spec as a file; `parse` inverts it."""
        content = {
            "about": self.about,
            "seeds": list(self.seeds),
            "data_seed": self.data_seed,
            "task": [dict(table) for table in self.task],
            "model": dict(self.model),
            "optimiser": dict(self.optimiser),
            "budget": dict(self.budget),
            "mixers": {name: [dict(table) for table in tables] for name, tables in self.mixers.items()},
        }
        return tomli_w.dumps(content)

    def runs(self) -> list[Run]:
        """Seeds outermost, then learning rates, so that a sweep that was stopped is a readable figure already. No run twice.

        Raises InputError for a field that its class refuses.
        """
        for name in self.model:
            if name not in MODEL_FIELDS:
                raise InputError(unknown_key(name, MODEL_FIELDS, "[model]"))
        tasks = [task_from(table) for table in _grids(self.task, "[task]")]
        models = [model for task in tasks for model in self._models(task)]
        optimisers = [build(Optimiser, table, "[optimiser]") for table in _grids([self.optimiser], "[optimiser]")]
        budgets = [build(Budget, table, "[budget]") for table in _grids([self.budget], "[budget]")]
        grid = itertools.product(self.seeds, optimisers, budgets, models)
        names = ("seed", "optimiser", "budget", "task", "model", "data_seed")
        runs = [build(Run, dict(zip(names, (*rest, task, model, self.data_seed), strict=True)), "run") for *rest, (task, model) in grid]
        return list({run.hash: run for run in runs}.values())

    def _models(self, task: Any) -> Iterator[tuple[Any, LanguageModelConfig]]:
        for mixer, tables in self.mixers.items():
            for table in _grids([{**self.model, **each} for each in tables], f"[mixers.{mixer}]"):
                yield task, _model(mixer, table, task)


def _model(mixer: str, table: Table, task: Any) -> LanguageModelConfig:
    """The model that one row of a mixer's grid describes; `state` asks for a size in scalars at the task's cut."""
    where, kind = f"[mixers.{mixer}]", mixer_from(mixer)
    known = {*MODEL_FIELDS, "state", *(each.name for each in fields(kind.Config))}
    for name in table:
        if name not in known:
            raise InputError(unknown_key(name, known, where))
    backbone = {key: value for key, value in table.items() if key in MODEL_FIELDS}
    own = {key: value for key, value in table.items() if key not in (*MODEL_FIELDS, "state")}
    mixer_config_from(mixer, own)  # errors that name the mixer's table
    model = model_from({**backbone, "mixer": mixer, "fields": own}, task)
    if "state" not in table:
        return model
    if kind.state_knob in own:
        raise InputError(f"{where}: state sets {kind.state_knob}, so only one of the two may be given")
    if not isinstance(table["state"], int) or isinstance(table["state"], bool):
        raise InputError(f"{where}: state must be a whole number of scalars, got {table['state']!r}")
    try:
        return with_state(model, table["state"], task.cut)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def _grids(tables: Iterable[Table], where: str) -> Iterator[dict[str, Any]]:
    """Every choice of one entry from each list of each table. Raises InputError for a list without entries."""
    for table in tables:
        for name, entry in table.items():
            if entry == []:
                raise InputError(f"{where}: {name} must not be an empty list: nothing would be run")
        axes = [entry if isinstance(entry, list) else [entry] for entry in table.values()]
        for choice in itertools.product(*axes):
            yield dict(zip(table, choice, strict=True))


def parse(text: str, where: str) -> SweepSpec:
    """A spec from TOML. Raises InputError, one line, for malformed TOML, an unknown key or a wrong type."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not TOML: {error}") from error
    known = SweepSpec.__dataclass_fields__
    for name in content:
        if name not in known:
            raise InputError(unknown_key(name, known, where))
    for name in ("task", "mixers"):
        if not content.get(name):
            raise InputError(f"{where}: [{name}] must be given")
    return build(
        SweepSpec,
        {
            **content,
            "task": _tables(content["task"], f"{where}: [task]"),
            "mixers": {
                name: _tables(table, f"{where}: [mixers.{name}]")
                for name, table in as_table(content["mixers"], f"{where}: [mixers]").items()
            },
            "seeds": _seeds(content.get("seeds", 3)),
        },
        where,
    )


def _seeds(entry: object) -> object:
    """A number of seeds counts from 0; a list is taken as it is."""
    return tuple(range(entry)) if isinstance(entry, int) and not isinstance(entry, bool) else entry


def _tables(entry: object, where: str) -> tuple[dict[str, Any], ...]:
    return tuple(as_table(each, where) for each in (entry if isinstance(entry, list) else [entry]))


def shipped() -> dict[str, str]:
    """The sweeps that come with the lab: name to TOML text."""
    folder = resources.files("recall_lab") / "sweeps"
    return {Path(entry.name).stem: entry.read_text() for entry in folder.iterdir() if entry.name.endswith(".toml")}


def load(name: str, settings: Iterable[str] = (), mixers: Iterable[str] = ()) -> SweepSpec:
    """A shipped sweep by name or a file by path, with further mixers beside its own and `table.field=value` settings put over it."""
    if name.endswith(".toml") or "/" in name:
        try:
            text = Path(name).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error
    else:
        text = choose("sweep", name, shipped())
    spec = parse(text, name)
    further = {mixer: (*spec.mixers.get(mixer, ()), {}) for mixer in mixers}
    return with_settings(replace(spec, mixers={**spec.mixers, **further}), settings)


def with_settings(spec: SweepSpec, settings: Iterable[str]) -> SweepSpec:
    """`task.pairs=[4,8]` or `budget.steps=100` or `mixers.attention.width=64`, values as TOML writes them; a name reaches all its tables."""
    for setting in settings:
        path, value = parse_setting(setting)
        table, _, inner = path.partition(".")
        if table == "mixers" and "." in inner:
            mixer, _, key = inner.rpartition(".")  # an import path has dots of its own
            tables = choose("mixer of this sweep", mixer, spec.mixers)
            spec = replace(spec, mixers={**spec.mixers, mixer: tuple({**each, key: value} for each in tables)})
        elif table == "task" and inner:
            spec = replace(spec, task=tuple({**each, inner: value} for each in spec.task))
        elif table in ("model", "optimiser", "budget") and inner:
            spec = build(SweepSpec, {**vars(spec), table: {**getattr(spec, table), inner: value}}, f"--set {setting}")
        elif table in ("seeds", "data_seed") and not inner:
            spec = build(SweepSpec, {**vars(spec), table: _seeds(value) if table == "seeds" else value}, f"--set {setting}")
        else:
            known = "task.FIELD, model.FIELD, mixers.NAME.FIELD, optimiser.FIELD, budget.FIELD, seeds, data_seed"
            raise InputError(f"--set {setting}: no such setting (known: {known})")
    return spec


def held(folder: Path) -> SweepSpec:
    """The sweep that a results folder holds. Raises InputError if it holds none."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a results folder: there is no such folder")
    try:
        text = (folder / SPEC_FILE).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{folder} is not a results folder: cannot read {SPEC_FILE} in it ({why})") from error
    return parse(text, str(folder / SPEC_FILE))


def adopt(folder: Path, spec: SweepSpec) -> Store:
    """The store in `folder` for this sweep: a folder may be extended by further runs, never turned to another sweep.

    Raises InputError if the folder holds a sweep with runs that this one has not, or cannot be used.
    """
    path = folder / SPEC_FILE
    if path.exists():
        wanted = {run.hash for run in spec.runs()}
        there = held(folder).runs()
        missing = [run for run in there if run.hash not in wanted]
        if missing:
            raise InputError(
                f"{folder} goes on by recall-lab sweep {path} --out {folder}, since it holds another sweep: {len(missing)} of its {len(there)} runs are not in this one; choose another --out for this one"
            )
    store = Store(folder).open()
    text = spec.to_toml()
    if not path.exists() or path.read_text() != text:
        store.write_text(SPEC_FILE, text)
    return store


def sweep(
    spec: SweepSpec, out: Path, *, workers: int = 1, limit: int | None = None, on_event: Callable[[Event], None] | None = None
) -> Outcome:
    """Trains what `out` does not hold yet, at most `limit` runs of it, and returns what happened; call it again to go on."""
    store = adopt(out, spec)
    runs = spec.runs()
    if limit is not None:
        done = store.rows(run.hash for run in runs)
        runs = [run for run in runs if run.hash not in done][:limit]
    return run_all(runs, store, workers=workers, on_event=on_event or _unheard)


def _unheard(_event: Event) -> None:
    """For callers that want the outcome only."""
