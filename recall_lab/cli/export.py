"""`recall-lab export`: all rows as one file for other tools."""

from pathlib import Path
from typing import Literal


def export(folder: Path, /, *, format: Literal["parquet", "csv"] = "parquet") -> int:
    """Write every finished run of a sweep as one row of a parquet or CSV file, and print the file's path."""
    from ..store import Store
    from ..sweep import held

    rows = Store(folder).rows(run.hash for run in held(folder).runs())
    print(Store(folder).compact(rows, format))
    return 0
