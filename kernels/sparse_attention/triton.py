"""Sparse attention in Triton: programs that walk along lists, joined by their log sums; and its gradient.

Whom a program meets, the walks of `walks.py` say; who of them sees whom, the codes of the parts. Every part has a launch of its own, which goes
on where the last one ended: with y_i and l_i as found so far, and j over the keys that this part holds and no part before it,

    y_i' = (2^(c l_i) y_i + sum_j 2^(s_ij) v_j) / 2^(c l_i'),  2^(c l_i') = 2^(c l_i) + sum_j 2^(s_ij),  s_ij = c scale q_i . k_j,  c = log2 e

The gradient is, summed over all parts, with p_ij = 2^(s_ij - c l_i) and dl the gradient in l,

    ds_ij = p_ij (dy_i . v_j - dy_i . y_i + dl_i)
    dq_i = scale sum_j ds_ij k_j,  dk_j = scale sum_i ds_ij q_i,  dv_j = sum_i p_ij dy_i

One kernel owns queries, the other keys, so every sum has one owner and a fixed order, without atomics. Only a key of key selection has several,
one for each block of queries that holds it, and their shares are added in the order of the blocks. So k selected keys take k / BLOCK + 1 rows
of dk and dv a position at most; all else that is stored are inputs, outputs, gradients, and a few integers a position.

In the kernels i is the position of a query and j that of a key, the length standing for none, and tensors are contiguous. Products take their
operands in the dtype given (p and ds are rounded to it) and are summed in float32, in which y, l and gradients stay from part to part; of
float32 operands as tf32x3, never plain tf32. Speed on a GPU has not been measured.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._tiles.triton import TYPES, launch_options, load_rows, on_device_of, operand_type, padded, store_rows, sum_dtype
from . import _around as around
from .patterns import Pattern
from .tiles import packed
from .walks import codes, over_keys, over_queries

LOG2_E = tl.constexpr(math.log2(math.e))
NOTHING = tl.constexpr(-float("inf"))
FAR = tl.constexpr(1 << 62)
"""a place past all others"""
OWNED = {2: 64, 4: 16, 8: 32}
"""queries, or keys, that a program owns, by the bytes of a number: the most that fit the registers (no spills on sm_80 and sm_90, where
products of float32 take three parts of each operand; float64 runs in the interpreter alone)"""
WALKED = 32
"""keys, or queries, that it meets at a time"""


@triton.jit
@no_type_check
def _load(x, first, at, column, length, WIDTH: tl.constexpr, DTYPE: tl.constexpr):
    """x[first + at, column] as `[at, column]` of DTYPE, zero outside; reckoned from the row's first, 32 bits do for what is gathered."""
    return load_rows(x + first * WIDTH, 0, at, column, length, WIDTH, DTYPE)


@triton.jit
@no_type_check
def _add(x, at, column, length, rows, WIDTH: tl.constexpr):
    """x[at, column] += rows, where it lies inside."""
    store_rows(x, 0, at, column, length, load_rows(x, 0, at, column, length, WIDTH, x.dtype.element_ty) + rows, WIDTH)


@triton.jit
@no_type_check
def _owned(walk, places, length, OWNED: tl.constexpr):
    """The positions that a program owns, and the places of the list from the first to past the last that one of them needs."""
    place = tl.program_id(1) * OWNED + tl.arange(0, OWNED)
    at = tl.program_id(0).to(tl.int64) * places + place
    own = tl.load(walk.own + at, mask=place < places, other=length)
    begin = tl.load(walk.begin + at, mask=place < places, other=0)
    end = tl.load(walk.end + at, mask=place < places, other=0)
    return own, tl.min(tl.where(begin < end, begin, FAR)), tl.max(end)


@triton.jit
@no_type_check
def _met(walk, at, stop, length, WALKED: tl.constexpr):
    """The positions at WALKED places of the list from `at` on."""
    place = at + tl.arange(0, WALKED)
    return tl.load(walk.along + place, mask=place < stop, other=length)


@triton.jit
@no_type_check
def _holds(codes, part, first, i, j, length):
    """Whether low_i <= code_j < high_i in a part."""
    positions = tl.num_programs(0).to(tl.int64) * length
    codes += part * 3 * positions + first
    code = tl.load(codes + j, mask=j < length, other=0)
    low = tl.load(codes + positions + i, mask=i < length, other=0)
    high = tl.load(codes + 2 * positions + i, mask=i < length, other=0)
    return (low <= code) & (code < high)


@triton.jit
@no_type_check
def _scores(rows, columns, codes, first, i, j, length, SCALE: tl.constexpr, PART: tl.constexpr):
    """s_ij = c scale rows . columns where PART is the first part by which i sees j, -inf elsewhere; i and j lie along rows and columns."""
    seen = (j <= i) & (i < length) & _holds(codes, PART, first, i, j, length)
    for before in tl.static_range(PART):
        seen &= ~_holds(codes, before, first, i, j, length)
    scores = tl.dot(rows, tl.trans(columns), input_precision="tf32x3") * (SCALE * LOG2_E)
    return tl.where(seen, scores, NOTHING)


@triton.jit
@no_type_check
def _forward(
    query, key, value, codes, walk, out, log_sums, length,
    SCALE: tl.constexpr, PART: tl.constexpr, WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr,
    VALUE_PADDED: tl.constexpr, DTYPE: tl.constexpr, SUM: tl.constexpr, OWNED: tl.constexpr, WALKED: tl.constexpr,
):  # fmt: skip
    """Puts y' and l' in place of y and l: a program owns OWNED queries."""
    first = tl.program_id(0).to(tl.int64) * length
    w = tl.arange(0, PADDED)
    u = tl.arange(0, VALUE_PADDED)
    i, begin, end = _owned(walk, length, length, OWNED)
    q = _load(query, first, i, w, length, WIDTH, DTYPE)
    highest = tl.load(log_sums + first + i, mask=i < length, other=NOTHING) * LOG2_E
    total = tl.where(highest == NOTHING, 0.0, 1.0).to(SUM)  # what was found counts like a key of this score, with y as its value
    y = _load(out, first, i, u, length, VALUE_WIDTH, SUM)
    for at in range(begin, end, WALKED):
        j = _met(walk, at, end, length, WALKED)
        k = _load(key, first, j, w, length, WIDTH, DTYPE)
        v = _load(value, first, j, u, length, VALUE_WIDTH, DTYPE)
        scores = _scores(q, k, codes, first, i[:, None], j[None, :], length, SCALE, PART)
        higher = tl.maximum(highest, tl.max(scores, axis=1))
        base = tl.where(higher == NOTHING, 0.0, higher)
        shrink = tl.exp2(highest - base)
        p = tl.exp2(scores - base[:, None])
        total = total * shrink + tl.sum(p, axis=1)
        y = y * shrink[:, None] + tl.dot(p.to(DTYPE), v, input_precision="tf32x3")
        highest = higher
    total = tl.maximum(total, 1.0)  # a sum holds its greatest term, 1; only rows that see nothing have less
    store_rows(out + first * VALUE_WIDTH, 0, i, u, length, y / total[:, None], VALUE_WIDTH)
    tl.store(log_sums + first + i, (highest + tl.log2(total)) / LOG2_E, mask=i < length)


@triton.jit
@no_type_check
def _backward_query(
    query, key, value, grad, log_sums, offset, codes, walk, grad_query, length,
    SCALE: tl.constexpr, PART: tl.constexpr, WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr,
    VALUE_PADDED: tl.constexpr, DTYPE: tl.constexpr, SUM: tl.constexpr, OWNED: tl.constexpr, WALKED: tl.constexpr,
):  # fmt: skip
    """Adds to dq, from log_sums[i] = c l_i and offset[i] = dy_i . y_i - dl_i: a program owns OWNED queries."""
    first = tl.program_id(0).to(tl.int64) * length
    w = tl.arange(0, PADDED)
    u = tl.arange(0, VALUE_PADDED)
    i, begin, end = _owned(walk, length, length, OWNED)
    q = _load(query, first, i, w, length, WIDTH, DTYPE)
    dy = _load(grad, first, i, u, length, VALUE_WIDTH, DTYPE)
    log_sum = tl.load(log_sums + first + i, mask=i < length, other=0.0)
    off = tl.load(offset + first + i, mask=i < length, other=0.0)
    dq = tl.zeros([OWNED, PADDED], SUM)
    for at in range(begin, end, WALKED):
        j = _met(walk, at, end, length, WALKED)
        k = _load(key, first, j, w, length, WIDTH, DTYPE)
        v = _load(value, first, j, u, length, VALUE_WIDTH, DTYPE)
        p = tl.exp2(_scores(q, k, codes, first, i[:, None], j[None, :], length, SCALE, PART) - log_sum[:, None])
        ds = p * (tl.dot(dy, tl.trans(v), input_precision="tf32x3") - off[:, None])
        dq += tl.dot(ds.to(DTYPE), k, input_precision="tf32x3")
    _add(grad_query + first * WIDTH, i, w, length, dq * SCALE, WIDTH)


@triton.jit
@no_type_check
def _backward_key_value(
    query, key, value, grad, log_sums, offset, codes, walk, into, grad_key, grad_value, length, places, sums,
    SCALE: tl.constexpr, PART: tl.constexpr, WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, PADDED: tl.constexpr,
    VALUE_PADDED: tl.constexpr, DTYPE: tl.constexpr, SUM: tl.constexpr, OWNED: tl.constexpr, WALKED: tl.constexpr,
):  # fmt: skip
    """Adds to dk and dv: a program owns OWNED keys; its tiles run keys by queries."""
    first = tl.program_id(0).to(tl.int64) * length
    w = tl.arange(0, PADDED)
    u = tl.arange(0, VALUE_PADDED)
    j, begin, end = _owned(walk, places, length, OWNED)
    k = _load(key, first, j, w, length, WIDTH, DTYPE)
    v = _load(value, first, j, u, length, VALUE_WIDTH, DTYPE)
    dk = tl.zeros([OWNED, PADDED], SUM)
    dv = tl.zeros([OWNED, VALUE_PADDED], SUM)
    for at in range(begin, end, WALKED):
        i = _met(walk, at, end, length, WALKED)
        q = _load(query, first, i, w, length, WIDTH, DTYPE)
        dy = _load(grad, first, i, u, length, VALUE_WIDTH, DTYPE)
        log_sum = tl.load(log_sums + first + i, mask=i < length, other=0.0)
        off = tl.load(offset + first + i, mask=i < length, other=0.0)
        p = tl.exp2(_scores(k, q, codes, first, i[None, :], j[:, None], length, SCALE, PART) - log_sum[None, :])
        dv += tl.dot(p.to(DTYPE), dy, input_precision="tf32x3")
        ds = p * (tl.dot(v, tl.trans(dy), input_precision="tf32x3") - off[None, :])
        dk += tl.dot(ds.to(DTYPE), q, input_precision="tf32x3")
    place = tl.program_id(1) * OWNED + tl.arange(0, OWNED)
    to = tl.load(into + tl.program_id(0).to(tl.int64) * places + place, mask=place < places, other=-1)
    _add(grad_key, to, w, sums, dk * SCALE, WIDTH)
    _add(grad_value, to, u, sums, dv, VALUE_WIDTH)


def _constants(query: Tensor, value: Tensor, scale: float) -> dict[str, Any]:
    """What the kernels are compiled for. The scale is among it because a float argument would arrive as float32."""
    width, value_width = query.shape[2], value.shape[2]
    return {
        "SCALE": scale,
        "WIDTH": width,
        "VALUE_WIDTH": value_width,
        "PADDED": padded(width),
        "VALUE_PADDED": padded(value_width),
        "DTYPE": operand_type(query.dtype),
        "SUM": TYPES[sum_dtype(query.dtype)],
        "OWNED": OWNED[query.dtype.itemsize],
        "WALKED": WALKED,
        "maxnreg": 255,  # all there are: else ptxas spills a few, to fit a second program on a multiprocessor
        **launch_options(warps=8),
    }


@torch.library.custom_op("recall_lab::sparse_attention_triton_fwd", mutates_args=())
def forward(query: Tensor, key: Tensor, value: Tensor, selections: Tensor, runs: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """See `_around.py`."""
    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    out = torch.zeros_like(value, dtype=sum_dtype(value.dtype))
    log_sums = out.new_full(out.shape[:2], -torch.inf)
    if out.numel():
        rows, length = query.shape[:2]
        constants, of_parts = _constants(query, value, scale), codes(selections, runs)
        with on_device_of(query):
            for part, walk in enumerate(over_keys(selections, runs)):
                grid = rows, triton.cdiv(length, constants["OWNED"])
                _forward[grid](query, key, value, of_parts, walk, out, log_sums, length, PART=part, **constants)
    return out, log_sums


@torch.library.custom_op("recall_lab::sparse_attention_triton_bwd", mutates_args=())
def backward(
    grad: Tensor, grad_log_sums: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, log_sums: Tensor,
    selections: Tensor, runs: Tensor, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """See `_around.py`."""
    inputs = query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    grad_query, grad_key, grad_value = (torch.zeros_like(x, dtype=out.dtype) for x in inputs)
    if out.numel():
        rows, length = query.shape[:2]
        constants = _constants(query, value, scale)
        offset = ((grad * out).sum(dim=2) - grad_log_sums).contiguous()
        exponents = log_sums.masked_fill(log_sums == -torch.inf, 0.0) * LOG2_E.value
        given = (*inputs, grad.to(query.dtype).contiguous(), exponents, offset, codes(selections, runs))
        with on_device_of(query):
            for part, walk in enumerate(over_keys(selections, runs)):
                grid = rows, triton.cdiv(length, constants["OWNED"])
                _backward_query[grid](*given, walk, grad_query, length, PART=part, **constants)
            for part, (walk, (into, shares)) in enumerate(over_queries(selections, runs)):
                places = walk.own.shape[1]
                grid = rows, triton.cdiv(places, constants["OWNED"])
                with _summed(grad_key.flatten(0, 1), grad_value.flatten(0, 1), shares) as sums:
                    _backward_key_value[grid](*given, walk, into, *sums, length, places, len(sums[0]), PART=part, **constants)
    return grad_query.to(query.dtype), grad_key.to(key.dtype), grad_value.to(value.dtype)


@contextmanager
def _summed(grad_key: Tensor, grad_value: Tensor, shares: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """What a launch adds to: the gradients; or, where every key has `shares`, those, which are added to the gradients in their order."""
    if shares is None:
        yield grad_key, grad_value
    else:
        parts = tuple(x.new_zeros(int(shares.sum()), x.shape[1]) for x in (grad_key, grad_value))
        yield parts
        for whole, part in zip((grad_key, grad_value), parts, strict=True):
            whole += torch.segment_reduce(part, "sum", lengths=shares, unsafe=True, initial=0)


around.register(forward, backward)


def sparse_attention(query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, scale: float) -> tuple[Tensor, Tensor]:
    """The equations above."""
    batch, heads, length = query.shape[:3]
    parts = packed(pattern, (batch, heads, length), query.device)
    out, log_sums = forward(*(x.flatten(0, 1) for x in (query, key, value)), *parts, scale)
    return out.to(query.dtype).unflatten(0, (batch, heads)), log_sums.unflatten(0, (batch, heads))
