"""Errors of the user: one line each, exit code 2. What else goes wrong is ours and keeps its traceback, but for what the system refuses."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class InputError(Exception):
    """What the user gave cannot be used; the message is one line: what is wrong, what is allowed, the nearest valid name."""


def choose(kind: str, name: str, known: Mapping[str, T]) -> T:
    """known[name]; raises InputError with the nearest known name where there is none. `kind` says what is chosen ("mixer")."""
    if name not in known:
        raise InputError(unknown(kind, name, known))
    return known[name]


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One line: what is wrong, the nearest valid name, what is allowed."""
    return f"no {kind} is called {name!r}{hint(name, known)}"


def hint(name: str, known: Iterable[str]) -> str:
    """How a line about an unknown name ends: the nearest valid one, and all there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return (f"; did you mean {near[0]!r}?" if near else "") + f" (known: {', '.join(names)})"
