"""What the operators of this folder ask of their arguments."""

import torch
from torch import Tensor


def check_scan(axes: tuple[str, ...], x: Tensor, B: Tensor, C: Tensor, **others: Tensor | None) -> None:
    """Raises ValueError, naming the argument, unless shapes and dtypes fit x's, whose axes are `axes`: batch, heads and head width among them.

    B and C have x's floating dtype; steps, decays, parameters and the state have that one, or float32 where x has fewer bits.
    """
    if x.ndim != len(axes) or min(x.shape[-2:]) < 1:
        raise ValueError(f"x must have the axes {', '.join(axes)}, the last two at least 1 wide, got shape {tuple(x.shape)}")
    *tokens, heads, head_width = x.shape
    _check_shared("x", (*tokens, heads), B, C)
    if not x.is_floating_point() or not x.dtype == B.dtype == C.dtype:
        raise ValueError(f"x, B and C must share one floating dtype, got {x.dtype}, {B.dtype}, {C.dtype}")
    dtypes, step, head = (x.dtype, torch.promote_types(x.dtype, torch.float32)), (*tokens, heads), (heads,)
    fitting: dict[str, list[tuple[int, ...]]] = {"dt": [step], "log_decay": [step], "A": [head], "dt_bias": [head]}
    fitting |= {"D": [head, (heads, head_width)], "state": [(x.shape[0], heads, head_width, B.shape[-1])]}
    for name, tensor in others.items():
        if tensor is None:
            continue
        shapes = fitting[name.removeprefix("initial_")]
        if tuple(tensor.shape) not in shapes:
            raise ValueError(f"{name} must have shape {' or '.join(map(str, shapes))} to fit x and B, got {tuple(tensor.shape)}")
        if tensor.dtype not in dtypes:
            raise ValueError(f"{name} must have a floating dtype that goes with x's {x.dtype}, got {tensor.dtype}")


def check_matrix(dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
    """Raises ValueError, naming the argument, unless dt is `[batch, length, heads]`, the others fit it, and all share one floating dtype."""
    if dt.ndim != 3:
        raise ValueError(f"dt must have the axes batch, length, heads, got shape {tuple(dt.shape)}")
    if A.shape != dt.shape[2:]:
        raise ValueError(f"A must have shape {tuple(dt.shape[2:])} to fit dt, got {tuple(A.shape)}")
    _check_shared("dt", tuple(dt.shape), B, C)
    if not dt.is_floating_point() or not dt.dtype == A.dtype == B.dtype == C.dtype:
        raise ValueError(f"dt, A, B and C must share one floating dtype, got {dt.dtype}, {A.dtype}, {B.dtype}, {C.dtype}")


def check_mask(log_decay: Tensor) -> None:
    """Raises ValueError unless there is an axis of positions and a floating dtype."""
    if log_decay.ndim < 1 or not log_decay.is_floating_point():
        raise ValueError(f"log_decay must have an axis of positions and a floating dtype, got {tuple(log_decay.shape)}, {log_decay.dtype}")


def check_chunk(chunk: int) -> None:
    """Raises ValueError for a chunk without a token."""
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 token, got {chunk}")


def check_limit(limit: tuple[float, float]) -> None:
    """Raises ValueError unless there are numbers between the limits of the step."""
    low, high = limit
    if not low <= high:
        raise ValueError(f"dt_limit must be (low, high) with low <= high, got {limit}")


def _check_shared(name: str, per_head: tuple[int, ...], B: Tensor, C: Tensor) -> None:
    """B and C have `per_head`, the shape of the tensor called `name` without its width, up to the heads, then groups and states."""
    *tokens, heads = per_head
    if B.ndim != len(per_head) + 1 or list(B.shape[:-2]) != tokens or min(B.shape[-2:]) < 1 or heads % B.shape[-2]:
        raise ValueError(
            f"B must begin with {name}'s {tuple(tokens)}, then have groups that divide its {heads} heads and a state of at least 1, "
            f"got {tuple(B.shape)}"
        )
    if C.shape != B.shape:
        raise ValueError(f"C must have B's shape {tuple(B.shape)}, got {tuple(C.shape)}")
