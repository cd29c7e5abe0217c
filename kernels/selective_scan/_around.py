"""What stands around the bare scan in eager and Triton alike: the step size before it, D and z after it, autograd and fake tensors.

The bare scan is two registered operators over tensors alone:

    forward(u, delta, A, B, C, state, keep_edges) -> y, final state, edges
    backward(grad_y, grad_state, u, delta, A, B, C, edges) -> the gradients in u, delta, A, B, C, state

delta, A and the states share a dtype, in which all is computed and y returned. The edges `[slab, batch, channel, state]` are the states
before every slab of tokens; a forward pass of which no gradient is wanted keeps none, and its first axis is then 0 long.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef

from .._step_size import step_size
from .reference import finish

SLAB = 16
"""tokens between two states that are kept; on a CPU 32 gained 4 % and doubled the workspaces"""


def register(forward: CustomOpDef, backward: CustomOpDef) -> None:
    """Tells PyTorch what the two return, and that one is the derivative of the other."""

    def differentiate(ctx: Any, grad_y: Tensor | None, grad_state: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
        u, delta, A, B, C, edges = ctx.saved_tensors
        zero = delta.new_zeros(())
        grad_y = zero.expand(u.shape) if grad_y is None else grad_y
        grad_state = zero.expand(edges.shape[1:]) if grad_state is None else grad_state
        return *backward(grad_y, grad_state, u, delta, A, B, C, edges), None

    forward.register_fake(_fake_forward)
    backward.register_fake(_fake_backward)
    forward.register_autograd(differentiate, setup_context=_keep)


def _fake_forward(
    u: Tensor, delta: Tensor, _A: Tensor, _B: Tensor, _C: Tensor, state: Tensor, keep_edges: bool
) -> tuple[Tensor, Tensor, Tensor]:
    slabs = -(-u.shape[1] // SLAB) if keep_edges else 0
    return delta.new_empty(u.shape), state.new_empty(state.shape), state.new_empty((slabs, *state.shape))


def _fake_backward(_grad_y: Tensor, grad_state: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    *tensors, _edges = inputs
    return *(x.new_empty(x.shape) for x in tensors), grad_state.new_empty(grad_state.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # else autograd would make zeros as large as the edges
    ctx.save_for_backward(*inputs[:5], output[2])


def selective_scan(
    forward: Callable[..., tuple[Tensor, Tensor, Tensor]],
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    dt_softplus: bool,
    initial_state: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Outputs, and the state after the last token; all in float32 at least, outputs rounded once. Differentiable once."""
    wide = torch.promote_types(u.dtype, torch.float32)
    delta = step_size(dt.to(wide), dt_bias, dt_softplus)
    state = u.new_zeros((u.shape[0], *A.shape), dtype=wide) if initial_state is None else initial_state.to(wide)
    inputs = (u, delta, A.to(wide), B, C, state)
    y, state, _ = forward(*inputs, torch.is_grad_enabled() and any(x.requires_grad for x in inputs))
    return finish(y, u, D, z).to(u.dtype), state
