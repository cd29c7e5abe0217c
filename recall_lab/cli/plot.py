"""`recall-lab plot`: the figures of a sweep."""

from pathlib import Path

from .options import Json


def plot(folder: Path, /, *, out: Path | None = None, json: Json = False) -> int:
    """Draw the figures of a sweep.

    Each as PNG and SVG, beside the CSV from which it was drawn; prints their paths.

    Args:
        folder: results of a sweep
        out: where the figures go; into the results folder unless told otherwise

    """
    from ..errors import InputError
    from ..plots import draw_all
    from ..report import report
    from .printing import print_json

    found = report(folder)
    if not found.points:
        raise InputError(f"{folder} has no finished run yet")
    paths = draw_all(found, out or folder, f"recall-lab plot {folder}")
    if json:
        print_json([str(path) for path in paths])
    else:
        print("\n".join(map(str, paths)))
    return 0
