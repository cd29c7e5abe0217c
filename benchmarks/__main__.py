"""`./lab bench`: every benchmark as one table, kept as results/bench.json."""

import json
from pathlib import Path

from recall_lab.cli.printing import print_table, say

from . import data, kernels


def main() -> None:
    """Measures, prints, keeps."""
    rows = []
    for module in (data, kernels):
        say(f"measuring: {(module.__doc__ or '').partition(chr(10))[0]}")
        rows += module.measure()
    columns = ("what", "ours_s", "other_s", "ratio", "bar", "note")
    print_table(
        columns,
        [
            tuple("" if row[name] is None else f"{row[name]:.4g}" if isinstance(row[name], float) else str(row[name]) for name in columns)
            for row in rows
        ],
    )
    path = Path("results/bench.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n")
    say(f"kept in {path}")


if __name__ == "__main__":
    main()
