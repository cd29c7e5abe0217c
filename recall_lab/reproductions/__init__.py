"""Published figures and tables beside what the lab computes: a module each, by name."""

from collections.abc import Callable
from pathlib import Path

from . import hax_table3
from .reproduction import Reproduction

REPRODUCTIONS: dict[str, Callable[[Path | None], Reproduction]] = {"hax_table3": hax_table3.reproduce}
"""by name; the argument is a results folder of runs of ours to set beside it"""
