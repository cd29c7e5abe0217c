"""`recall-lab ls`: what there is, a line each."""

from typing import Literal

from .options import Json
from .printing import print_json, print_table

Kind = Literal["tasks", "mixers", "kernels", "claims", "sweeps"]


def ls(kind: Kind | None = None, /, *, json: Json = False) -> int:
    """List what there is, a line each.

    Args:
        kind: one kind only

    """
    from ..catalogue import CATALOGUE, first_line

    kinds = [kind] if kind else list(CATALOGUE)
    found = {each: {name: first_line(thing) for name, thing in CATALOGUE[each]().items()} for each in kinds}
    if json:
        print_json(found)
        return 0
    print_table(
        ("kind", "name", "what"),
        [(each.removesuffix("s"), name, what) for each, names in found.items() for name, what in sorted(names.items())],
    )
    return 0
