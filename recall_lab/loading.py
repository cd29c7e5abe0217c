"""From tables that people write to frozen values, strictly: the one place where a bad field becomes a one-line error."""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from beartype.door import is_bearable

from .errors import InputError, hint

T = TypeVar("T")


def build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """The dataclass `kind` with the fields of `table`, lists taken for tuples and whole numbers for floats where a field wants them.

    Raises InputError, naming `where` and the field, for an unknown field, a missing one, a wrong type, or a value the class refuses.
    """
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    for name in table:
        if name not in fields:
            raise InputError(unknown_key(name, fields, where))
    given = {name: _fit(value, hints[name]) for name, value in table.items()}
    for name, value in given.items():
        if not _is_a(value, hints[name]):
            raise InputError(f"{where}: {name} must be {type_name(hints[name])}, got {value!r}")
    try:
        return kind(**given)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    except TypeError as error:
        missing = [
            name
            for name, field in fields.items()
            if name not in given and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ]
        if not missing:
            raise
        raise InputError(f"{where}: {', '.join(missing)} must be given") from error


def as_table(entry: object, where: str) -> dict[str, Any]:
    """The entry, which must be a table. Raises InputError that names `where`."""
    if not isinstance(entry, dict):
        raise InputError(f"{where} must be a table, got {entry!r}")
    return entry


def unknown_key(name: str, known: Iterable[str], where: str) -> str:
    """One line: what is wrong, the nearest valid name, what is allowed."""
    return f"{where}: unknown key {name!r}{hint(name, known)}"


def type_name(hint: Any) -> str:
    """A type as a person says it."""
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "left out"}
    if hint in names:
        return names[hint]
    parts, origin = typing.get_args(hint), typing.get_origin(hint)
    if origin is tuple:
        return f"a list, each entry {type_name(parts[0])}" if parts[-1] is Ellipsis else f"a list of {len(parts)}"
    if origin is Mapping:
        return "a table"
    return " or ".join(type_name(part) for part in parts) if parts else str(getattr(hint, "__name__", hint))


def parse_setting(setting: str) -> tuple[str, Any]:
    """`a.b=value` as its path and a TOML value; a value that is no TOML is taken as text."""
    name, equals, text = setting.partition("=")
    if not equals or not name.strip():
        raise InputError(f"--set {setting}: must read table.field=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    return name.strip(), value


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value has a type, to its last entry (beartype looks at one entry of a list, drawn at random); true is no whole number."""
    parts, origin = typing.get_args(hint), typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_a(value, part) for part in parts)
    if origin is tuple and isinstance(value, tuple):
        wanted = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(wanted) == len(value) and all(map(_is_a, value, wanted))
    return is_bearable(value, hint) and not (hint is int and isinstance(value, bool))


def _fit(value: Any, hint: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, int) and not isinstance(value, bool) and hint is float:
        return float(value)
    return value
