"""What stands around the two passes in eager and Triton alike: autograd and fake tensors.

Attention to what a pattern holds is two registered operators over rows (entries of a batch x heads) and the parts as `packed` gives them:

    forward(query, key, value, selections, runs, scale) -> out, log_sums
    backward(grad, grad_log_sums, query, key, value, out, log_sums, selections, runs, scale) -> the gradients in query, key, value

out and log_sums are in float32 at least; the gradients have the dtypes of what they are in.
"""

from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef


def register(forward: CustomOpDef, backward: CustomOpDef) -> None:
    """Tells PyTorch what the two return, and that one is the derivative of the other."""

    def differentiate(ctx: Any, grad: Tensor | None, grad_log_sums: Tensor | None) -> tuple[Tensor | None, ...]:
        out, log_sums = ctx.saved_tensors[3:5]
        zero = out.new_zeros(())
        grad = zero.expand(out.shape) if grad is None else grad
        grad_log_sums = zero.expand(log_sums.shape) if grad_log_sums is None else grad_log_sums
        return *backward(grad, grad_log_sums, *ctx.saved_tensors, ctx.scale), None, None, None

    forward.register_fake(_fake_forward)
    backward.register_fake(_fake_backward)
    forward.register_autograd(differentiate, setup_context=_keep)


def _fake_forward(_query: Tensor, _key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(value.dtype, torch.float32)
    return value.new_empty(value.shape, dtype=wide), value.new_empty(value.shape[:2], dtype=wide)


def _fake_backward(_grad: Tensor, _grad_log_sums: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(tensor.new_empty(tensor.shape) for tensor in inputs[:3])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # the log sums are rarely asked for
    *tensors, selections, runs, ctx.scale = inputs
    ctx.save_for_backward(*tensors, *output, selections, runs)
