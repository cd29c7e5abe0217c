"""Queries, keys and values for tests of attention operators, and what an operator makes of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2.0**-9, torch.bfloat16: 2.0**-7}
"""against float64 from the same (rounded) inputs, relative to the largest entry, or to 1 where all are smaller"""

LENGTHS = (0, 1, 2, 15, 16, 17, 33, 63, 64, 65)
"""about the sides of tiles and chunks"""

ORDERS = {"contiguous": (0, 1, 2, 3), "heads inside": (0, 2, 1, 3), "time outside": (2, 0, 1, 3), "expanded": (0, 1, 2, 3)}
"""axes in the order of memory; "heads inside" comes of splitting [batch, length, heads * width], "expanded" has strides of 0 in time"""


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Shapes and layouts of one call; the numbers follow from `seed`."""

    batch: int = 2
    heads: int = 2
    length: int = 17
    width: int = 4
    value_width: int = 4
    layouts: tuple[str, str, str, str] = ("contiguous",) * 4
    """of query, key, value and of the gradient in the output"""
    seed: int = 0

    def tensors(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> list[Tensor]:
        """Query, key, value and a gradient for the output, standard normal and rounded to `dtype`."""
        generator = torch.Generator().manual_seed(self.seed)
        widths = (self.width, self.width, self.value_width, self.value_width)
        stored = (self._stored(width, layout, generator) for width, layout in zip(widths, self.layouts, strict=True))
        return [self._laid(x.to(device, dtype), layout) for x, layout in zip(stored, self.layouts, strict=True)]

    def _stored(self, width: int, layout: str, generator: torch.Generator) -> Tensor:
        shape = (self.batch, self.heads, 1 if layout == "expanded" else self.length, width)
        return torch.randn([shape[axis] for axis in ORDERS[layout]], generator=generator, dtype=torch.float64)

    def _laid(self, stored: Tensor, layout: str) -> Tensor:
        return stored.permute([ORDERS[layout].index(axis) for axis in range(4)]).expand(-1, -1, self.length, -1)


def heads(max_length: int = LENGTHS[-1]) -> st.SearchStrategy[Heads]:
    """Every kind of shape: none of a batch, one token, odd widths, values wider or narrower than keys, any layout."""
    lengths = st.sampled_from([length for length in LENGTHS if length <= max_length]) | st.integers(0, max_length)
    widths = st.integers(1, 20)
    return st.builds(
        Heads,
        batch=st.integers(0, 2),
        heads=st.integers(1, 2),
        length=lengths,
        width=widths,
        value_width=widths,
        layouts=st.tuples(*[st.sampled_from(sorted(ORDERS))] * 4),
        seed=st.integers(0, 2**16),
    )


def outcome(attention: Attention, tensors: Sequence[Tensor], wanted: Sequence[bool] = (True, True, True)) -> dict[str, Tensor]:
    """The output and the gradients, by name, of those inputs where one is `wanted`."""
    *inputs, grad = tensors
    leaves = [x.detach().requires_grad_(want) for x, want in zip(inputs, wanted, strict=True)]
    out = attention(*leaves)
    named = {name: leaf for name, leaf in zip(("query", "key", "value"), leaves, strict=True) if leaf.requires_grad}
    return {"output": out.detach(), **dict(zip(named, torch.autograd.grad(out, list(named.values()), grad), strict=True))}


def assert_close(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float) -> None:
    """Output and gradients agree, each named where it does not."""
    assert got.keys() <= want.keys()
    for name, tensor in got.items():
        assert tensor.shape == want[name].shape, name
        unit = max(1.0, want[name].abs().max().item()) if tensor.numel() else 1.0
        error = (tensor.double() - want[name].double()).abs().max().item() / unit if tensor.numel() else 0.0
        assert error <= tolerance, f"{name}: {error:.1e} > {tolerance:.1e}"
