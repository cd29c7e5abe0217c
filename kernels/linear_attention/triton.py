"""Linear attention in Triton: the states before every chunk, then every chunk by itself; and its own gradient.

With y = L(q, k, v), y_t = sum_{s<=t} (q_t . k_s) v_s, and L' the same with s >= t, the gradients are the same operator again:

    dq = L(dy, v, k),  dk = L'(v, dy, q),  dv = L'(k, q, dy)

so one operator with a direction is closed under differentiation, to any order. It costs six products of chunk x chunk scores where a
backward kernel of its own would need five, and no more kernels. L' is L on the sequence read from its end.

In the kernels t counts queries and s keys, `head` runs over batch and heads, and tensors are contiguous. All is computed in float32,
float32 products as tf32x3, never plain tf32: scores and states of float16 inputs have no bound and would overflow.
"""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._tiles.triton import TYPES, launch_options, load_rows, on_device_of, padded, store_rows, sum_dtype

CHUNK = 64
"""tokens in a chunk"""
BLOCK = 32
"""features, and columns of the value, that a program takes at a time: with 64 the registers spill"""


@triton.jit
@no_type_check
def _positions(start, length, REVERSE: tl.constexpr, CHUNK: tl.constexpr):
    """Rows of the CHUNK tokens that are read from number `start` on."""
    order = start + tl.arange(0, CHUNK)
    return length - 1 - order if REVERSE else order


@triton.jit
@no_type_check
def _states(
    key, value, states, length, chunks,
    REVERSE: tl.constexpr, FEATURES: tl.constexpr, VALUE_WIDTH: tl.constexpr, BLOCK_F: tl.constexpr, BLOCK_U: tl.constexpr,
    CHUNK: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """states[head, chunk] = sum of k_s^T v_s over the chunks before: a program owns a tile of the state and walks the chunks."""
    head = tl.program_id(0).to(tl.int64)
    f = tl.program_id(1) * BLOCK_F + tl.arange(0, BLOCK_F)
    u = tl.program_id(2) * BLOCK_U + tl.arange(0, BLOCK_U)
    state = tl.zeros([BLOCK_F, BLOCK_U], SUM)
    for chunk in range(chunks):
        store_rows(states, head * chunks + chunk, f, u, FEATURES, state, VALUE_WIDTH)
        s = _positions(chunk * CHUNK, length, REVERSE, CHUNK)
        k = load_rows(key, head, s, f, length, FEATURES, SUM)
        v = load_rows(value, head, s, u, length, VALUE_WIDTH, SUM)
        state += tl.dot(tl.trans(k), v, input_precision="tf32x3")


@triton.jit
@no_type_check
def _outputs(
    query, key, value, states, out, length, chunks,
    REVERSE: tl.constexpr, FEATURES: tl.constexpr, VALUE_WIDTH: tl.constexpr, BLOCK_F: tl.constexpr, BLOCK_U: tl.constexpr,
    CHUNK: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """y_t = q_t S + sum over its chunk of (q_t . k_s) v_s: a program owns a chunk and BLOCK_U columns, and walks the features."""
    head = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1)
    t = _positions(chunk * CHUNK, length, REVERSE, CHUNK)
    u = tl.program_id(2) * BLOCK_U + tl.arange(0, BLOCK_U)
    scores = tl.zeros([CHUNK, CHUNK], SUM)
    y = tl.zeros([CHUNK, BLOCK_U], SUM)
    for start in range(0, FEATURES, BLOCK_F):
        f = start + tl.arange(0, BLOCK_F)
        q = load_rows(query, head, t, f, length, FEATURES, SUM)
        k = load_rows(key, head, t, f, length, FEATURES, SUM)
        state = load_rows(states, head * chunks + chunk, f, u, FEATURES, VALUE_WIDTH, SUM)
        scores += tl.dot(q, tl.trans(k), input_precision="tf32x3")
        y += tl.dot(q, state, input_precision="tf32x3")
    order = tl.arange(0, CHUNK)
    scores = tl.where(order[:, None] >= order[None, :], scores, 0.0)
    y += tl.dot(scores, load_rows(value, head, t, u, length, VALUE_WIDTH, SUM), input_precision="tf32x3")
    store_rows(out, head, t, u, length, y, VALUE_WIDTH)


@torch.library.custom_op("recall_lab::linear_attention_triton_fwd", mutates_args=())
def directed(query: Tensor, key: Tensor, value: Tensor, reverse: bool) -> Tensor:
    """L(query, key, value), or L' if `reverse`."""
    batch, heads, length, features = query.shape
    value_width = value.shape[3]
    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    out = torch.empty_like(value)
    chunks, total = triton.cdiv(length, CHUNK), sum_dtype(query.dtype)
    states = query.new_empty((batch, heads, chunks, features, value_width), dtype=total)
    constants = {
        "REVERSE": reverse,
        "FEATURES": features,
        "VALUE_WIDTH": value_width,
        "BLOCK_F": (block_f := min(BLOCK, padded(features))),
        "BLOCK_U": (block_u := min(BLOCK, padded(value_width))),
        "CHUNK": CHUNK,
        "SUM": TYPES[total],
        **launch_options(warps=8),
    }
    if out.numel():
        with on_device_of(query):
            columns = triton.cdiv(value_width, block_u)
            _states[batch * heads, triton.cdiv(features, block_f), columns](key, value, states, length, chunks, **constants)
            _outputs[batch * heads, chunks, columns](query, key, value, states, out, length, chunks, **constants)
    return out


@directed.register_fake
def _(_query: Tensor, _key: Tensor, value: Tensor, _reverse: bool) -> Tensor:
    return value.new_empty(value.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, bool], output: Tensor) -> None:
    del output  # no gradient needs it
    *tensors, ctx.reverse = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    return (
        directed(grad, value, key, ctx.reverse) if wanted[0] else None,
        directed(value, grad, query, not ctx.reverse) if wanted[1] else None,
        directed(key, query, grad, not ctx.reverse) if wanted[2] else None,
        None,
    )


directed.register_autograd(_differentiate, setup_context=_keep)


def linear_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """L of the equations above."""
    return directed(query, key, value, False)
