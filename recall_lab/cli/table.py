"""`recall-lab table`: numbers with their spread, controls and certified bits."""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError
from .options import Json
from .printing import print_json, print_table


def table(folder: Path, /, *, format: Literal["text", "md", "csv", "json"] = "text", json: Json = False) -> int:
    """Print what a sweep found.

    Accuracy over seeds, theory and controls beside it, certified bits; then the capacity of every model, and what it says in a sentence.

    Args:
        folder: results of a sweep
        format: text for people, md for markdown, csv for the points only, json for everything

    """
    from .. import context_use
    from ..capacity import capacity_row, point_row
    from ..report import COLUMNS, markdown, percent, report, table_rows

    found = report(folder)
    if json or format == "json":
        print_json(found.to_dict())
        return 0
    if not found.points:
        raise InputError(f"{folder} has no finished run yet")
    if format == "csv":
        rows = [flat(point_row(point)) for point in found.points]
        writer = csv.DictWriter(sys.stdout, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
        return 0
    if found.progress:
        print(found.progress + ("\n" if format == "md" else ""))

    def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        if format == "md":
            print(markdown(columns, rows) + "\n")
        else:
            print_table(columns, rows)

    print_rows(COLUMNS, table_rows(found.points))
    capacities = [capacity_row(capacity) for capacity in found.capacities]
    rows_text = [
        (
            str(row["mixer"]),
            ("≥ " if row["saturated"] else "") + f"{row['capacity']:.2f} ({row['capacity_low']:.2f}–{row['capacity_high']:.2f})",
            str(row["state_bits"]),
            percent(row["efficiency"]),
            "–" if row["largest_at_90"] is None else f"{row['largest_at_90']:.1f}",
        )
        for row in capacities
    ]
    columns = ("mixer", "capacity [bits]", "state bits", "of state", "answers held at accuracy 0.9")
    print_rows(columns, rows_text)
    if found.context_use:
        print_rows(context_use.COLUMNS, context_use.table_rows(found.context_use))
        print("".join(f"{row.label}, {row.task}: {row.says}.\n" for row in found.context_use))
    print(found.says)
    return 0


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """{"a": {"b": 1}, "c": 2} -> {"a.b": 1, "c": 2}: a cell holds one thing."""
    cells: dict[str, Any] = {}
    for name, entry in row.items():
        cells |= {f"{name}.{key}": value for key, value in entry.items()} if isinstance(entry, Mapping) else {name: entry}
    return cells
