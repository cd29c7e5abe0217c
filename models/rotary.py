"""Rotary positions: scores that depend on the distance between query and key only."""

import torch
from jaxtyping import Float
from torch import Tensor


def rotate(x: Float[Tensor, "batch heads length d"]) -> Float[Tensor, "batch heads length d"]:
    """Turns the pair (x_i, x_{i+d/2}) at position t by the angle t * 10000^(-2i/d) (arXiv:2104.09864, eq. 34; halves in place of neighbours).

    Rotated queries and keys have products that depend on t - s alone, so positions may be counted from anywhere: here from the first
    of `x`. Raises ValueError if d is odd.
    """
    length, d = x.shape[-2:]
    if d % 2:
        raise ValueError(f"rotary positions turn pairs of features, so a head's width must be even, got {d}")
    frequency = 10000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64, device=x.device) / d)
    angle = torch.arange(length, dtype=torch.float64, device=x.device)[:, None] * frequency
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)
