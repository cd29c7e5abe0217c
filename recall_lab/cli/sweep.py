"""`recall-lab sweep`: a grid of runs to a results folder."""

import math
import os
import time
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import Count, Flag, Json, Texts
from .printing import duration, print_json, print_table, say, to_json

if TYPE_CHECKING:
    from ..engine import Event
    from ..run import Budget, Run
    from ..sweep import SweepSpec

DRAWN = "report.json"
"""in a results folder: the report that its figures show"""


def sweep(
    name: str,
    /,
    *,
    out: Path | None = None,
    workers: Count | None = None,
    set: Texts | None = None,
    mixer: Texts | None = None,
    limit: Count | None = None,
    dry_run: Flag = False,
    quiet: Flag = False,
    json: Json = False,
) -> int:
    """Train a grid of runs, to a table and figures.

    The same command again goes on where it stopped, whatever stopped it.

    Args:
        name: a sweep that ls sweeps lists, or a TOML file of your own
        out: results folder; results/NAME unless told otherwise
        workers: processes, one thread each; one a core unless told otherwise
        set: a field, as budget.steps=100 or mixers.attention.width=64, or an axis, as task.pairs=[4,8]; also seeds=5; may be repeated
        mixer: one more mixer, by name or by the import path package.module:Class of your own; may be repeated
        limit: train at most so many runs now
        dry_run: say what would run and how long that may take; train nothing
        quiet: no line for every run

    """
    from .. import sweep as library

    spec = library.load(name, set or [], mixer or [])
    folder = out or Path("results") / Path(name).stem
    workers = workers or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else workers or os.cpu_count() or 1
    if dry_run:
        return _dry_run(spec, folder, workers, limit, json)
    progress = Progress(len(spec.runs()), quiet)
    outcome = library.sweep(spec, folder, workers=workers, limit=limit, on_event=progress)
    if outcome.interrupted:
        say(f"interrupted; what finished is kept in {folder}: the same command goes on from there")
        return 130
    return _conclude(folder, json, worked=bool(outcome.finished or outcome.failed)) or (1 if outcome.failed else 0)


class Progress:
    """A line on stderr for every run that ends, with the time left."""

    def __init__(self, runs: int, quiet: bool) -> None:
        self.runs, self.quiet = runs, quiet
        self.settled = self.worked = 0
        self.began = time.monotonic()

    def __call__(self, event: "Event") -> None:
        """Tells of one event."""
        if event.kind == "started":
            return
        if event.kind == "retried":
            say(f"trying again: {describe(event.run)}: {event.reason}")
            return
        self.settled += 1
        if event.kind == "skipped":
            return
        self.worked += 1
        if event.kind == "failed":
            say(f"[{self.settled}/{self.runs}] FAILED {describe(event.run)}: {event.reason}")
        elif not self.quiet and event.row:
            accuracy = event.row.result["accuracy"]
            left = (self.runs - self.settled) * (time.monotonic() - self.began) / self.worked
            note = " diverged;" if event.row.result["status"] == "diverged" else ""
            say(
                f"[{self.settled}/{self.runs}] {describe(event.run)}:{note} accuracy {accuracy:.3f} in {duration(event.seconds)}, about {duration(left)} left"
            )


def describe(run: "Any") -> str:
    """A run in a few words: of its mixer's fields those that are not the default."""
    from ..capacity import differing
    from ..models import mixer_class

    defaults = {field.name: field.default for field in fields(mixer_class(run.model.mixer).Config)}
    shown = " ".join(differing(run.model.fields, [defaults]))
    return (
        f"{run.task.name} ({run.task.answer_bits:.0f} bits) {run.model.mixer} {shown} rate {run.optimiser.learning_rate:g} seed {run.seed}"
    )


def _conclude(folder: Path, json: bool, *, worked: bool) -> int:
    """The table, the figures (drawn again if they show anything else than the table) and the sentence."""
    from ..plots import FIGURE, draw_all
    from ..report import report
    from ..store import Store
    from .table import table

    found = report(folder)
    if not worked and not found.progress:
        say(f"nothing left to do: all {len(found.runs)} runs are in {folder}")
    if not found.points:
        return 1
    # Held against what is there, not against what this call did: the call that trained the last run may have died before it drew.
    now, drawn = to_json(found.to_dict()), folder / DRAWN
    if not (folder / FIGURE).exists() or not drawn.exists() or drawn.read_bytes() != now.encode():
        draw_all(found, folder, f"recall-lab plot {folder}")
        Store(folder).write_text(DRAWN, now)
    table(folder, json=json)
    say(f"figure: {folder / FIGURE}")
    return 0


def _done(folder: Path, spec: "SweepSpec") -> set[str]:
    """Hashes of the spec's runs that the folder holds. Raises InputError if it holds another sweep."""
    from ..store import Store
    from ..sweep import SPEC_FILE, adopt, held

    hashes = {run.hash for run in spec.runs()}
    if not folder.exists():
        return set()
    if (folder / SPEC_FILE).exists() and not hashes.issuperset(run.hash for run in held(folder).runs()):
        adopt(folder, spec)  # refuses, in the words of the sweep itself and before it touches anything
    return set(Store(folder).rows(hashes))


def _dry_run(spec: "SweepSpec", folder: Path, workers: int, limit: int | None, json: bool) -> int:
    """What would run: the runs left, the state of every model, and a time from two seconds of training scaled by cost."""
    from ..score import wall_bits

    runs, done = spec.runs(), _done(folder, spec)
    left = [run for run in runs if run.hash not in done]
    now = left[:limit]
    seconds = estimate(now) / max(1, min(workers, len(now)))
    models = {(run.model.mixer, str(dict(run.model.fields)), run.task.cut): run for run in runs}
    if json:
        states = [
            {"mixer": run.model.mixer, "fields": dict(run.model.fields), "cut": run.task.cut, "state_size": _state_size(run)}
            for run in models.values()
        ]
        counts = {"runs": len(runs), "done": len(done), "left": len(left), "now": len(now)}
        print_json({**counts, "seconds": round(seconds, 1), "states": states})
        return 0
    rows = [
        (describe(run).rpartition(" rate")[0], str(run.task.cut), str(_state_size(run)), str(wall_bits(_state_size(run))))
        for run in models.values()
    ]
    print_table(("model", "tokens before the first question", "state size", "state bits"), rows)
    which = f", {len(now)} of them now" if len(now) < len(left) else ""
    print(
        f"{len(runs)} runs, {len(done)} done, {len(left)} left{which}: about {duration(seconds)} on {workers} workers (early stops not counted)"
    )
    return 0


def _state_size(run: "Run") -> int:
    from ..models import state_size

    return state_size(run.model, run.task.cut)


def estimate(runs: "list[Run]") -> float:
    """Seconds on one core, no run stopping early: the step of one run of each mixer is timed, two seconds in all, and scaled by cost."""
    from ..models import model_cost
    from ..train import seconds_per_step

    by_mixer: dict[str, list[Run]] = {}
    for run in runs:
        by_mixer.setdefault(run.model.mixer, []).append(run)

    @cache  # a grid has many runs of few models
    def per_sample(model: int, length: int, answers: int) -> float:
        return float(model_cost(models[model], length, answers).flops)

    models = {id(run.model): run.model for run in runs}

    def flops(run: "Run") -> float:
        return per_sample(id(run.model), run.task.length, run.task.answers) * run.budget.batch

    total = 0.0
    for group in by_mixer.values():
        sample = sorted(group, key=flops)[len(group) // 2]
        pace = seconds_per_step(sample, 2.0 / len(by_mixer)) / flops(sample)
        total += sum(pace * flops(run) * steps_worth(run.budget) for run in group)
    return total


def steps_worth(budget: "Budget") -> float:
    """What a run costs in training steps: those it makes, and every look at validation and the test, whose samples go forward only.

    A forward pass is a third of a step, since the backward pass is two of them.
    """
    looks = 1 + math.ceil(budget.steps / budget.check_every)  # the first is before the first step
    return budget.steps + (looks * budget.validation + budget.test) / (3 * budget.batch)
