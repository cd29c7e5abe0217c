"""`recall-lab export`: all rows as one file for other tools."""

from pathlib import Path
from typing import Literal


def export(folder: Path, /, *, format: Literal["parquet", "csv"] = "parquet") -> int:
    """Write all finished runs to one file, a row each.

    Prints the file's path.

    Args:
        folder: results of a sweep
        format: of the file, which is put into the folder as table.parquet or table.csv

    """
    from ..store import Store
    from ..sweep import held

    rows = Store(folder).rows(run.hash for run in held(folder).runs())
    print(Store(folder).compact(rows, format))
    return 0
