"""`recall-lab show`: one thing whole."""

from typing import Any

from .options import Json, Texts
from .printing import print_json, print_table

LENGTHS = (64, 256, 1024, 4096)
"""sequence lengths at which a mixer's state and cost are told"""


def show(name: str, /, *, set: Texts | None = None, json: Json = False) -> int:
    """Show one of these whole.

    A task with a sample and its oracle's answers, a mixer with its state and cost by length, a claim with its source, a kernel or a sweep.
    Where several kinds have the name, each of them; as JSON, a list then.

    Args:
        name: anything that ls lists, or the import path of your own mixer
        set: a field of the task or mixer, as pairs=4 or width=32; may be repeated

    """
    from ..catalogue import CATALOGUE
    from ..errors import InputError, choose
    from ..loading import parse_setting

    fields = dict(map(parse_setting, set or []))
    things: dict[str, dict[str, Any]] = {}
    for kind, named in CATALOGUE.items():
        for each, thing in named().items():
            things.setdefault(each, {})[kind] = thing
    kinds = {"mixers": None} if ":" in name else choose("task, mixer, kernel, claim or sweep", name, things)
    if fields and not {"tasks", "mixers"} & kinds.keys():
        raise InputError(f"--set is for tasks and mixers; {name} is one of the {' and '.join(kinds)}")
    shown = [_shown(kind, name, thing, fields) for kind, thing in kinds.items()]
    if json:
        print_json(shown if len(shown) > 1 else shown[0])
        return 0
    for number, described in enumerate(shown):
        if number:
            print()
        _print(described)
    return 0


def _shown(kind: str, name: str, thing: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """What there is to say of a thing: single values, and lists of records where there is a table."""
    if kind == "tasks":
        return _task(name, thing, fields)
    if kind == "mixers":
        return _mixer(name, fields)
    plain = {"claims": _claim, "kernels": _kernel, "sweeps": _sweep}
    return plain[kind](name, thing)


def _print(shown: dict[str, Any]) -> None:
    """For people: a line for a value, a table for records."""
    for key, value in shown.items():
        if isinstance(value, list):
            print(f"{key}:")
            columns = [name.replace("_", " ") for name in value[0]]
            print_table(columns, [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row.values()] for row in value])
        else:
            print(f"{key}: {value}")


def _task(name: str, kind: Any, fields: dict[str, Any]) -> dict[str, Any]:
    from ..catalogue import first_line
    from ..run import task_from
    from ..tasks import IGNORE, Stream

    task = task_from({"name": name, **fields})
    tokens = task.sample(Stream(0, "train"), 0, 1).tokens
    targets = task.solve(tokens)[0]
    oracle = [
        {"position": int(at), "asked": task.token_name(int(tokens[0, at])), "answer": task.token_name(int(targets[at]))}
        for at in (targets != IGNORE).nonzero()[0]
    ]
    return {
        "task": f"{name}: {first_line(kind)}",
        "fields": task.to_dict(),
        "length": task.length,
        "vocabulary": task.vocab_size,
        "answers": f"{task.answers} of {task.values} values, {task.answer_bits:.2f} bits to be held after {task.cut} tokens",
        "controls": {strategy: round(accuracy, 4) for strategy, accuracy in task.controls().items()},
        "sample": task.describe(tokens[0]),
        "oracle": oracle,
    }


def _mixer(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict

    from ..models import mixer_class
    from ..run import mixer_config_from

    config = mixer_config_from(name, fields)
    mixer = mixer_class(name)(config)
    costs = {length: mixer.cost(length) for length in LENGTHS}
    return {
        "mixer": f"{name}: {mixer.__doc__}",
        "fields": asdict(config),
        "reads": ", ".join(sorted(mixer.patterns)),
        "parameters": sum(weight.numel() for weight in mixer.parameters()),
        "cost": [
            {"length": length, "state_size": mixer.state_size(length), "flops": float(cost.flops), "bytes": float(cost.bytes)}
            for length, cost in costs.items()
        ],
    }


def _claim(name: str, claim: Any) -> dict[str, Any]:
    return {
        "claim": name,
        "statement": claim.statement,
        "source": claim.source,
        "standing": claim.standing,
        "check": f"recall-lab verify {name}",
    }


def _kernel(name: str, operator: Any) -> dict[str, Any]:
    import inspect

    return {"kernel": f"{name}{inspect.signature(operator)}", "about": inspect.getdoc(operator)}


def _sweep(name: str, spec: Any) -> dict[str, Any]:
    return {"sweep": name, "about": spec.about, "runs": len(spec.runs()), "file": "\n" + spec.to_toml()}
