"""Causal depthwise convolution: each channel sees its own last few tokens, and nothing else."""

from typing import Literal, overload

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .._dispatch import Backend, Operator
from . import eager, reference
from ._checks import check_conv


def _triton(x: Tensor, weight: Tensor, bias: Tensor | None, activation: Literal["silu"] | None, tail: Tensor) -> Tensor:
    from . import triton

    return triton.causal_conv(x, weight, bias, activation, tail)


OPERATOR = Operator(name="causal_conv", reference=reference.causal_conv, eager=eager.causal_conv, triton=_triton)


@overload
def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: Literal["silu"] | None = None,
    tail: Tensor | None = None, return_tail: Literal[False] = False, backend: Backend | None = None,
) -> Tensor: ...  # fmt: skip
@overload
def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: Literal["silu"] | None = None,
    tail: Tensor | None = None, return_tail: Literal[True], backend: Backend | None = None,
) -> tuple[Tensor, Tensor]: ...  # fmt: skip
def causal_conv(
    x: Float[Tensor, "batch length channels"],
    weight: Float[Tensor, "channels taps"],
    bias: Float[Tensor, " channels"] | None = None,
    *,
    activation: Literal["silu"] | None = None,
    tail: Float[Tensor, "batch channels taps-1"] | None = None,
    return_tail: bool = False,
    backend: Backend | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """y_t = f(bias + sum_j weight_j x_{t-taps+1+j}), j = 0 .. taps-1, in every channel; f is silu or nothing. The last tap is the present.

    `tail` holds the taps-1 tokens before the first, oldest first (None: zeros); with `return_tail` the same for what comes next is
    returned beside y, so a sequence may be given in pieces, or token by token. Differentiable, the tail too: once in Triton, as often as
    wanted in the others. float32, float16 and bfloat16, the last two with products and sums in float32, where weight and bias may be float32
    as well; float64 as reference and eager. The reference computes in the dtype given.

    Cost: 2 taps floating-point operations a token and channel, and twice that again for the gradient (three times in Triton with silu,
    before which it computes the sums again). Bytes of one padded copy of x; in Triton x and y once, and for the gradient both again with
    one float32 copy of y.

    Raises ValueError for shapes or dtypes that do not fit or another activation, and BackendUnavailable where `backend` cannot run.
    """
    check_conv(x, weight, bias, tail, activation)
    if tail is None:
        tail = x.new_zeros(x.shape[0], x.shape[2], weight.shape[1] - 1)
    tensors = [tensor for tensor in (x, weight, bias, tail) if tensor is not None]
    y = OPERATOR.body(tensors, backend)(x, weight, bias, activation, tail)
    return (y, _next_tail(x, tail)) if return_tail else y


def causal_conv_step(
    tail: Float[Tensor, "batch channels _"],
    x: Float[Tensor, "batch channels"],
    weight: Float[Tensor, "channels taps"],
    bias: Float[Tensor, " channels"] | None = None,
    *,
    activation: Literal["silu"] | None = None,
) -> tuple[Float[Tensor, "batch channels"], Float[Tensor, "batch channels _"]]:
    """`causal_conv` of one token: its output and the tail of taps-1 tokens after it; the tail given is left as it is.

    Raises ValueError for shapes or dtypes that do not fit or another activation.
    """
    check_conv(x[:, None], weight, bias, tail, activation)
    wide = torch.promote_types(x.dtype, torch.float32)
    window = torch.cat([tail, x[:, :, None]], dim=2)
    y = (window.to(wide) * weight).sum(dim=2)
    if bias is not None:
        y += bias
    return (F.silu(y) if activation == "silu" else y).to(x.dtype), window[:, :, 1:]


def _next_tail(x: Tensor, tail: Tensor) -> Tensor:
    """The last tokens of tail and x together, as many as the tail has."""
    recent = x[:, max(0, x.shape[1] - tail.shape[2]) :].mT
    return torch.cat([tail, recent], dim=2)[:, :, recent.shape[2] :]
