"""What the scan and its step ask of their arguments."""

import torch
from torch import Tensor


def check_scan(axes: tuple[str, ...], u: Tensor, A: Tensor, **others: Tensor | None) -> None:
    """Raises ValueError, naming the argument, unless shapes and dtypes fit u's, whose axes are `axes`: batch first and channel last.

    What is given per token has u's floating dtype; parameters and the state have that one, or float32 where u has fewer bits.
    """
    if u.ndim != len(axes) or u.shape[-1] < 1:
        raise ValueError(f"u must have the axes {', '.join(axes)}, the last at least 1 wide, got shape {tuple(u.shape)}")
    if A.ndim != 2 or A.shape[1] < 1:
        raise ValueError(f"A must have the axes channel and state, the last at least 1 wide, got shape {tuple(A.shape)}")
    channels, states = u.shape[-1], A.shape[1]
    shared = (*u.shape[:-1], states)
    per_token = {"u": tuple(u.shape), "dt": tuple(u.shape), "B": shared, "C": shared, "z": tuple(u.shape)}
    kept = {"A": (channels, states), "D": (channels,), "dt_bias": (channels,), "state": (u.shape[0], channels, states)}
    for name, tensor in {"u": u, "A": A, **others}.items():
        if tensor is None:
            continue
        shape = per_token.get(name) or kept[name.removeprefix("initial_")]
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must have shape {shape} to fit u and A, got {tuple(tensor.shape)}")
        dtypes = (u.dtype,) if name in per_token else (u.dtype, torch.promote_types(u.dtype, torch.float32))
        if tensor.dtype not in dtypes or not tensor.is_floating_point():
            raise ValueError(f"{name} must have a floating dtype that goes with u's {u.dtype}, got {tensor.dtype}")
