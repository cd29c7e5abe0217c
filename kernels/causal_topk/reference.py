"""The k best so far, by their definition: every score against every other, every prefix sorted."""

import torch
from jaxtyping import Float
from torch import Tensor

from .topk import TopK


def causal_topk(scores: Float[Tensor, "batch heads length"], k: int) -> TopK:
    """rank_j = #{j' worse than j}, threshold_i = k-th largest of rank_0 .. rank_i, evicted_at_j = first i >= j with threshold_i > rank_j."""
    length = scores.shape[2]
    position = torch.arange(length, device=scores.device)
    mine, others = scores[..., :, None], scores[..., None, :]
    rank = ((others < mine) | (others == mine) & (position > position[:, None])).sum(dim=-1)
    prefixes = rank[..., None, :].expand(*rank.shape, length).masked_fill(position > position[:, None], -1).sort(dim=-1, descending=True)
    threshold = prefixes.values[..., k - 1].masked_fill(position < k, -1) if k <= length else torch.full_like(rank, -1)
    gone = (threshold[..., None, :] > rank[..., :, None]) & (position >= position[:, None])
    evicted_at = torch.where(gone, position, length).amin(dim=-1) if length else rank
    return TopK(rank=rank, threshold=threshold, evicted_at=evicted_at)
