"""`recall-lab show`: one thing whole."""

from typing import Any

from .options import Json, Texts
from .printing import print_json, print_table

LENGTHS = (64, 256, 1024, 4096)
"""sequence lengths at which a mixer's state and cost are told"""


def show(name: str, /, *, set: Texts | None = None, json: Json = False) -> int:
    """Show one of these whole.

    A task with a sample and its oracle's answers, a mixer with its state and cost by length, a claim with its source, a kernel or a sweep.

    Args:
        name: anything that ls lists, or the import path of your own mixer
        set: a field of the task or mixer, as pairs=4 or width=32; may be repeated

    """
    from ..catalogue import CATALOGUE
    from ..errors import InputError, choose
    from ..loading import parse_setting

    fields = dict(map(parse_setting, set or []))
    things = {each: (kind, thing) for kind in CATALOGUE for each, thing in CATALOGUE[kind]().items()}
    kind, thing = ("mixers", None) if ":" in name else choose("task, mixer, kernel, claim or sweep", name, things)
    if kind == "tasks":
        shown = _task(name, thing, fields)
    elif kind == "mixers":
        shown = _mixer(name, fields)
    elif fields:
        raise InputError(f"--set is for tasks and mixers; {name} is one of the {kind}")
    else:
        shown = {"claims": _claim, "kernels": _kernel, "sweeps": _sweep}[kind](name, thing)
    if json:
        print_json({key: value for key, value in shown.items() if key != "tables"})
        return 0
    for key, value in shown.items():
        if key == "tables":
            for columns, rows in value:
                print_table(columns, rows)
        else:
            print(f"{key}: {value}")
    return 0


def _task(name: str, kind: Any, fields: dict[str, Any]) -> dict[str, Any]:
    from ..catalogue import first_line
    from ..run import task_from
    from ..tasks import IGNORE, Stream

    task = task_from({"name": name, **fields})
    tokens = task.sample(Stream(0, "train"), 0, 1).tokens
    targets = task.solve(tokens)[0]
    asked = [(str(at), task.token_name(int(tokens[0, at])), task.token_name(int(targets[at]))) for at in (targets != IGNORE).nonzero()[0]]
    return {
        "task": f"{name}: {first_line(kind)}",
        "fields": task.to_dict(),
        "length": task.length,
        "vocabulary": task.vocab_size,
        "answers": f"{task.answers} of {task.values} values, {task.answer_bits:.2f} bits to be held after {task.cut} tokens",
        "controls": {strategy: round(accuracy, 4) for strategy, accuracy in task.controls().items()},
        "sample": task.describe(tokens[0]),
        "tables": [(("position", "asked", "oracle's answer"), asked)],
    }


def _mixer(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict

    from ..models import mixer_class
    from ..run import mixer_config_from

    config = mixer_config_from(name, fields)
    mixer = mixer_class(name)(config)
    rows = [
        (str(length), str(mixer.state_size(length)), f"{mixer.cost(length).flops:.3g}", f"{mixer.cost(length).bytes:.3g}")
        for length in LENGTHS
    ]
    return {
        "mixer": f"{name}: {mixer.__doc__}",
        "fields": asdict(config),
        "reads": ", ".join(sorted(mixer.patterns)),
        "parameters": sum(weight.numel() for weight in mixer.parameters()),
        "state": {length: mixer.state_size(length) for length in LENGTHS},
        "tables": [(("length", "state size", "flops", "bytes"), rows)],
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
