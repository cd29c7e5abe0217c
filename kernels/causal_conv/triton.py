"""Causal convolution in Triton: tiles of tokens by channels, and a backward pass that computes the sums again.

With r_t the sum before the activation f, j counting taps, and k = taps:

    y_t = f(r_t),  r_t = bias + sum_j weight_j x_{t-k+1+j}
    dr_t = dy_t f'(r_t),  dbias = sum_t dr_t,  dweight_j = sum_t dr_t x_{t-k+1+j},  dx_s = sum_j weight_j dr_{s+k-1-j}

x_{-1}, x_{-2}, ... are the tail. One backward kernel owns tiles of dr and gives their parts of dweight and dbias, which are summed outside;
the other owns tiles of dx, the tail's included. All is computed in float32 at least and rounded once.

In the kernels t counts tokens and e channels, and tensors are contiguous `[batch, time, channel]`, the tail too.
"""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._tiles.triton import TYPES, launch_options, load_row, load_rows, on_device_of, store_row, store_rows, sum_dtype

TOKENS = 32
"""tokens in a tile; each is read once a tap, from the cache after the first"""
CHANNELS = 64
"""most channels in a tile"""


@triton.jit
@no_type_check
def _tokens(x, tail, batch, t, e, length, TAPS: tl.constexpr, WIDTH: tl.constexpr, SUM: tl.constexpr):
    """x_t, from the tail where t < 0, as `[t, e]`."""
    return load_rows(x, batch, t, e, length, WIDTH, SUM) + load_rows(tail, batch, t + TAPS - 1, e, TAPS - 1, WIDTH, SUM)


@triton.jit
@no_type_check
def _sums(x, weight, bias, tail, batch, t, e, length, TAPS: tl.constexpr, WIDTH: tl.constexpr, SUM: tl.constexpr):
    """r_t as `[t, e]`."""
    sums = load_row(bias, 0, e, WIDTH, SUM)[None, :] + tl.zeros([t.shape[0], e.shape[0]], SUM)
    for j in range(TAPS):
        sums += load_row(weight, j, e, WIDTH, SUM)[None, :] * _tokens(x, tail, batch, t - (TAPS - 1) + j, e, length, TAPS, WIDTH, SUM)
    return sums


@triton.jit
@no_type_check
def _forward(
    x, weight, bias, tail, y, length,
    SILU: tl.constexpr, TAPS: tl.constexpr, WIDTH: tl.constexpr, TOKENS: tl.constexpr, CHANNELS: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """Gives y: a program owns a tile of it."""
    batch = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * TOKENS + tl.arange(0, TOKENS)
    e = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    r = _sums(x, weight, bias, tail, batch, t, e, length, TAPS, WIDTH, SUM)
    store_rows(y, batch, t, e, length, r * tl.sigmoid(r) if SILU else r, WIDTH)


@triton.jit
@no_type_check
def _backward_weight(
    grad, x, weight, bias, tail, grad_sums, parts, length,
    SILU: tl.constexpr, TAPS: tl.constexpr, WIDTH: tl.constexpr, TOKENS: tl.constexpr, CHANNELS: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """Gives dr, and the part of a tile's tokens in dweight (a row a tap) and in dbias (the last row)."""
    batch = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * TOKENS + tl.arange(0, TOKENS)
    e = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    dr = load_rows(grad, batch, t, e, length, WIDTH, SUM)
    if SILU:
        r = _sums(x, weight, bias, tail, batch, t, e, length, TAPS, WIDTH, SUM)
        gate = tl.sigmoid(r)
        dr *= gate * (1 + r * (1 - gate))
    store_rows(grad_sums, batch, t, e, length, dr, WIDTH)
    first = (batch * tl.num_programs(1) + tl.program_id(1)) * (TAPS + 1)
    for j in range(TAPS):
        part = tl.sum(dr * _tokens(x, tail, batch, t - (TAPS - 1) + j, e, length, TAPS, WIDTH, SUM), axis=0)
        store_row(parts, first + j, e, part, WIDTH)
    store_row(parts, first + TAPS, e, tl.sum(dr, axis=0), WIDTH)


@triton.jit
@no_type_check
def _backward_tokens(
    grad_sums, weight, grad_x, grad_tail, length,
    TAPS: tl.constexpr, WIDTH: tl.constexpr, TOKENS: tl.constexpr, CHANNELS: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """Gives dx and the gradient in the tail: a program owns a tile of both, one after the other in time."""
    batch = tl.program_id(0).to(tl.int64)
    s = tl.program_id(1) * TOKENS + tl.arange(0, TOKENS) - (TAPS - 1)
    e = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    dx = tl.zeros([TOKENS, CHANNELS], SUM)
    for j in range(TAPS):
        dx += load_row(weight, j, e, WIDTH, SUM)[None, :] * load_rows(grad_sums, batch, s + (TAPS - 1) - j, e, length, WIDTH, SUM)
    store_rows(grad_x, batch, s, e, length, dx, WIDTH)
    store_rows(grad_tail, batch, s + (TAPS - 1), e, TAPS - 1, dx, WIDTH)


def _constants(x: Tensor, weight: Tensor) -> dict[str, Any]:
    return {
        "TAPS": weight.shape[1],
        "WIDTH": x.shape[2],
        "TOKENS": TOKENS,
        "CHANNELS": min(CHANNELS, triton.next_power_of_2(max(1, x.shape[2]))),
        "SUM": TYPES[sum_dtype(x.dtype)],
        **launch_options(warps=4),
    }


@torch.library.custom_op("recall_lab::causal_conv_triton_fwd", mutates_args=())
def forward(x: Tensor, weight: Tensor, bias: Tensor, tail: Tensor, silu: bool) -> Tensor:
    """Gives y."""
    batch, length, channels = x.shape
    y = x.new_empty(x.shape)
    constants = _constants(x, weight)
    if y.numel():
        with on_device_of(x):
            grid = (batch, triton.cdiv(length, TOKENS), triton.cdiv(channels, constants["CHANNELS"]))
            given = (x.contiguous(), weight.mT.contiguous(), bias.contiguous(), tail.mT.contiguous())
            _forward[grid](*given, y, length, SILU=silu, **constants)
    return y


@torch.library.custom_op("recall_lab::causal_conv_triton_bwd", mutates_args=())
def backward(grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, tail: Tensor, silu: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients in x, weight, bias and tail, given that in y."""
    batch, length, channels = x.shape
    taps, total = weight.shape[1], sum_dtype(x.dtype)
    tiles, last = triton.cdiv(length, TOKENS), triton.cdiv(length + taps - 1, TOKENS)
    grad_sums, grad_x = x.new_empty(x.shape, dtype=total), x.new_empty(x.shape)
    grad_tail = x.new_empty((batch, taps - 1, channels))
    parts = x.new_empty((batch, tiles, taps + 1, channels), dtype=total)
    constants = _constants(x, weight)
    rows = weight.mT.contiguous()
    with on_device_of(x):
        blocks = triton.cdiv(channels, constants["CHANNELS"])
        if grad_x.numel():
            given = (grad.contiguous(), x.contiguous(), rows, bias.contiguous(), tail.mT.contiguous())
            _backward_weight[batch, tiles, blocks](*given, grad_sums, parts, length, SILU=silu, **constants)
        if grad_x.numel() or grad_tail.numel():
            _backward_tokens[batch, last, blocks](grad_sums, rows, grad_x, grad_tail, length, **constants)
    sums = parts.sum(dim=(0, 1))
    as_given = zip((weight, bias, tail), (sums[:taps].mT, sums[taps], grad_tail.mT), strict=True)
    return grad_x, *(like.new_empty(like.shape).copy_(x) for like, x in as_given)


@forward.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape)


@backward.register_fake
def _(_grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, tail: Tensor, _silu: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape), bias.new_empty(bias.shape), tail.new_empty(tail.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output  # it is computed again
    *tensors, ctx.silu = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *backward(grad, *ctx.saved_tensors, ctx.silu), None


forward.register_autograd(_differentiate, setup_context=_keep)


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None, tail: Tensor) -> Tensor:
    """The equations above."""
    bias = weight.new_zeros(weight.shape[:1]) if bias is None else bias
    return forward(x, weight, bias, tail, activation == "silu")
