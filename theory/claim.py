"""What a claim is: a statement with its source and a check, whose result is evidence that can be printed, drawn and asserted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

Scale = Literal["quick", "full"]
"""how much a check may spend: seconds or minutes"""

Standing = Literal["proved in the source", "reconstructed", "corrected", "new"]
"""reconstructed: the source's proof is incomplete and ours is given; corrected: false as printed, and the statement says what holds"""

Quantity = int | float | np.ndarray
"""one number, or an array of them"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What a check found: it holds iff |measured - predicted| <= tolerance and at_least - tolerance <= measured <= at_most + tolerance.

    Entry by entry, whichever of the three references are given (at least one); they and `tolerance` broadcast to the shape of `measured`.
    A NaN anywhere makes the evidence fail. Raises ValueError without a reference, without an entry or with a negative tolerance.
    """

    quantity: str
    """what was measured, in words, with its unit"""
    measured: Quantity
    predicted: Quantity | None = None
    at_most: Quantity | None = None
    at_least: Quantity | None = None
    tolerance: Quantity = 0.0
    """what rounding, sampling or a stated approximation may cost"""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    """what the picture of this evidence needs besides, by name"""

    def __post_init__(self) -> None:
        if self.predicted is None and self.at_most is None and self.at_least is None:
            raise ValueError(f"evidence on {self.quantity!r} must give predicted, at_most or at_least, got none of them")
        if np.size(self.measured) == 0:
            raise ValueError(f"evidence on {self.quantity!r} must have something measured, got an empty array")
        if np.any(np.asarray(self.tolerance) < 0):
            raise ValueError(f"tolerance must be at least 0, got {self.tolerance}")
        for name in ("predicted", "at_most", "at_least", "tolerance"):
            self._check_shape(name)

    def _check_shape(self, name: str) -> None:
        reference, shape = getattr(self, name), np.shape(self.measured)
        try:
            np.broadcast_to(0.0 if reference is None else reference, shape)
        except ValueError:
            raise ValueError(f"{name} must broadcast to {shape}, the shape of measured, got {np.shape(reference)}") from None

    @property
    def margin(self) -> float:
        """How far the worst entry is inside what the claim allows, in units of the quantity; negative iff the claim fails there."""
        return float(np.min([inside for _, _, inside in self._references()]))

    @property
    def holds(self) -> bool:
        """Whether every entry is where the claim says."""
        return self.margin >= 0

    def summary(self) -> str:
        """One line on the entry that is nearest to failing."""
        references = self._references()
        shape = (len(references), *np.shape(self.measured))
        kind, *entry = np.unravel_index(np.argmin([inside for _, _, inside in references]), shape)
        sign, reference, _ = references[kind]
        at = tuple(entry)
        tolerance = np.broadcast_to(self.tolerance, shape[1:])[at]
        within = f" ± {tolerance:.2g}" if tolerance else ""
        of = f" (tightest of {np.size(self.measured)})" if np.size(self.measured) > 1 else ""
        return f"{np.asarray(self.measured)[at]:.4g} {sign} {reference[at]:.4g}{within}{of}"

    def _references(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """Sign, reference and how far inside it each entry is, for every reference that is given."""
        measured, found = np.asarray(self.measured, dtype=np.float64), []
        for sign, given in (("=", self.predicted), ("<=", self.at_most), (">=", self.at_least)):
            if given is not None:
                reference = np.broadcast_to(np.asarray(given, dtype=np.float64), measured.shape)
                above = measured - reference
                inside = {"=": -np.abs(above), "<=": -above, ">=": above}[sign]
                found.append((sign, reference, np.asarray(inside + self.tolerance)))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON has it: arrays as nested lists, a number that is not finite as None."""
        plain = {name: getattr(self, name) for name in ("measured", "predicted", "at_most", "at_least", "tolerance", "margin")}
        return {
            "quantity": self.quantity,
            "holds": self.holds,
            **{name: None if entry is None else _plain(entry) for name, entry in plain.items()},
            "arrays": {name: _plain(array) for name, array in self.arrays.items()},
        }


@runtime_checkable
class Check(Protocol):
    """A function that looks at the facts; equal scale and seed give equal evidence."""

    def __call__(self, scale: Scale, seed: int) -> Evidence:
        """The facts, found at this expense with this seed of whatever is drawn."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement that can be checked. Defined at the top of a module in this folder, it is found by itself.

    Raises ValueError for a name that is not two words in snake_case joined by a dot, or an unknown standing.
    """

    name: str
    """`family.claim`, where the family is a paper or `recall`"""
    statement: str
    """what holds, for whom, in a sentence or two"""
    source: str
    """paper with the number of theorem or equation; for what is new, what it builds on"""
    standing: Standing
    check: Check

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"the name of a claim must read family.claim in snake_case, got {self.name!r}")
        if self.standing not in get_args(Standing):
            raise ValueError(f"standing must be one of {', '.join(get_args(Standing))}, got {self.standing!r}")


def _plain(entries: Quantity) -> Any:
    plain = np.array(entries, dtype=object)
    plain[~np.isfinite(entries)] = None
    return plain.tolist()
