"""Errors of the user: one line each, exit code 2. Everything else that goes wrong is ours and keeps its traceback."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class InputError(Exception):
    """What the user gave cannot be used; the message is one line: what is wrong, what is allowed, the nearest valid name."""


def choose(kind: str, name: str, known: Mapping[str, T]) -> T:
    """known[name]; raises InputError with the nearest known name where there is none. `kind` says what is chosen ("mixer")."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"no {kind} is called {name!r}{hint} (known: {', '.join(sorted(known))})")
    return known[name]
