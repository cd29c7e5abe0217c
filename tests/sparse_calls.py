"""Calls of sparse attention for tests: a pattern told by plain values, its tensors, and what a body makes of them."""

from dataclasses import dataclass, field
from unittest.mock import patch

import torch
from heads import ORDERS, Heads
from hypothesis import strategies as st
from torch import Tensor

from recall_lab.kernels import (
    Backend,
    Dilated,
    Pattern,
    Sink,
    Strided,
    Union,
    Window,
    bin_ranges,
    causal_topk,
    sparse_attention,
)
from recall_lab.kernels.sparse_attention import eager, tiles

LENGTHS = (0, 1, 2, 63, 64, 65, 129, 257)
"""about the sides of tiles"""
FIXED = {"window": Window, "sink": Sink, "dilated": Dilated, "strided": Strided}
"""patterns that do not look at the sequence"""
NAMES = (*FIXED, "topk", "ranges")
BODIES: dict[str, tuple[Backend, int]] = {
    "reference": ("reference", 0),
    "dense": ("eager", 10**9),
    "tiles": ("eager", -1),
    "triton": ("triton", 0),
}
"""a backend, and the longest sequence that its eager body attends to densely"""


@dataclass(frozen=True, kw_only=True)
class Sparse:
    """Parts are a name and a size: a window's, a step, the keys selected, the keys of a bin."""

    parts: tuple[tuple[str, int], ...] = (("topk", 5), ("ranges", 4))
    levels: int = 1000
    """different scores; few make ties"""
    bins: int = 4
    apart: bool = False
    """queries and keys in different bins, so that none match"""
    heads: Heads = field(default_factory=Heads)

    def tensors(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """Query, key, value and a gradient for the output."""
        return self.heads.tensors(dtype)

    def scores(self) -> Tensor:
        return self._drawn(self.levels, 1).to(torch.float32)

    def binned(self) -> tuple[Tensor, Tensor]:
        """The bins of queries and of keys."""
        return self._drawn(self.bins, 2), self._drawn(self.bins, 3) + self.apart * self.bins

    def pattern(self) -> Pattern:
        return pattern(self.parts, self.scores(), *self.binned())

    def _drawn(self, below: int, salt: int) -> Tensor:
        shape = (self.heads.length, self.heads.heads, self.heads.batch)  # and so not contiguous when batch comes first
        return torch.randint(below, shape, generator=torch.Generator().manual_seed(8 * self.heads.seed + salt)).permute(2, 1, 0)


def pattern(parts: tuple[tuple[str, int], ...], scores: Tensor, query_bins: Tensor, key_bins: Tensor) -> Pattern:
    """The union of the parts, or the only one."""
    made: list[Pattern] = []
    for name, size in parts:
        if name == "topk":
            made.append(causal_topk(scores, size))
        elif name == "ranges":
            made.append(bin_ranges(query_bins, key_bins, size))
        else:
            made.append(FIXED[name](size))
    return Union(*made) if len(made) > 1 else made[0]


def attend(body: str, *tensors: Tensor, pattern: Pattern) -> tuple[Tensor, Tensor]:
    """Output and log sums by one of BODIES; a few tiles at a time, so that short sequences too are done in several goes."""
    backend, crossover = BODIES[body]
    with patch.object(eager, "CROSSOVER", crossover), patch.object(tiles, "MOST", 1 << 13):
        return sparse_attention(*tensors, pattern, return_log_sum=True, backend=backend)


def outcome(body: str, tensors: list[Tensor], pattern: Pattern) -> dict[str, Tensor]:
    """Output, log sums (0 where -inf), 1 where they are, and the gradients by name of an objective that reads both outputs."""
    *inputs, grad = tensors
    leaves = [x.detach().requires_grad_() for x in inputs]
    out, log_sum = attend(body, *leaves, pattern=pattern)
    nothing = log_sum == -torch.inf
    finite = log_sum.masked_fill(nothing, 0.0)
    found = torch.autograd.grad([out, finite], leaves, [grad, finite.detach().sin()])
    return {"output": out.detach(), "log_sum": finite.detach(), "nothing": nothing.to(out.dtype)} | dict(
        zip(("query", "key", "value"), found, strict=True)
    )


def sparse_calls(max_length: int = LENGTHS[-1]) -> st.SearchStrategy[Sparse]:
    """Every kind of pattern and union, on every kind of shape: none of a batch, one token, sizes beyond the length, one bin, no match, ties."""
    lengths = st.sampled_from([length for length in LENGTHS if length <= max_length]) | st.integers(0, max_length)
    widths = st.integers(1, 9)
    heads = st.builds(
        Heads, batch=st.integers(0, 2), heads=st.integers(1, 2), length=lengths, width=widths, value_width=widths,
        layouts=st.tuples(*[st.sampled_from(sorted(ORDERS))] * 4), seed=st.integers(0, 2**16),
    )  # fmt: skip
    sizes = st.sampled_from([1, 2, 7, 32, 33, 64, 300]) | st.integers(1, 300)
    parts = st.lists(st.tuples(st.sampled_from(NAMES), sizes), min_size=1, max_size=4).map(tuple)
    levels, bins = st.sampled_from([1, 3, 1000]), st.sampled_from([1, 4, 256])
    return st.builds(Sparse, parts=parts, levels=levels, bins=bins, apart=st.booleans(), heads=heads)
