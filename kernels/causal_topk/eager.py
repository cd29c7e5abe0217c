"""The k best so far in plain PyTorch, in O(length log length + length (k + BLOCK)): one sort, then blocks with the k best before them."""

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor

from ._around import causal_topk as around

BLOCK = 64
"""positions in a block: a step from block to block is a call, and a position is compared with as many others"""
MOST = 1 << 20
"""numbers in an intermediate result, 4 MB of int32: about what a cache holds"""


def held_before(rank: Int64[Tensor, "*batch length"], k: int, block: int) -> Int64[Tensor, "*batch blocks k"]:
    """The ranks of the k best before every block of `block` positions, -1 where there are fewer: what one block hands to the next."""
    best = rank.new_full((*rank.shape[:-1], k), -1)
    found = []
    for ranks in torch.split(rank, block, dim=-1):
        found.append(best)
        best = torch.cat([best, ranks], dim=-1).topk(k, sorted=False).values
    return torch.stack(found, dim=-2)


def _thresholds(rank: Int64[Tensor, "batch heads length"], k: int) -> Int64[Tensor, "batch heads length"]:
    """The k-th largest of the ranks so far, -1 where there are fewer.

    A position of a block chooses among the k best before the block and the block up to itself: along the candidates from the best down,
    it is where the k-th that the position can see stands.
    """
    length = rank.shape[-1]
    before = held_before(rank, k, BLOCK)
    own = F.pad(rank, (0, -length % BLOCK), value=-1).view(*before.shape[:3], BLOCK)
    place = torch.arange(BLOCK, device=rank.device)[:, None]
    found = []
    for candidates in torch.split(torch.cat([before, own], dim=-1).flatten(0, 2), max(1, MOST // (BLOCK * (k + BLOCK)))):
        ranks, index = candidates.sort(dim=-1, descending=True)
        better = (index[:, None] - k <= place).cumsum(dim=-1, dtype=torch.int32)  # those before the block are seen from place 0 on
        found.append(ranks.gather(-1, (better < k).sum(dim=-1)))
    return torch.cat(found).view(*before.shape[:3], BLOCK).flatten(2)[..., :length]


causal_topk = partial(around, _thresholds)
"""The selection of the k best of scores."""
