"""`recall-lab reproduce`: a published figure or table beside ours."""

from pathlib import Path

from .options import Json
from .printing import print_json, print_table, say


def reproduce(name: str, /, *, runs: Path | None = None, json: Json = False) -> int:
    """Set a published figure or table beside what the lab computes.

    With its controls, with weights set by hand, and with runs of ours where there are some; and what may be read from it, in sentences.

    Args:
        name: hax_table3, accuracy on joint recall in the paper on HAX
        runs: a results folder whose runs to set beside it, as results/hax_reduced

    """
    from ..errors import choose
    from ..reproductions import REPRODUCTIONS

    make = choose("reproduction", name.replace("-", "_"), REPRODUCTIONS)  # hax-table3, as one says it
    say(f"{name}: half a minute, because weights set by hand are judged anew")
    found = make(runs)
    if json:
        print_json(found.data)
        return 0
    for title, columns, rows in found.tables:
        print(title)
        print_table(columns, rows)
    print("\n".join(found.says))
    return 0
