"""Attention kernels on a CPU: the windowed and the linear form against what one writes without them, and how each grows with length.

A turn is a forward and a backward pass on the same float32 tensors, one thread; both sides run in this process in turns, each counts its
best turn, and both outputs are compared before anything is timed.
"""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from recall_lab.kernels import linear_attention, softmax_attention

from .paired import Row, growth_exponents, in_turns

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]

LENGTHS = (512, 1024, 2048, 4096)
BATCH, HEADS, WIDTH, WINDOW = 2, 4, 32, 64
LINEAR_GROWTH = 1.15
"""the exponent of length up to which a time counts as linear: calls of fixed cost bend it below 1, caches above"""


def measure() -> list[Row]:
    """A row a length and one for the growth, for each comparison."""
    torch.set_num_threads(1)
    return [
        *compared("softmax_attention in a window / ready mask", windowed, masked),
        *compared("linear_attention / masked scores", chunked, masked_scores),
        *compared("linear_attention / step by step", chunked, step_by_step),
    ]


def windowed(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Ours, WINDOW positions."""
    return softmax_attention(query, key, value, window=WINDOW, backend="eager")


def masked(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """PyTorch's fused attention under the mask of the window, which is made once."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=window_mask(query.shape[2]))


@cache
def window_mask(length: int) -> Tensor:
    """Which positions (columns) a position (row) sees."""
    return torch.ones(length, length, dtype=torch.bool).tril().triu(1 - WINDOW)


def chunked(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Ours."""
    return linear_attention(query, key, value, backend="eager")


def masked_scores(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The definition with its sums exchanged: every score, the mask, the values."""
    return (query @ key.mT).tril() @ value


def step_by_step(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The definition as a recurrence."""
    state = query.new_zeros(*query.shape[:2], query.shape[3], value.shape[3])
    outputs = []
    for q, k, v in zip(query.unbind(2), key.unbind(2), value.unbind(2), strict=True):
        state = state + k[..., :, None] * v[..., None, :]
        outputs.append((q[..., None, :] @ state).squeeze(-2))
    return torch.stack(outputs, dim=2)


def compared(what: str, ours: Attention, other: Attention, turns: int = 5) -> list[Row]:
    """A row a length, and one for the growth of our time over the lengths."""
    pairs = [seconds(ours, other, length, turns) for length in LENGTHS]
    shape = f"batch {BATCH}, {HEADS} heads {WIDTH} wide, float32, forward and backward, 1 thread"
    rows = [Row(f"{what}, length {length}", a, b, b / a, 1.0, shape) for length, (a, b) in zip(LENGTHS, pairs, strict=True)]
    growth, other_growth = growth_exponents(LENGTHS, pairs)
    note = f"time as length^{growth:.2f}, the other's as length^{other_growth:.2f}; ratio = allowed {LINEAR_GROWTH} / ours"
    return [*rows, Row(f"{what}, growth", *pairs[-1], LINEAR_GROWTH / growth, 1.0, note)]


def seconds(ours: Attention, other: Attention, length: int, turns: int) -> tuple[float, float]:
    """Best turn of each on the same tensors. Raises AssertionError where their outputs differ."""
    generator = torch.Generator().manual_seed(length)
    query, key, value, grad = (torch.randn(BATCH, HEADS, length, WIDTH, generator=generator) / WIDTH**0.5 for _ in range(4))
    leaves = [x.requires_grad_() for x in (query, key, value)]
    torch.testing.assert_close(ours(*leaves), other(*leaves), rtol=1e-3, atol=1e-4)
    return in_turns(
        lambda: torch.autograd.grad(ours(*leaves), leaves, grad), lambda: torch.autograd.grad(other(*leaves), leaves, grad), turns
    )
