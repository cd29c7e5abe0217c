"""SSD in plain PyTorch: masked attention within a chunk, a state between chunks (arXiv:2405.21060, section 6), and its gradient.

In a chunk that a state S enters, with L the decays between its positions, a_t those up to t and z_s those after s:

    y_t = sum_{s<=t} L_ts (C_t . B_s) x_s + a_t S C_t,    S' = a_last S + sum_s z_s x_s B_s^T

The backward pass keeps the entering states alone, computes a chunk's matrices again, and walks the chunks from the last. Exponents are
sums of log_decay, and so is its gradient: log_decay_r gets the sum of W_ts over s < r <= t, W the gradient in the exponents. As the
difference of row and column sums of W it would lose its digits where decays are mixed.

Inside, the sequences of a group are the rows of a batch, so that its heads share C B^T, and time is axis 2 everywhere. Letters of einsum:
z rows, m heads of a group, t and s positions, p head width, n state. float16 and bfloat16 are computed in float32.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from . import _around as around
from .masked import decay_mask

Heads = Float[Tensor, "rows group_heads length head_width"]
Decays = Float[Tensor, "rows group_heads length"]
Shared = Float[Tensor, "rows 1 length state"]
State = Float[Tensor, "rows group_heads head_width state"]


def ssd_scan(
    x: Float[Tensor, "batch length heads head_width"],
    log_decay: Float[Tensor, "batch length heads"],
    B: Float[Tensor, "batch length groups state"],
    C: Float[Tensor, "batch length groups state"],
    initial_state: Float[Tensor, "batch heads head_width state"],
    chunk: int,
) -> tuple[Float[Tensor, "batch length heads head_width"], Float[Tensor, "batch heads head_width state"]]:
    """The equations above, all in the dtype of `initial_state`."""
    return around.ssd_scan(forward, (x, log_decay, B, C, initial_state), chunk)


@torch.library.custom_op("recall_lab::ssd_scan_fwd", mutates_args=())
def forward(
    x: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, initial_state: Tensor, chunk: int, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gives y, the last state and, if `keep`, the states that enter the chunks."""
    groups, dtype = B.shape[2], initial_state.dtype
    inputs = [_grouped(tensor, groups, dtype) for tensor in (x, log_decay, B, C)]
    state = _rows(initial_state, groups)
    y, entering = torch.empty_like(inputs[0]), _entering(x, initial_state, chunk, keep)
    for index, at in _chunks(x.shape[1], chunk):
        if keep:
            entering[index] = state.reshape(initial_state.shape)
        y[:, :, at], state = _within(state, *(tensor[:, :, at] for tensor in inputs))
    return _ungrouped(y, groups), state.reshape(initial_state.shape).clone(), entering


@torch.library.custom_op("recall_lab::ssd_scan_bwd", mutates_args=())
def backward(
    grad: Tensor, grad_state: Tensor, x: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, entering: Tensor, chunk: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients in x, log_decay, B, C and the initial state, given those in y and the last state."""
    groups, dtype = B.shape[2], entering.dtype
    g_y, *inputs = (_grouped(tensor, groups, dtype) for tensor in (grad, x, log_decay, B, C))
    g_state = _rows(grad_state, groups)
    grads = [torch.empty_like(tensor) for tensor in inputs]
    for index, at in reversed([*_chunks(x.shape[1], chunk)]):
        state = _rows(entering[index], groups)
        *found, g_state = _within_backward(g_y[:, :, at], g_state, state, *(tensor[:, :, at] for tensor in inputs))
        for whole, part in zip(grads, found, strict=True):
            whole[:, :, at] = part
    g_x, g_log_decay, g_B, g_C = (_ungrouped(whole, groups).to(like.dtype) for whole, like in zip(grads, (x, log_decay, B, C), strict=True))
    return g_x, g_log_decay, g_B, g_C, g_state.reshape(grad_state.shape).clone()


def _within(state: State, x: Heads, log_decay: Decays, B: Shared, C: Shared) -> tuple[Heads, State]:
    """y in a chunk, and S'."""
    L, a = decay_mask(log_decay), log_decay.cumsum(dim=2).exp()
    read = torch.einsum("ztn,zmpn->zmtp", C[:, 0], state)
    written = torch.einsum("zmsp,zsn->zmpn", x * L[:, :, -1, :, None], B[:, 0])
    return (C @ B.mT * L) @ x + a[..., None] * read, a[:, :, -1, None, None] * state + written


def _within_backward(
    g_y: Heads, g_state: State, state: State, x: Heads, log_decay: Decays, B: Shared, C: Shared
) -> tuple[Heads, Decays, Shared, Shared, State]:
    """The gradients in x, log_decay, B, C and S, given those in y and S'."""
    L, a = decay_mask(log_decay), log_decay.cumsum(dim=2).exp()
    z, a_last = L[:, :, -1, :, None], a[:, :, -1, None, None]
    scores = C @ B.mT
    g_mixed = g_y @ x.mT * L  # in scores; times scores: in the exponents of L
    g_scores = g_mixed.sum(dim=1, keepdim=True)
    g_written = torch.einsum("zmpn,zsn->zmsp", g_state, B[:, 0]) * z
    g_read = g_y * a[..., None]
    g_x = (scores * L).mT @ g_y + g_written
    g_B = g_scores.mT @ C + torch.einsum("zmsp,zmpn->zsn", x * z, g_state)[:, None]
    g_C = g_scores @ B + torch.einsum("zmtp,zmpn->ztn", g_read, state)[:, None]
    g_entering = a_last * g_state + torch.einsum("zmtp,ztn->zmpn", g_read, C[:, 0])
    in_L = g_mixed * scores
    in_L[:, :, -1] += (g_written * x).sum(dim=-1)
    in_a = (g_read * torch.einsum("ztn,zmpn->zmtp", C[:, 0], state)).sum(dim=-1)
    in_a[:, :, -1] += (a_last * state * g_state).sum(dim=(-1, -2))
    return g_x, _in_decays(in_L, in_a), g_B, g_C, g_entering


def _in_decays(in_L: Float[Tensor, "rows group_heads length length"], in_a: Decays) -> Decays:
    """The gradient in log_decay_r: the sum over t >= r of in_a_t and of in_L_ts with s < r."""
    crossing = in_L.cumsum(dim=3).tril(-1).sum(dim=2)  # at r - 1, since s <= r - 1 < t
    return F.pad(crossing[:, :, :-1], (1, 0)) + in_a.flip(2).cumsum(dim=2).flip(2)


def _chunks(length: int, chunk: int) -> Iterator[tuple[int, slice]]:
    """The chunks by number; the last may be shorter."""
    return enumerate(slice(start, min(start + chunk, length)) for start in range(0, length, chunk))


def _entering(x: Tensor, initial_state: Tensor, chunk: int, keep: bool) -> Tensor:
    return initial_state.new_empty((-(-x.shape[1] // chunk) if keep else 0, *initial_state.shape))


def _grouped(tensor: Tensor, groups: int, dtype: torch.dtype) -> Tensor:
    """`[batch, length, heads, ...]` as `[batch x groups, heads of a group, length, ...]`."""
    return torch.unflatten(tensor.to(dtype), 2, (groups, -1)).movedim(1, 3).flatten(0, 1).contiguous()


def _rows(state: Tensor, groups: int) -> Tensor:
    """`[batch, heads, ...]` as `[batch x groups, heads of a group, ...]`."""
    return torch.unflatten(state, 1, (groups, -1)).flatten(0, 1)


def _ungrouped(tensor: Tensor, groups: int) -> Tensor:
    """`_grouped` undone."""
    return torch.unflatten(tensor, 0, (-1, groups)).movedim(3, 1).flatten(2, 3).contiguous()


around.register(forward, backward, _entering)
