"""SSD in Triton: what every chunk adds to the state, the states between chunks, then every chunk by itself; and the gradient.

In a chunk that a state S enters, with L the decays between its positions, a_t those up to t and z_s those after s:

    y_t = sum_{s<=t} L_ts (C_t . B_s) x_s + a_t S C_t,    S' = a_last S + sum_s z_s x_s B_s^T

The gradients dy and dS' go through the transpose of this map, which is the same map run from the end: B and C change places, and so do a
and z. The gradients of C and B, sums over the heads of a group, are each other's mirror image too:

    dx_s = sum_{t>=s} L_ts (B_s . C_t) dy_t + z_s dS' B_s,    dS = a_last dS' + sum_t a_t dy_t C_t^T
    dC_t = sum over heads of (sum_{s<=t} L_ts (dy_t . x_s) B_s + a_t dy_t S)
    dB_s = sum over heads of (sum_{t>=s} L_ts (x_s . dy_t) C_t + z_s x_s dS')

So four kernels with a direction serve both passes, and a fifth gives the gradient of log_decay_r, the sum of

    L_ts (C_t . B_s) (dy_t . x_s) over s < r <= t,    z_s x_s . dS' B_s over s < r,    a_t dy_t . S C_t over t >= r,    and a_last S . dS'

Exponents are sums of log_decay, and so is this: as the difference of running sums either would lose its digits where decays are mixed.

L and the products are computed again wherever they are needed, never stored. In the kernels `place` runs over batch and heads, states
are `[place, chunk, head_width, state]`, and tensors are contiguous. All is computed in float32, float32 products as tf32x3, never plain
tf32: states and products of float16 inputs have no bound and would overflow.
"""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._tiles.triton import TYPES, launch_options, load_rows, on_device_of, padded, store_rows
from . import _around as around

CHUNK = 64
"""tokens in a chunk"""
OWNED = 32
"""columns of a head, or of its state, that a program gives at a time: with 64 the registers spill"""
WALKED = 16
"""columns over which it sums at a time: with 32 the registers spill on sm_80"""


@triton.jit
@no_type_check
def _load(x, sequence, chunk, head, column, length, heads, WIDTH: tl.constexpr, CHUNK: tl.constexpr, DTYPE: tl.constexpr):
    """x[sequence, t, head, column] for the tokens of a chunk, of a contiguous `[sequences, length, heads, WIDTH]`; zero outside."""
    start = chunk * CHUNK
    first = x + ((sequence * length + start) * heads + head) * WIDTH
    return load_rows(first, 0, tl.arange(0, CHUNK) * heads, column, (length - start) * heads, WIDTH, DTYPE)


@triton.jit
@no_type_check
def _store(x, sequence, chunk, head, column, length, heads, tile, WIDTH: tl.constexpr, CHUNK: tl.constexpr):
    """x[sequence, t, head, column] = tile for the tokens of a chunk, rounded to x's type, where it lies inside."""
    start = chunk * CHUNK
    first = x + ((sequence * length + start) * heads + head) * WIDTH
    store_rows(first, 0, tl.arange(0, CHUNK) * heads, column, (length - start) * heads, tile, WIDTH)


@triton.jit
@no_type_check
def _logs(log_decay, sequence, head, chunk, order, length, heads, CHUNK: tl.constexpr, DTYPE: tl.constexpr):
    """log_decay of a chunk's tokens; 0, which keeps what there is, outside."""
    t = chunk * CHUNK + order
    return tl.load(log_decay + (sequence * length + t) * heads + head, mask=(order < CHUNK) & (t < length), other=0.0).to(DTYPE)


@triton.jit
@no_type_check
def _outwards(log_decay, sequence, head, chunk, length, heads, TO_END: tl.constexpr, CHUNK: tl.constexpr, DTYPE: tl.constexpr):
    """The decays between a chunk's tokens and its edges: a, from its start, or z, to its end."""
    order = tl.arange(0, CHUNK)
    if TO_END:
        sums = tl.cumsum(_logs(log_decay, sequence, head, chunk, order + 1, length, heads, CHUNK, DTYPE), reverse=True)
    else:
        sums = tl.cumsum(_logs(log_decay, sequence, head, chunk, order, length, heads, CHUNK, DTYPE))
    return tl.exp(sums)


@triton.jit
@no_type_check
def _between(log_decay, sequence, head, chunk, length, heads, REVERSE: tl.constexpr, CHUNK: tl.constexpr, DTYPE: tl.constexpr):
    """L as [t, s], or as [s, t] if REVERSE: the terms are masked before they are summed, so that exp meets no positive number."""
    order = tl.arange(0, CHUNK)
    row, column = order[:, None], order[None, :]
    logs = _logs(log_decay, sequence, head, chunk, order, length, heads, CHUNK, DTYPE)
    if REVERSE:
        seen = row <= column
        sums = tl.cumsum(tl.where(row < column, logs[None, :], 0.0), axis=1)
    else:
        seen = row >= column
        sums = tl.cumsum(tl.where(row > column, logs[:, None], 0.0), axis=0)
    return tl.where(seen, tl.exp(sums), 0.0)


@triton.jit
@no_type_check
def _additions(
    key, value, log_decay, states, length, heads, groups,
    REVERSE: tl.constexpr, HEAD_WIDTH: tl.constexpr, STATE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_N: tl.constexpr,
    CHUNK: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """states[place, chunk] = sum_s z_s x_s B_s^T, from B and x; or sum_t a_t dy_t C_t^T, from C and dy: a program owns a tile of one."""
    place, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1)
    sequence, head = place // heads, place % heads
    p = tl.program_id(2) // tl.cdiv(STATE, BLOCK_N) * BLOCK_P + tl.arange(0, BLOCK_P)
    n = tl.program_id(2) % tl.cdiv(STATE, BLOCK_N) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = _load(key, sequence, chunk, head // (heads // groups), n, length, groups, STATE, CHUNK, SUM)
    v = _load(value, sequence, chunk, head, p, length, heads, HEAD_WIDTH, CHUNK, SUM)
    k *= _outwards(log_decay, sequence, head, chunk, length, heads, not REVERSE, CHUNK, SUM)[:, None]
    added = tl.dot(tl.trans(v), k, input_precision="tf32x3")
    store_rows(states, place * tl.cdiv(length, CHUNK) + chunk, p, n, HEAD_WIDTH, added, STATE)


@triton.jit
@no_type_check
def _passing(
    log_decay, states, first, last, length, heads,
    REVERSE: tl.constexpr, HEAD_WIDTH: tl.constexpr, STATE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_N: tl.constexpr,
    CHUNK: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """Puts into `states`, in place of what a chunk adds, what enters it, S; or dS', from the end: a program walks the chunks."""
    place, chunks = tl.program_id(0).to(tl.int64), tl.cdiv(length, CHUNK)
    p = tl.program_id(1) * BLOCK_P + tl.arange(0, BLOCK_P)
    n = tl.program_id(2) * BLOCK_N + tl.arange(0, BLOCK_N)
    state = load_rows(first, place, p, n, HEAD_WIDTH, STATE, SUM)
    for step in range(chunks):
        chunk = chunks - 1 - step if REVERSE else step
        decay = tl.sum(_logs(log_decay, place // heads, place % heads, chunk, tl.arange(0, CHUNK), length, heads, CHUNK, SUM))
        left = tl.exp(decay) * state + load_rows(states, place * chunks + chunk, p, n, HEAD_WIDTH, STATE, SUM)
        store_rows(states, place * chunks + chunk, p, n, HEAD_WIDTH, state, STATE)
        state = left
    store_rows(last, place, p, n, HEAD_WIDTH, state, STATE)


@triton.jit
@no_type_check
def _outputs(
    query, key, value, log_decay, states, out, length, heads, groups,
    REVERSE: tl.constexpr, HEAD_WIDTH: tl.constexpr, STATE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_N: tl.constexpr,
    CHUNK: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """y from C, B, x and S; or dx from B, C, dy and dS': a program owns a chunk and BLOCK_P columns, and walks the state."""
    place, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1)
    sequence, head = place // heads, place % heads
    group = head // (heads // groups)
    p = tl.program_id(2) * BLOCK_P + tl.arange(0, BLOCK_P)
    scores = tl.zeros([CHUNK, CHUNK], SUM)
    y = tl.zeros([CHUNK, BLOCK_P], SUM)
    for start in range(0, STATE, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        q = _load(query, sequence, chunk, group, n, length, groups, STATE, CHUNK, SUM)
        k = _load(key, sequence, chunk, group, n, length, groups, STATE, CHUNK, SUM)
        state = load_rows(states, place * tl.cdiv(length, CHUNK) + chunk, p, n, HEAD_WIDTH, STATE, SUM)
        scores += tl.dot(q, tl.trans(k), input_precision="tf32x3")
        y += tl.dot(q, tl.trans(state), input_precision="tf32x3")
    v = _load(value, sequence, chunk, head, p, length, heads, HEAD_WIDTH, CHUNK, SUM)  # before the decays, or registers spill on sm_80
    scores *= _between(log_decay, sequence, head, chunk, length, heads, REVERSE, CHUNK, SUM)
    y *= _outwards(log_decay, sequence, head, chunk, length, heads, REVERSE, CHUNK, SUM)[:, None]
    y += tl.dot(scores, v, input_precision="tf32x3")
    _store(out, sequence, chunk, head, p, length, heads, y, HEAD_WIDTH, CHUNK)


@triton.jit
@no_type_check
def _backward_shared(
    query, key, value, log_decay, states, out, length, heads, groups,
    REVERSE: tl.constexpr, HEAD_WIDTH: tl.constexpr, STATE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_N: tl.constexpr,
    CHUNK: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """dC from dy, x, B and S; or dB from x, dy, C and dS': a program owns a chunk and BLOCK_N columns, and walks a group's heads."""
    sequence, group, chunk = tl.program_id(0).to(tl.int64) // groups, tl.program_id(0) % groups, tl.program_id(1)
    n = tl.program_id(2) * BLOCK_N + tl.arange(0, BLOCK_N)
    weights = tl.zeros([CHUNK, CHUNK], SUM)
    grad = tl.zeros([CHUNK, BLOCK_N], SUM)
    for head in range(group * (heads // groups), (group + 1) * (heads // groups)):
        outwards = _outwards(log_decay, sequence, head, chunk, length, heads, REVERSE, CHUNK, SUM)[:, None]
        products = tl.zeros([CHUNK, CHUNK], SUM)
        for start in range(0, HEAD_WIDTH, BLOCK_P):
            p = start + tl.arange(0, BLOCK_P)
            q = _load(query, sequence, chunk, head, p, length, heads, HEAD_WIDTH, CHUNK, SUM)
            k = _load(key, sequence, chunk, head, p, length, heads, HEAD_WIDTH, CHUNK, SUM)
            state = load_rows(states, (sequence * heads + head) * tl.cdiv(length, CHUNK) + chunk, p, n, HEAD_WIDTH, STATE, SUM)
            products += tl.dot(q, tl.trans(k), input_precision="tf32x3")
            grad += tl.dot(q * outwards, state, input_precision="tf32x3")
        weights += products * _between(log_decay, sequence, head, chunk, length, heads, REVERSE, CHUNK, SUM)
    v = _load(value, sequence, chunk, group, n, length, groups, STATE, CHUNK, SUM)
    grad += tl.dot(weights, v, input_precision="tf32x3")
    _store(out, sequence, chunk, group, n, length, groups, grad, STATE, CHUNK)


@triton.jit
@no_type_check
def _backward_log_decay(
    x, log_decay, B, C, grad, entering, grad_leaving, out, length, heads, groups,
    HEAD_WIDTH: tl.constexpr, STATE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_N: tl.constexpr, CHUNK: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """The gradient in log_decay: a program owns a chunk of a head."""
    place, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1)
    sequence, head = place // heads, place % heads
    group, own = head // (heads // groups), place * tl.cdiv(length, CHUNK) + chunk
    t = chunk * CHUNK + tl.arange(0, CHUNK)
    scores = tl.zeros([CHUNK, CHUNK], SUM)
    for start in range(0, STATE, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        c = _load(C, sequence, chunk, group, n, length, groups, STATE, CHUNK, SUM)
        b = _load(B, sequence, chunk, group, n, length, groups, STATE, CHUNK, SUM)
        scores += tl.dot(c, tl.trans(b), input_precision="tf32x3")
    products = tl.zeros([CHUNK, CHUNK], SUM)
    in_a = tl.zeros([CHUNK], SUM)
    in_z = tl.zeros([CHUNK], SUM)
    in_state = tl.zeros([BLOCK_P, BLOCK_N], SUM)
    for first in range(0, HEAD_WIDTH, BLOCK_P):
        p = first + tl.arange(0, BLOCK_P)
        read = tl.zeros([CHUNK, BLOCK_P], SUM)
        written = tl.zeros([CHUNK, BLOCK_P], SUM)
        for start in range(0, STATE, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            c = _load(C, sequence, chunk, group, n, length, groups, STATE, CHUNK, SUM)
            b = _load(B, sequence, chunk, group, n, length, groups, STATE, CHUNK, SUM)
            state = load_rows(entering, own, p, n, HEAD_WIDTH, STATE, SUM)
            grad_state = load_rows(grad_leaving, own, p, n, HEAD_WIDTH, STATE, SUM)
            read += tl.dot(c, tl.trans(state), input_precision="tf32x3")
            written += tl.dot(b, tl.trans(grad_state), input_precision="tf32x3")
            in_state += state * grad_state
        u = _load(x, sequence, chunk, head, p, length, heads, HEAD_WIDTH, CHUNK, SUM)
        dy = _load(grad, sequence, chunk, head, p, length, heads, HEAD_WIDTH, CHUNK, SUM)
        products += tl.dot(dy, tl.trans(u), input_precision="tf32x3")
        in_a += tl.sum(dy * read, axis=1)
        in_z += tl.sum(u * written, axis=1)
    in_a *= _outwards(log_decay, sequence, head, chunk, length, heads, False, CHUNK, SUM)
    in_z *= _outwards(log_decay, sequence, head, chunk, length, heads, True, CHUNK, SUM)
    in_L = products * scores * _between(log_decay, sequence, head, chunk, length, heads, False, CHUNK, SUM)
    order = tl.arange(0, CHUNK)
    crossing = tl.cumsum(in_L, axis=0, reverse=True)  # [r, s]: the sum over t >= r
    terms = tl.where(order[None, :] < order[:, None], crossing + in_z[None, :], in_a[None, :])
    kept = tl.exp(tl.sum(_logs(log_decay, sequence, head, chunk, order, length, heads, CHUNK, SUM))) * tl.sum(in_state)
    tl.store(out + (sequence * length + t) * heads + head, (tl.sum(terms, axis=1) + kept).to(out.dtype.element_ty), mask=t < length)


def _constants(x: Tensor, B: Tensor, dtype: torch.dtype, block_p: int, block_n: int) -> dict[str, Any]:
    """What a kernel is compiled for that takes these blocks at most; `dtype` is that of states and sums."""
    head_width, state = x.shape[3], B.shape[3]
    return {
        "HEAD_WIDTH": head_width,
        "STATE": state,
        "BLOCK_P": min(block_p, padded(head_width)),
        "BLOCK_N": min(block_n, padded(state)),
        "CHUNK": CHUNK,
        "SUM": TYPES[dtype],
        **launch_options(warps=8),
    }


def _between_chunks(key: Tensor, value: Tensor, log_decay: Tensor, first: Tensor, *, reverse: bool) -> tuple[Tensor, Tensor]:
    """The states that enter the chunks, `[batch, heads, chunks, head_width, state]`, and the last; or, from the end, their gradients."""
    (batch, length, heads, head_width), (groups, state) = value.shape, key.shape[2:]
    chunks = triton.cdiv(length, CHUNK)
    states, last = first.new_empty((batch, heads, chunks, head_width, state)), torch.empty_like(first)
    constants = _constants(value, key, first.dtype, OWNED, OWNED) | {"REVERSE": reverse}
    tiles = triton.cdiv(head_width, constants["BLOCK_P"]), triton.cdiv(state, constants["BLOCK_N"])
    if states.numel():
        _additions[batch * heads, chunks, tiles[0] * tiles[1]](key, value, log_decay, states, length, heads, groups, **constants)
    if last.numel():
        _passing[batch * heads, *tiles](log_decay, states, first, last, length, heads, **constants)
    return states, last


@torch.library.custom_op("recall_lab::ssd_scan_triton_fwd", mutates_args=())
def forward(x: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, initial_state: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Gives y and the last state in the dtype of `initial_state` and, if `keep`, the states that enter the chunks."""
    x, log_decay, B, C, initial_state = (tensor.contiguous() for tensor in (x, log_decay, B, C, initial_state))
    batch, length, heads, head_width = x.shape
    constants = _constants(x, B, initial_state.dtype, OWNED, WALKED)
    y = torch.empty_like(x, dtype=initial_state.dtype)
    with on_device_of(x):
        entering, last = _between_chunks(B, x, log_decay, initial_state, reverse=False)
        if y.numel():
            grid = batch * heads, triton.cdiv(length, CHUNK), triton.cdiv(head_width, constants["BLOCK_P"])
            _outputs[grid](C, B, x, log_decay, entering, y, length, heads, B.shape[2], REVERSE=False, **constants)
    return y, last, entering if keep else _entering(x, initial_state, False)


@torch.library.custom_op("recall_lab::ssd_scan_triton_bwd", mutates_args=())
def backward(
    grad: Tensor, grad_state: Tensor, x: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, entering: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients in x, log_decay, B, C and the initial state, given those in y and the last state."""
    grad, grad_state, x, log_decay, B, C = (tensor.contiguous() for tensor in (grad, grad_state, x, log_decay, B, C))
    (batch, length, heads, head_width), (groups, state) = x.shape, B.shape[2:]
    chunks = triton.cdiv(length, CHUNK)
    blocks = (OWNED, WALKED), (WALKED, OWNED), (WALKED, WALKED)
    own_p, own_n, own_none = (_constants(x, B, entering.dtype, *sides) for sides in blocks)
    grad_x, grad_log_decay, grad_B, grad_C = (torch.empty_like(tensor) for tensor in (x, log_decay, B, C))
    with on_device_of(x):
        leaving, grad_initial = _between_chunks(C, grad, log_decay, grad_state, reverse=True)
        if x.numel():
            sizes = length, heads, groups
            outputs = _outputs[batch * heads, chunks, triton.cdiv(head_width, own_p["BLOCK_P"])]
            outputs(B, C, grad, log_decay, leaving, grad_x, *sizes, REVERSE=True, **own_p)
            shared = _backward_shared[batch * groups, chunks, triton.cdiv(state, own_n["BLOCK_N"])]
            shared(grad, x, B, log_decay, entering, grad_C, *sizes, REVERSE=False, **own_n)
            shared(x, grad, C, log_decay, leaving, grad_B, *sizes, REVERSE=True, **own_n)
            given = x, log_decay, B, C, grad, entering, leaving
            _backward_log_decay[batch * heads, chunks](*given, grad_log_decay, *sizes, **own_none)
    return grad_x, grad_log_decay, grad_B, grad_C, grad_initial


def _entering(x: Tensor, initial_state: Tensor, keep: bool) -> Tensor:
    batch, heads, *tile = initial_state.shape
    return initial_state.new_empty((batch, heads, triton.cdiv(x.shape[1], CHUNK) if keep else 0, *tile))


around.register(forward, backward, _entering)


def ssd_scan(x: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, initial_state: Tensor, _chunk: int) -> tuple[Tensor, Tensor]:
    """The equations above; chunks have CHUNK tokens, whatever is asked for."""
    return around.ssd_scan(forward, (x, log_decay, B, C, initial_state))
