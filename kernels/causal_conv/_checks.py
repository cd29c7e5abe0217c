"""What the convolution and its step ask of their arguments."""

import torch
from torch import Tensor


def check_conv(x: Tensor, weight: Tensor, bias: Tensor | None, tail: Tensor | None, activation: str | None) -> None:
    """Raises ValueError, naming the argument, unless shapes and dtypes fit and the activation is one there is.

    x and the tail share a floating dtype; weight and bias have that one, or float32 where x has fewer bits.
    """
    if activation not in (None, "silu"):
        raise ValueError(f"activation must be 'silu' or None, got {activation!r}")
    if x.ndim != 3 or weight.ndim != 2 or weight.shape[1] < 1:
        raise ValueError(f"x must be [batch, length, channels], weight [channels, taps >= 1], got {tuple(x.shape)}, {tuple(weight.shape)}")
    batch, _, channels = x.shape
    parameters = (x.dtype, torch.promote_types(x.dtype, torch.float32))
    for name, tensor, shape, dtypes in (
        ("weight", weight, (channels, weight.shape[1]), parameters),
        ("bias", bias, (channels,), parameters),
        ("tail", tail, (batch, channels, weight.shape[1] - 1), (x.dtype,)),
    ):
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
        if tensor is not None and (tensor.dtype not in dtypes or not x.is_floating_point()):
            raise ValueError(f"{name} must have a floating dtype that goes with x's {x.dtype}, got {tensor.dtype}")
