"""The k best so far in Triton: a program walks a row with the ranks of the k best in registers.

It goes from block to block, and within one from each rank that is better than the worst of the best to the next, whose place that one takes.
So a row of length T takes T / BLOCK steps and one for every position that is held at all: k + k log(T / k) of them where scores come in a
random order, T at most. In eager a block is a few launches, one after the other; sorting and searching, which are wide, are left to PyTorch.

Speed on a GPU has not been measured.
"""

from functools import partial
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._tiles.triton import launch_options, on_device_of
from ._around import causal_topk as around

BLOCK = 128
"""positions that are looked at together"""
A_WARP = 1024
"""ranks for which one warp does: 32 registers a thread, and its minima need no shared memory"""


@triton.jit
@no_type_check
def _walk(rank, threshold, length, k, PADDED: tl.constexpr, BLOCK: tl.constexpr):
    """threshold_i = k-th largest of rank_0 .. rank_i, or -1 where there are fewer."""
    first = tl.program_id(0).to(tl.int64) * length
    slot = tl.arange(0, PADDED)
    best = tl.where(slot < k, -1 - slot, length)  # no two alike, below every rank; and above all what fills up to a power of two
    worst = tl.min(best)
    for start in range(0, length, BLOCK):
        place = start + tl.arange(0, BLOCK)
        ranks = tl.load(rank + first + place, mask=place < length, other=-length).to(tl.int32)
        found = tl.zeros([BLOCK], tl.int32) + worst
        at = tl.min(tl.where(ranks > worst, place, length))
        while at < length:
            better = tl.load(rank + first + at).to(tl.int32)
            best = tl.where(best == worst, better, best)
            worst = tl.min(best)
            found = tl.where(place >= at, worst, found)
            at = tl.min(tl.where((ranks > worst) & (place > at), place, length))
        tl.store(threshold + first + place, tl.maximum(found, -1).to(tl.int64), mask=place < length)


@torch.library.custom_op("recall_lab::causal_topk_triton_fwd", mutates_args=())
def forward(rank: Tensor, k: int) -> Tensor:
    """The k-th largest of the ranks so far `[batch, heads, length]`, -1 where there are fewer; 1 <= k < length."""
    rank = rank.contiguous()
    batch, heads, length = rank.shape
    threshold = torch.empty_like(rank)
    padded = triton.next_power_of_2(k)
    options = launch_options(warps=min(32, max(1, padded // A_WARP)))
    if rank.numel():
        with on_device_of(rank):
            _walk[(batch * heads,)](rank, threshold, length, k, PADDED=padded, BLOCK=BLOCK, **options)
    return threshold


@forward.register_fake
def _(rank: Tensor, _k: int) -> Tensor:
    return torch.empty_like(rank, memory_format=torch.contiguous_format)


causal_topk = partial(around, forward)
"""The selection of the k best of scores."""
