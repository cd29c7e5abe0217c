"""How verbs print: tables and JSON to stdout, progress to stderr."""

import json
import sys
from collections.abc import Sequence
from typing import Any


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def print_json(content: Any) -> None:
    """For programs."""
    print(to_json(content))


def to_json(content: Any) -> str:
    """As `print_json` prints it."""
    return json.dumps(content, indent=2, ensure_ascii=False)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """For people: as wide as the terminal; into a pipe or file, as wide as it needs."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    if not sys.stdout.isatty():
        console.width = max(1, console.measure(table, options=console.options.update(max_width=sys.maxsize)).maximum)
    console.print(table)


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
