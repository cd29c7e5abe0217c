"""`./lab bench`: every benchmark as one table, kept as results/bench.json. `./lab bench NAME...`: some of them, printed only."""

import importlib
import json
import sys
from pathlib import Path

from recall_lab.cli.printing import print_table, say
from recall_lab.errors import InputError, choose

from .paired import Row

BENCHMARKS = {name: f"{__package__}.{name}" for name in ("data", "kernels", "scan", "sparse", "decode", "training", "engine", "start_up")}
"""modules by name, imported when asked for; each says in its docstring what it compares, and measures by `measure()`"""

KEPT = Path("results/bench.json")


def main(names: list[str]) -> int:
    """Measures, prints, keeps; 2 for a name that is unknown."""
    try:
        chosen = [choose("benchmark", name, BENCHMARKS) for name in names or BENCHMARKS]
    except InputError as error:
        say(f"bench: {error}")
        return 2
    rows: list[Row] = []
    for path in chosen:
        module = importlib.import_module(path)
        say(f"measuring: {(module.__doc__ or '').partition(chr(10))[0]}")
        rows += module.measure()
    print_table(Row._fields, [tuple(map(shown, row)) for row in rows])
    if not names:
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n")
        say(f"kept in {KEPT}")
    return 0


def shown(entry: object) -> str:
    """A cell of the table."""
    if entry is None:
        return ""
    return f"{entry:.4g}" if isinstance(entry, float) else str(entry)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
