"""The selective scan in Triton: a program owns a block of channels and walks the tokens with their states in registers.

The equations are those of `eager.py`, and so are the slabs: only the state before every slab is kept. The backward pass walks the slabs from
the last; it computes the states of a slab again, leaves them in a workspace that stays in the cache, and walks back through it. What has to
be summed over channels (dB, dC) or over the batch (dA) is summed in parts, and the parts outside: no sum depends on which program was first.

There are as many programs as batch entries times blocks of channels, a block being 32 channels with up to 64 states each, and fewer with
more. With fewer programs than a GPU has multiprocessors (132 on an H100: batch times channels below 4224) a part of it is idle, however long
the sequence is: splitting that too would take a second pass over the states. Speed on a GPU has not been measured.

In the kernels t counts tokens, e channels and n states of a channel, and tensors are contiguous. All is computed in float32 at least.
"""

from functools import partial
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._tiles.triton import TYPES, launch_options, load_row, load_rows, on_device_of, store_row, store_rows
from . import _around as around
from ._around import SLAB

CHANNELS = 32
"""most channels that a program owns: a row of them in float32 is one line of the cache"""
TILE = 2048
"""most states that a program owns: 8 a thread, of which the backward pass holds seven kinds (no spills on sm_80 and sm_90)"""
AHEAD = tl.constexpr(4)
"""tokens that are loaded ahead: a walk that waited for each of them would do little else"""


@triton.jit
@no_type_check
def _step(h, a, u, delta, B, row, e, n, WIDTH: tl.constexpr, STATES: tl.constexpr, SUM: tl.constexpr):
    """h_t from h_{t-1}, t the token in this row of u, delta and B."""
    d = load_row(delta, row, e, WIDTH, SUM)
    x = d * load_row(u, row, e, WIDTH, SUM)
    return tl.exp(d[:, None] * a) * h + x[:, None] * load_row(B, row, n, STATES, SUM)[None, :]


@triton.jit
@no_type_check
def _forward(
    u, delta, A, B, C, state, y, final, edges, length,
    KEEP: tl.constexpr, WIDTH: tl.constexpr, STATES: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr, SLAB: tl.constexpr,
    SUM: tl.constexpr,
):  # fmt: skip
    """Gives y, the final state, and the states before every slab if it is to KEEP them."""
    batch = tl.program_id(0).to(tl.int64)
    e = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    n = tl.arange(0, PADDED)
    a = load_rows(A, 0, e, n, WIDTH, STATES, SUM)
    h = load_rows(state, batch, e, n, WIDTH, STATES, SUM)
    for t in tl.range(length, num_stages=AHEAD):
        if KEEP and t % SLAB == 0:
            store_rows(edges, t // SLAB * tl.num_programs(0) + batch, e, n, WIDTH, h, STATES)
        row = batch * length + t
        h = _step(h, a, u, delta, B, row, e, n, WIDTH, STATES, SUM)
        store_row(y, row, e, tl.sum(h * load_row(C, row, n, STATES, SUM)[None, :], axis=1), WIDTH)
    store_rows(final, batch, e, n, WIDTH, h, STATES)


@triton.jit
@no_type_check
def _backward(
    grad_y, grad_state, u, delta, A, B, C, edges, before, grad_u, grad_delta, grad_A, grad_B, grad_C, grad_initial, length, slabs,
    WIDTH: tl.constexpr, STATES: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr, SLAB: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """Gives du, ddelta, the initial state's gradient, and parts of dA (by batch entry), dB and dC (by block of channels).

    `before` is room for the states h_{t-1} of a slab, padded so that a state needs no mask.
    """
    batch = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1) * tl.num_programs(0) + batch
    e = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    n = tl.arange(0, PADDED)
    a = load_rows(A, 0, e, n, WIDTH, STATES, SUM)
    g = load_rows(grad_state, batch, e, n, WIDTH, STATES, SUM)
    before += block * (SLAB * CHANNELS * PADDED)
    place = tl.arange(0, CHANNELS)[:, None] * PADDED + n[None, :]
    da = tl.zeros([CHANNELS, PADDED], SUM)
    lost = tl.zeros([CHANNELS, PADDED], SUM)
    for behind in range(slabs):
        start = (slabs - 1 - behind) * SLAB
        stop = tl.minimum(start + SLAB, length)
        h = load_rows(edges, start // SLAB * tl.num_programs(0) + batch, e, n, WIDTH, STATES, SUM)
        for t in tl.range(start, stop, num_stages=AHEAD):
            tl.store(before + (t - start) * (CHANNELS * PADDED) + place, h)
            h = _step(h, a, u, delta, B, batch * length + t, e, n, WIDTH, STATES, SUM)
        tl.debug_barrier()  # a state is read by other threads than wrote it
        part = tl.zeros([CHANNELS, PADDED], SUM)
        for back in tl.range(stop - start, num_stages=AHEAD):
            t = stop - 1 - back
            row = batch * length + t
            d = load_row(delta, row, e, WIDTH, SUM)
            u_t = load_row(u, row, e, WIDTH, SUM)
            dy = load_row(grad_y, row, e, WIDTH, SUM)
            b = load_row(B, row, n, STATES, SUM)
            decay = tl.exp(d[:, None] * a)
            kept = decay * tl.load(before + (t - start) * (CHANNELS * PADDED) + place)
            x = d * u_t
            g += dy[:, None] * load_row(C, row, n, STATES, SUM)[None, :]
            store_row(grad_C, block * length + t, n, tl.sum((kept + x[:, None] * b[None, :]) * dy[:, None], axis=0), STATES)
            store_row(grad_B, block * length + t, n, tl.sum(g * x[:, None], axis=0), STATES)
            dx = tl.sum(g * b[None, :], axis=1)
            w = g * kept
            part += w * d[:, None]
            store_row(grad_u, row, e, dx * d, WIDTH)
            store_row(grad_delta, row, e, tl.sum(w * a, axis=1) + dx * u_t, WIDTH)
            g = decay * g
        tl.debug_barrier()  # and overwritten by the next slab
        part -= lost  # slabs are thousands, and one sum: what rounding takes from it goes to the next part (Kahan)
        total = da + part
        lost = (total - da) - part
        da = total
    store_rows(grad_A, batch, e, n, WIDTH, da, STATES)
    store_rows(grad_initial, batch, e, n, WIDTH, g, STATES)


def _constants(A: Tensor) -> dict[str, Any]:
    channels, states = A.shape
    padded = triton.next_power_of_2(states)
    block = min(CHANNELS, TILE // padded, triton.next_power_of_2(channels))
    return {
        "WIDTH": channels,
        "STATES": states,
        "CHANNELS": block,
        "PADDED": padded,
        "SLAB": SLAB,
        "SUM": TYPES[A.dtype],
        "maxnreg": 255,  # all there are: else a few are spilled, to fit more programs on a multiprocessor than it will get
        **launch_options(warps=min(8, max(1, block * padded // 128))),
    }


@torch.library.custom_op("recall_lab::selective_scan_triton_fwd", mutates_args=())
def forward(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, keep_edges: bool) -> tuple[Tensor, Tensor, Tensor]:
    """See `_around.py`."""
    batch, length, channels = u.shape
    y, final = delta.new_empty(u.shape), state.new_empty(state.shape)
    edges = state.new_empty((triton.cdiv(length, SLAB) if keep_edges else 0, *state.shape))
    constants = _constants(A)
    if final.numel():
        with on_device_of(u):
            given = (x.contiguous() for x in (u, delta, A, B, C, state))
            grid = (batch, triton.cdiv(channels, constants["CHANNELS"]))
            _forward[grid](*given, y, final, edges, length, KEEP=keep_edges, **constants)
    return y, final, edges


@torch.library.custom_op("recall_lab::selective_scan_triton_bwd", mutates_args=())
def backward(
    grad_y: Tensor, grad_state: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, edges: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `_around.py`."""
    batch, length, channels = u.shape
    constants = _constants(A)
    blocks = triton.cdiv(channels, constants["CHANNELS"])
    assert len(edges) == triton.cdiv(length, SLAB), "the forward pass kept no states"
    grad_u, grad_delta, grad_initial = (x.new_empty(x.shape) for x in (u, delta, grad_state))
    grad_A = A.new_empty((batch, *A.shape))
    grad_B, grad_C = (A.new_empty((blocks, *x.shape)) for x in (B, C))
    before = A.new_empty((blocks, batch, SLAB, constants["CHANNELS"], constants["PADDED"]))
    if grad_initial.numel():
        with on_device_of(u):
            given = (x.contiguous() for x in (grad_y, grad_state, u, delta, A, B, C, edges))
            found = (grad_u, grad_delta, grad_A, grad_B, grad_C, grad_initial)
            _backward[batch, blocks](*given, before, *found, length, len(edges), **constants)
    return grad_u, grad_delta, grad_A.sum(dim=0), grad_B.sum(dim=0).to(B.dtype), grad_C.sum(dim=0).to(C.dtype), grad_initial


around.register(forward, backward)

selective_scan = partial(around.selective_scan, forward)
"""Outputs, and the state after the last token, of the arguments of `_around.selective_scan` after the first."""
