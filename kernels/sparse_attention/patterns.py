"""Patterns: which positions a query may see, as values, and the truth about them as a mask."""

from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import torch
from jaxtyping import Bool
from torch import Tensor

from ..bin_ranges.ranges import Ranges
from ..causal_topk.topk import TopK


@dataclass(frozen=True)
class Window:
    """Position i sees the last `size` positions, i - size < j <= i."""

    size: int

    def __post_init__(self) -> None:
        _check_positive("the size of a Window", self.size)


@dataclass(frozen=True)
class Sink:
    """Position i sees the first `size` positions of the sequence, j < size and j <= i."""

    size: int

    def __post_init__(self) -> None:
        _check_positive("the size of a Sink", self.size)


@dataclass(frozen=True)
class Dilated:
    """Position i sees every `step`-th position, the same for every i: j mod step = step - 1 and j <= i. The first step - 1 see nothing."""

    step: int

    def __post_init__(self) -> None:
        _check_positive("the step of Dilated", self.step)


@dataclass(frozen=True)
class Strided:
    """Position i sees every `step`-th position counted from itself: (i - j) mod step = 0 and j <= i."""

    step: int

    def __post_init__(self) -> None:
        _check_positive("the step of Strided", self.step)


Part: TypeAlias = Window | Sink | Dilated | Strided | TopK | Ranges
"""a pattern that is no union"""


@dataclass(frozen=True, init=False)
class Union:
    """Position i sees what it sees by one of the parts or by several, once. A union within a union is spliced into it."""

    parts: tuple[Part, ...]

    def __init__(self, *parts: "Part | Union") -> None:
        """Raises ValueError without parts."""
        if not parts:
            raise ValueError("a Union must have at least one part, got none")
        object.__setattr__(self, "parts", tuple(one for part in parts for one in parts_of(part)))


Pattern: TypeAlias = Part | Union


def parts_of(pattern: Pattern) -> tuple[Part, ...]:
    """The parts of a union, or the pattern itself."""
    return pattern.parts if isinstance(pattern, Union) else (pattern,)


def check_pattern(pattern: Pattern, query: Tensor) -> None:
    """Raises ValueError unless every tensor of the pattern has the batch, heads and length of the query, and is where the query is."""
    for part in parts_of(pattern):
        for name, tensor in _tensors_of(part).items():
            if tensor.shape != query.shape[:3] or tensor.device != query.device:
                raise ValueError(
                    f"{type(part).__name__}.{name} must have query's batch, heads and length {tuple(query.shape[:3])} on {query.device}, "
                    f"got {tuple(tensor.shape)} on {tensor.device}"
                )


def pattern_mask(pattern: Pattern, length: int, *, device: torch.device | None = None) -> Bool[Tensor, "#batch #heads length length"]:
    """Whether position i (row) sees position j (column): the definition of every pattern, length x length numbers of it.

    Batch and heads are those of the pattern's tensors, or 1 where it has none; `device` is theirs, or else the one asked for. No row sees
    what comes after it. A row may see nothing. Raises ValueError for a pattern of another length.
    """
    return reduce(torch.logical_or, (_part_mask(part, length, device) for part in parts_of(pattern)))


def _tensors_of(part: Part) -> dict[str, Tensor]:
    """The tensors of a part by name; none where it does not depend on the sequence."""
    return {name: tensor for name, tensor in vars(part).items() if isinstance(tensor, Tensor)}


def _part_mask(part: Part, length: int, device: torch.device | None) -> Tensor:
    for name, tensor in _tensors_of(part).items():
        if tensor.shape[-1] != length:
            raise ValueError(f"{type(part).__name__}.{name} must be of length {length}, got {tensor.shape[-1]}")
        device = tensor.device
    j = torch.arange(length, device=device)
    i = j[:, None]
    match part:
        case Window(size):
            seen = i - j < size
        case Sink(size):
            seen = j < size
        case Dilated(step):
            seen = j % step == step - 1
        case Strided(step):
            seen = (i - j) % step == 0
        case TopK():
            seen = part.rank[..., None, :] >= part.threshold[..., :, None]
        case Ranges():
            place = part.key_order.argsort(dim=-1)[..., None, :]
            seen = (part.start[..., :, None] <= place) & (place < part.end[..., :, None])
    seen = seen & (j <= i)
    return seen[(None,) * (4 - seen.ndim)]


def _check_positive(what: str, number: int) -> None:
    if number < 1:
        raise ValueError(f"{what} must be at least 1, got {number}")
