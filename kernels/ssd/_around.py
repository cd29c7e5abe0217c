"""What stands around the scan in eager and Triton alike: whether states are kept, autograd and fake tensors.

The scan is two registered operators:

    forward(x, log_decay, B, C, initial_state, *chunk, keep) -> y, last state, entering
    backward(grad, grad_state, x, log_decay, B, C, entering, *chunk) -> the gradients in x, log_decay, B, C, initial_state

y and both states have the dtype of `initial_state`. `entering` holds the states that enter the chunks, none where `keep` is false. `chunk`
is the tokens of one, or nothing where the body has a size of its own.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef


def register(forward: CustomOpDef, backward: CustomOpDef, empty_entering: Callable[..., Tensor]) -> None:
    """Tells PyTorch what the two return, and that one is the derivative of the other; `empty_entering(x, initial_state, *chunk, keep)`."""

    def fake_forward(x: Tensor, _log_decay: Tensor, _B: Tensor, _C: Tensor, initial_state: Tensor, *options: Any) -> tuple[Tensor, ...]:
        entering = empty_entering(x, initial_state, *options)
        return initial_state.new_empty(x.shape), initial_state.new_empty(initial_state.shape), entering

    def differentiate(ctx: Any, grad: Tensor | None, grad_state: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
        x, _, B, _, entering = ctx.saved_tensors
        zero = entering.new_zeros(())
        grad = zero.expand(x.shape) if grad is None else grad
        grad_state = zero.expand(x.shape[0], *x.shape[2:], B.shape[3]) if grad_state is None else grad_state
        return *backward(grad, grad_state, *ctx.saved_tensors, *ctx.chunk), *[None] * (len(ctx.chunk) + 1)

    forward.register_fake(fake_forward)
    backward.register_fake(_fake_backward)
    forward.register_autograd(differentiate, setup_context=_keep)


def _fake_backward(_grad: Tensor, grad_state: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return *(tensor.new_empty(tensor.shape) for tensor in inputs[:4]), grad_state.new_empty(grad_state.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # else autograd would make zeros as large as the entering states
    x, log_decay, B, C, _, *ctx.chunk, _ = inputs
    ctx.save_for_backward(x, log_decay, B, C, output[2])


def ssd_scan(forward: Callable[..., tuple[Tensor, Tensor, Tensor]], tensors: tuple[Tensor, ...], *chunk: int) -> tuple[Tensor, Tensor]:
    """Outputs and the last state; entering states are kept only where a gradient may be asked for."""
    y, state, _ = forward(*tensors, *chunk, torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
    return y, state
