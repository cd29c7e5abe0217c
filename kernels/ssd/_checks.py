"""What the operators of this folder ask of their arguments."""

from torch import Tensor


def check_scan(x: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, initial_state: Tensor | None, chunk: int) -> None:
    """Raises ValueError unless shapes and dtypes fit: heads a multiple of groups, x, B and C of one floating dtype, chunk at least 1."""
    if x.ndim != 4 or min(x.shape[2:]) < 1:
        raise ValueError(f"x must have the axes batch, length, heads, head width, the last two at least 1, got shape {tuple(x.shape)}")
    if log_decay.shape != x.shape[:3]:
        raise ValueError(f"log_decay (or dt) must have x's batch, length and heads {tuple(x.shape[:3])}, got {tuple(log_decay.shape)}")
    if B.ndim != 4 or B.shape[:2] != x.shape[:2] or min(B.shape[2:]) < 1 or x.shape[2] % B.shape[2]:
        raise ValueError(
            f"B must have x's batch and length {tuple(x.shape[:2])}, groups that divide its {x.shape[2]} heads and a state of at least 1, "
            f"got {tuple(B.shape)}"
        )
    if C.shape != B.shape:
        raise ValueError(f"C must have B's shape {tuple(B.shape)}, got {tuple(C.shape)}")
    if not x.is_floating_point() or not x.dtype == B.dtype == C.dtype:
        raise ValueError(f"x, B and C must share one floating dtype, got {x.dtype}, {B.dtype}, {C.dtype}")
    states = (x.shape[0], *x.shape[2:], B.shape[3])
    if initial_state is not None and initial_state.shape != states:
        raise ValueError(f"initial_state must have batch, heads, head width and state {states}, got {tuple(initial_state.shape)}")
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 token, got {chunk}")


def check_per_head(x: Tensor, **given: Tensor | None) -> None:
    """Raises ValueError, by name, for what is given and is not a number a head; D may be one a channel of a head."""
    for name, tensor in given.items():
        fitting = [tuple(x.shape[2:3]), *([tuple(x.shape[2:])] if name == "D" else [])]
        if tensor is not None and tensor.shape not in fitting:
            raise ValueError(f"{name} must have shape {' or '.join(map(str, fitting))}, got {tuple(tensor.shape)}")
