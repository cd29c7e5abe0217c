"""What a reproduction is: tables with ours beside the published, and what may be read from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Table(NamedTuple):
    """For people."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A published figure or table with ours beside it."""

    data: dict[str, Any]
    """for programs"""
    tables: Sequence[Table]
    says: Sequence[str]
    """what may be read from it, in sentences"""
