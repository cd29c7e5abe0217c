"""Everything that has a name, by kind: what `ls` lists and `show` finds."""

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from . import kernels
from .models import MIXERS, mixer_class
from .sweep import SweepSpec, parse, shipped
from .tasks import TASKS
from .theory import CLAIMS, Claim


def _kernels() -> dict[str, FunctionType]:
    return {name: getattr(kernels, name) for name in kernels.OPERATORS}


CATALOGUE: dict[str, Callable[[], Mapping[str, Any]]] = {
    "tasks": lambda: TASKS,
    "mixers": lambda: {name: mixer_class(name) for name in MIXERS},
    "kernels": _kernels,
    "claims": lambda: CLAIMS,
    "sweeps": lambda: {name: parse(text, name) for name, text in shipped().items()},
}
"""kind to what there is of it, by name; looked up when asked for, since some kinds take seconds to import"""


def first_line(thing: Any) -> str:
    """What a thing is, in a line."""
    if isinstance(thing, Claim):
        return thing.statement
    if isinstance(thing, SweepSpec):
        return thing.about
    return (inspect.getdoc(thing) or "").partition("\n")[0]
