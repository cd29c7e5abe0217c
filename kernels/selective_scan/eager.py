"""The selective scan in plain PyTorch: slabs of 16 tokens, whose states are computed again for the gradient.

Autograd through a loop over tokens would keep every state, and a parallel scan would pass over all of them 2 log2(length) times. Here a
slab's states live in a workspace, filled in place token by token, and only the state before every slab is kept. With g_t the gradient in
the state h_t, a_t = exp(delta_t A) and x_t = delta_t u_t, the backward pass walks the slabs from the last to the first:

    g_t = C_t dy_t + a_{t+1} g_{t+1},   dC_t = sum_e h_t dy_t,   dB_t = sum_e g_t x_t,   dx_t = sum_n g_t B_t
    w_t = g_t a_t h_{t-1},   dA = sum_t w_t delta_t,   ddelta_t = sum_n w_t A + dx_t u_t,   du_t = dx_t delta_t

e counts channels, n states of a channel. Nothing is divided by a_t, which may be 0. Workspaces are `[time, batch, channel, state]`, so that
a token's part is one block of memory.
"""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from . import _around as around
from ._around import SLAB


class _Slab(NamedTuple):
    """The part of the inputs that belongs to a slab, time first, in the dtype of the state."""

    u: Tensor
    delta: Tensor
    B: Tensor
    C: Tensor


def _time_first(x: Tensor, window: slice, dtype: torch.dtype) -> Tensor:
    return x[:, window].transpose(0, 1).to(dtype, memory_format=torch.contiguous_format)


def _batch_first(x: Tensor) -> Tensor:
    return x.transpose(0, 1)


def _slab(window: slice, dtype: torch.dtype, inputs: Iterable[Tensor]) -> _Slab:
    return _Slab(*(_time_first(x, window, dtype) for x in inputs))


def _windows(length: int) -> list[slice]:
    return [slice(start, min(start + SLAB, length)) for start in range(0, length, SLAB)]


def _fill(slab: _Slab, A: Tensor, before: Tensor, decay: Tensor, states: Tensor) -> None:
    """Writes a_t to `decay` and h_t to `states`; `before` is the state before the slab."""
    torch.mul(slab.delta[..., None], A, out=decay).exp_()
    torch.mul((slab.delta * slab.u)[..., None], slab.B[:, :, None], out=states)
    for a, state in zip(decay.unbind(), states.unbind(), strict=True):
        before = state.addcmul_(a, before)


@torch.library.custom_op("recall_lab::selective_scan_fwd", mutates_args=())
def forward(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, keep_edges: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Gives y, the final state, and if asked the state before every slab (else none), all in the dtype that delta, A and state share."""
    windows = _windows(u.shape[1])
    y, state = delta.new_empty(u.shape), state.clone(memory_format=torch.contiguous_format)
    edges = state.new_empty((len(windows) if keep_edges else 0, *state.shape))
    workspaces = state.new_empty((2, min(SLAB, u.shape[1]), *state.shape))
    for k, window in enumerate(windows):
        if keep_edges:
            edges[k] = state
        decay, states = workspaces[:, : window.stop - window.start]
        slab = _slab(window, state.dtype, (u, delta, B, C))
        _fill(slab, A, state, decay, states)
        state.copy_(states[-1])
        y[:, window] = _batch_first(_over_states(states, slab.C[:, :, None]))
    return y, state, edges


@torch.library.custom_op("recall_lab::selective_scan_bwd", mutates_args=())
def backward(
    grad_y: Tensor, grad_state: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, edges: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients in u, delta, A, B, C and the initial state, given those in y and the final state."""
    windows = _windows(u.shape[1])
    assert len(windows) == len(edges), "the forward pass kept no states"
    grad_u, grad_delta, grad_B, grad_C = (x.new_empty(x.shape) for x in (u, delta, B, C))
    grad_A, lost = (A.new_zeros(A.shape) for _ in range(2))
    grad = grad_state.clone(memory_format=torch.contiguous_format)  # in the state after the slab, then in the one before
    workspaces = grad.new_empty((3, min(SLAB, u.shape[1]), *grad.shape))
    for edge, window in zip(reversed(edges.unbind()), reversed(windows), strict=True):
        decay, states, grads = workspaces[:, : window.stop - window.start]
        slab = _slab(window, grad.dtype, (u, delta, B, C))
        _fill(slab, A, edge, decay, states)
        dy = _time_first(grad_y, window, grad.dtype)
        _fill_grads(dy, slab.C, decay, grad, grads)
        torch.mul(decay[0], grads[0], out=grad)
        grad_C[:, window] = _batch_first((dy[..., None, :] @ states).squeeze(-2))
        grad_B[:, window] = _batch_first(((slab.delta * slab.u)[..., None, :] @ grads).squeeze(-2))
        grad_exponent = decay.mul_(grads)  # w_t
        grad_exponent[0].mul_(edge)
        grad_exponent[1:].mul_(states[:-1])
        grad_x = _over_states(grads, slab.B[:, :, None])
        grad_u[:, window] = _batch_first(grad_x * slab.delta)
        torch.mul(grad_exponent, slab.delta[..., None], out=states)
        _add(grad_A, lost, states.sum(dim=(0, 1)))
        grad_delta[:, window] = _batch_first(_over_states(grad_exponent, A).addcmul_(grad_x, slab.u))
    return grad_u, grad_delta, grad_A, grad_B, grad_C, grad


def _over_states(x: Tensor, factor: Tensor) -> Tensor:
    """sum_n x factor, written over x: with so few states twice as fast on a CPU as a batch of matrix-vector products."""
    return x.mul_(factor) @ x.new_ones(x.shape[-1])


def _add(total: Tensor, lost: Tensor, part: Tensor) -> None:
    """Adds a slab's part to the total, and what rounding took from it to the next part (Kahan): slabs are thousands, and one sum."""
    part -= lost
    before = total.clone()
    total += part
    torch.sub(total, before, out=lost).sub_(part)


def _fill_grads(dy: Tensor, C: Tensor, decay: Tensor, after: Tensor, grads: Tensor) -> None:
    """Writes g_t to `grads`; `after` is what reaches the slab's last state from behind it."""
    torch.mul(dy[..., None], C[:, :, None], out=grads)
    each = grads.unbind()
    each[-1].add_(after)
    later = zip(decay[1:].unbind(), each[1:], strict=True)
    for grad, (a, grad_after) in zip(reversed(each[:-1]), reversed(list(later)), strict=True):
        grad.addcmul_(a, grad_after)


around.register(forward, backward)

selective_scan = partial(around.selective_scan, forward)
"""Outputs, and the state after the last token, of the arguments of `_around.selective_scan` after the first."""
