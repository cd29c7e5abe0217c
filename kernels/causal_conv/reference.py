"""Causal convolution by its definition: every tap times the tokens it meets."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def causal_conv(
    x: Float[Tensor, "batch length channels"],
    weight: Float[Tensor, "channels taps"],
    bias: Float[Tensor, " channels"] | None,
    activation: Literal["silu"] | None,
    tail: Float[Tensor, "batch channels taps-1"],
) -> Float[Tensor, "batch length channels"]:
    """y_t = f(bias + sum_j weight_j x_{t-taps+1+j}) with x_{-1}, x_{-2}, ... from the tail, in the dtype given."""
    length, padded = x.shape[1], torch.cat([tail.mT, x], dim=1)
    y = torch.zeros_like(x) if bias is None else bias.expand(x.shape)
    for j, tap in enumerate(weight.unbind(1)):
        y = y + tap * padded[:, j : j + length]
    return (F.silu(y) if activation == "silu" else y).to(x.dtype)
