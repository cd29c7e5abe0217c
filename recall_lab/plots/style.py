"""How every figure of the project looks: one colour and one marker a mixer, told apart in grey and by colour-blind readers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import IO, Any, NamedTuple

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ..store import appearing

COLUMN = 8.5 / 2.54
"""width of a journal's column, in inches"""


class Look(NamedTuple):
    """Colour and marker."""

    colour: Any
    marker: str


_PALETTE = sns.color_palette("colorblind")

LOOKS: dict[str, Look] = {
    "attention": Look(_PALETTE[0], "o"),
    "sliding_window": Look(_PALETTE[1], "s"),
    "linear_attention": Look(_PALETTE[2], "^"),
    "mamba": Look(_PALETTE[3], "D"),
    "mamba2": Look(_PALETTE[4], "v"),
    "hax": Look(_PALETTE[9], "p"),
    "hax_mamba": Look(_PALETTE[8], "h"),
    "sparse": Look(_PALETTE[5], "*"),
}
"""by mixer, the same in every figure"""

OTHERS = [Look(_PALETTE[6], "X"), Look(_PALETTE[5], "P"), Look(_PALETTE[1], "<")]
"""for mixers from elsewhere, in the order in which a figure meets them"""

THEORY: dict[str, Any] = {"color": "0.45", "linewidth": 0.8}
CONTROL: dict[str, Any] = {"color": "0.6", "linewidth": 0.8, "linestyle": ":"}


def looks(mixers: list[str]) -> Mapping[str, Look]:
    """A look for each mixer of a figure."""
    others = cycle(OTHERS)
    return {mixer: LOOKS.get(mixer) or next(others) for mixer in dict.fromkeys(mixers)}


@contextmanager
def style() -> Iterator[None]:
    """The settings under which figures are drawn; the caller's own are left as they were."""
    settings: Any = {
        "font.size": 7,
        "axes.titlesize": 7,
        "axes.labelsize": 7,
        "xtick.labelsize": 6,
        "ytick.labelsize": 6,
        "legend.fontsize": 6,
        "lines.markersize": 4,
        "hatch.linewidth": 0.4,
        "svg.hashsalt": "recall-lab",  # the same figure gives the same file
        "figure.constrained_layout.use": True,
    }
    with mpl.rc_context(), sns.axes_style("ticks"), mpl.rc_context(settings):
        yield


def save(figure: Figure, data: pd.DataFrame, stem: Path) -> list[Path]:
    """PNG and SVG, and the CSV from which the figure was drawn; each appears whole, whoever else draws it at the same time."""
    writers: dict[str, Callable[[IO[bytes]], object]] = {
        ".png": lambda file: figure.savefig(file, format="png", dpi=200),
        ".svg": lambda file: figure.savefig(file, format="svg", metadata={"Date": None}),
        ".csv": lambda file: data.to_csv(file, index=False),
    }
    for suffix, write in writers.items():
        with appearing(stem.with_suffix(suffix)) as file:
            write(file)
    return [stem.with_suffix(suffix) for suffix in writers]
