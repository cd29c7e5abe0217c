"""Softmax attention in Triton: one pass with a running maximum, and a backward pass that computes the scores again.

After FlashAttention-2 (arXiv:2307.08691, algorithms 1 and 2), with a window and without atomics: one backward kernel owns queries and
sums over keys, the other owns keys and sums over queries, so every sum has one owner and a fixed order. In powers of two, which a GPU
has in hardware:

    p_ts = 2^(c q_t . k_s - b_t)  with  b_t = log2 sum_s 2^(c q_t . k_s),  c = scale log2 e;  y_t = sum_s p_ts v_s
    ds_ts = p_ts (dy_t . v_s - dy_t . y_t)
    dq_t = scale sum_s ds_ts k_s,  dk_s = scale sum_t ds_ts q_t,  dv_s = sum_t p_ts dy_t

In the kernels t counts queries and s keys, `head` runs over batch and heads, and tensors are contiguous. Products take their operands in
the dtype given (p and ds are rounded to it) and are summed in float32; of float32 operands as tf32x3, never plain tf32.
"""

import math
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._tiles.triton import TYPES, launch_options, load_rows, on_device_of, operand_type, padded, store_rows, sum_dtype

LOG2_E = tl.constexpr(math.log2(math.e))
LOWEST = tl.constexpr(-1.0e30)
"""the maximum of no scores: finite, so that keys out of sight change nothing instead of making inf - inf"""


@triton.jit
@no_type_check
def _scores(rows, columns, back, window, SCALE: tl.constexpr):
    """The exponents c rows . columns where 0 <= back < window, -inf elsewhere."""
    scores = tl.dot(rows, tl.trans(columns), input_precision="tf32x3") * (SCALE * LOG2_E)
    return tl.where((back >= 0) & (back < window), scores, -float("inf"))


@triton.jit
@no_type_check
def _forward(
    query, key, value, out, log_sums, length, window,
    SCALE: tl.constexpr, WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
    DTYPE: tl.constexpr, SUM: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """Gives y and b: a program owns SIDE queries and walks the keys they see."""
    head = tl.program_id(0).to(tl.int64)
    first = tl.program_id(1) * SIDE
    t = first + tl.arange(0, SIDE)
    w = tl.arange(0, PADDED)
    u = tl.arange(0, VALUE_PADDED)
    q = load_rows(query, head, t, w, length, WIDTH, DTYPE)
    highest = tl.full([SIDE], LOWEST, SUM)
    total = tl.zeros([SIDE], SUM)
    y = tl.zeros([SIDE, VALUE_PADDED], SUM)
    for at in range(tl.maximum(first - window + 1, 0), tl.minimum(first + SIDE, length), SIDE):
        s = at + tl.arange(0, SIDE)
        k = load_rows(key, head, s, w, length, WIDTH, DTYPE)
        v = load_rows(value, head, s, u, length, VALUE_WIDTH, DTYPE)
        scores = _scores(q, k, t[:, None] - s[None, :], window, SCALE)
        higher = tl.maximum(highest, tl.max(scores, axis=1))
        shrink = tl.exp2(highest - higher)
        p = tl.exp2(scores - higher[:, None])
        total = total * shrink + tl.sum(p, axis=1)
        y = y * shrink[:, None] + tl.dot(p.to(DTYPE), v, input_precision="tf32x3")
        highest = higher
    total = tl.maximum(total, 1.0)  # a sum holds its greatest term, 1; only rows past the end, which see nothing, have less
    store_rows(out, head, t, u, length, y / total[:, None], VALUE_WIDTH)
    tl.store(log_sums + head * length + t, highest + tl.log2(total), mask=t < length)


@triton.jit
@no_type_check
def _backward_query(
    query, key, value, grad, log_sums, offset, grad_query, length, window,
    SCALE: tl.constexpr, WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
    DTYPE: tl.constexpr, SUM: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """Gives dq, from offset[t] = dy_t . y_t: a program owns SIDE queries and sums over the keys they see."""
    head = tl.program_id(0).to(tl.int64)
    first = tl.program_id(1) * SIDE
    t = first + tl.arange(0, SIDE)
    w = tl.arange(0, PADDED)
    u = tl.arange(0, VALUE_PADDED)
    q = load_rows(query, head, t, w, length, WIDTH, DTYPE)
    dy = load_rows(grad, head, t, u, length, VALUE_WIDTH, DTYPE)
    log_sum = tl.load(log_sums + head * length + t, mask=t < length, other=0.0)
    off = tl.load(offset + head * length + t, mask=t < length, other=0.0)
    dq = tl.zeros([SIDE, PADDED], SUM)
    for at in range(tl.maximum(first - window + 1, 0), tl.minimum(first + SIDE, length), SIDE):
        s = at + tl.arange(0, SIDE)
        k = load_rows(key, head, s, w, length, WIDTH, DTYPE)
        v = load_rows(value, head, s, u, length, VALUE_WIDTH, DTYPE)
        p = tl.exp2(_scores(q, k, t[:, None] - s[None, :], window, SCALE) - log_sum[:, None])
        ds = p * (tl.dot(dy, tl.trans(v), input_precision="tf32x3") - off[:, None])
        dq += tl.dot(ds.to(DTYPE), k, input_precision="tf32x3")
    store_rows(grad_query, head, t, w, length, dq * SCALE, WIDTH)


@triton.jit
@no_type_check
def _backward_key_value(
    query, key, value, grad, log_sums, offset, grad_key, grad_value, length, window,
    SCALE: tl.constexpr, WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
    DTYPE: tl.constexpr, SUM: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """Gives dk and dv: a program owns SIDE keys and sums over the queries that see them; its tiles run keys by queries."""
    head = tl.program_id(0).to(tl.int64)
    first = tl.program_id(1) * SIDE
    s = first + tl.arange(0, SIDE)
    w = tl.arange(0, PADDED)
    u = tl.arange(0, VALUE_PADDED)
    k = load_rows(key, head, s, w, length, WIDTH, DTYPE)
    v = load_rows(value, head, s, u, length, VALUE_WIDTH, DTYPE)
    dk = tl.zeros([SIDE, PADDED], SUM)
    dv = tl.zeros([SIDE, VALUE_PADDED], SUM)
    for at in range(first, tl.minimum(first + SIDE + window - 1, length), SIDE):
        t = at + tl.arange(0, SIDE)
        q = load_rows(query, head, t, w, length, WIDTH, DTYPE)
        dy = load_rows(grad, head, t, u, length, VALUE_WIDTH, DTYPE)
        log_sum = tl.load(log_sums + head * length + t, mask=t < length, other=0.0)
        off = tl.load(offset + head * length + t, mask=t < length, other=0.0)
        p = tl.exp2(_scores(k, q, t[None, :] - s[:, None], window, SCALE) - log_sum[None, :])
        dv += tl.dot(p.to(DTYPE), dy, input_precision="tf32x3")
        ds = p * (tl.dot(v, tl.trans(dy), input_precision="tf32x3") - off[None, :])
        dk += tl.dot(ds.to(DTYPE), q, input_precision="tf32x3")
    store_rows(grad_key, head, s, w, length, dk * SCALE, WIDTH)
    store_rows(grad_value, head, s, u, length, dv, VALUE_WIDTH)


def _side(dtype: torch.dtype, widest: int) -> int:
    """Queries, and keys, that a program holds at a time: the most that fit the registers (no spills on sm_80 and sm_90)."""
    if dtype.itemsize == 2:
        return 64
    return 32 if widest <= 64 else 16  # three tf32 parts of each operand


def _constants(query: Tensor, value: Tensor, scale: float) -> dict[str, Any]:
    """What the kernels are compiled for. The scale is among it because a float argument would arrive as float32."""
    width, value_width = query.shape[3], value.shape[3]
    side = _side(query.dtype, max(width, value_width))
    return {
        "SCALE": scale,
        "WIDTH": width,
        "VALUE_WIDTH": value_width,
        "PADDED": padded(width),
        "VALUE_PADDED": padded(value_width),
        "DTYPE": operand_type(query.dtype),
        "SUM": TYPES[sum_dtype(query.dtype)],
        "SIDE": side,
        **launch_options(warps=4 if side == 16 else 8),
    }


@torch.library.custom_op("recall_lab::softmax_attention_triton_fwd", mutates_args=())
def forward(query: Tensor, key: Tensor, value: Tensor, window: int, scale: float) -> tuple[Tensor, Tensor]:
    """Gives y and, for the backward pass, b `[batch, heads, length]`; 1 <= window <= length, or anything where length is 0."""
    batch, heads, length, _ = query.shape
    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    out = torch.empty_like(value)
    log_sums = query.new_empty((batch, heads, length), dtype=sum_dtype(query.dtype))
    constants = _constants(query, value, scale)
    if out.numel():
        with on_device_of(query):
            _forward[batch * heads, triton.cdiv(length, constants["SIDE"])](query, key, value, out, log_sums, length, window, **constants)
    return out, log_sums


@torch.library.custom_op("recall_lab::softmax_attention_triton_bwd", mutates_args=())
def backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, log_sums: Tensor, window: int, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients in query, key and value, given that in y."""
    batch, heads, length, _ = query.shape
    grad, query, key, value = grad.contiguous(), query.contiguous(), key.contiguous(), value.contiguous()
    offset = (grad.to(log_sums.dtype) * out).sum(dim=3)
    grad_query, grad_key, grad_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
    constants = _constants(query, value, scale)
    given = (query, key, value, grad, log_sums, offset)
    if grad.numel():
        with on_device_of(query):
            grid = (batch * heads, triton.cdiv(length, constants["SIDE"]))
            _backward_query[grid](*given, grad_query, length, window, **constants)
            _backward_key_value[grid](*given, grad_key, grad_value, length, window, **constants)
    return grad_query, grad_key, grad_value


@forward.register_fake
def _(query: Tensor, _key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return value.new_empty(value.shape), query.new_empty(query.shape[:3], dtype=sum_dtype(query.dtype))


@backward.register_fake
def _(_grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.window, ctx.scale = inputs
    ctx.save_for_backward(*tensors, *output)


def _differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return *backward(grad, *ctx.saved_tensors, ctx.window, ctx.scale), None, None


forward.register_autograd(_differentiate, setup_context=_keep)


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, window: int | None, scale: float) -> Tensor:
    """The equations above."""
    length = query.shape[2]
    out, _ = forward(query, key, value, length if window is None else min(window, length), scale)
    return out
