"""SSD by its definition: one state a head, token by token."""

import torch
from jaxtyping import Float
from torch import Tensor


def step(
    x: Float[Tensor, "batch heads head_width"],
    log_decay: Float[Tensor, "batch heads"],
    B: Float[Tensor, "batch groups state"],
    C: Float[Tensor, "batch groups state"],
    state: Float[Tensor, "batch heads head_width state"],
) -> tuple[Float[Tensor, "batch heads head_width"], Float[Tensor, "batch heads head_width state"]]:
    """y_t and s_t from s_{t-1}: s_t = exp(log_decay_t) s_{t-1} + x_t B_t^T, y_t = s_t C_t (arXiv:2405.21060, eq. 2)."""
    group_heads = x.shape[1] // B.shape[1]
    # [batch, heads, 1, state]: of one group a view, where torch.repeat_interleave would copy
    B, C = (shared.unsqueeze(2).expand(-1, -1, group_heads, -1).flatten(1, 2).unsqueeze(2) for shared in (B, C))
    state = log_decay.exp()[..., None, None] * state + x.unsqueeze(-1) * B
    return (state * C).sum(dim=-1), state


def ssd_scan(
    x: Float[Tensor, "batch length heads head_width"],
    log_decay: Float[Tensor, "batch length heads"],
    B: Float[Tensor, "batch length groups state"],
    C: Float[Tensor, "batch length groups state"],
    initial_state: Float[Tensor, "batch heads head_width state"],
    _chunk: int,
) -> tuple[Float[Tensor, "batch length heads head_width"], Float[Tensor, "batch heads head_width state"]]:
    """Every y_t and the last state, in the dtypes given; `_chunk` is what the other bodies take, and changes nothing."""
    state, outputs = initial_state, [x[:, :0]]  # so that there is something to join where the length is 0
    for t in range(x.shape[1]):
        y_t, state = step(x[:, t], log_decay[:, t], B[:, t], C[:, t], state)
        outputs.append(y_t[:, None])
    return torch.cat(outputs, dim=1), state
