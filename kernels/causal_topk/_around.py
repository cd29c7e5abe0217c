"""What stands around the thresholds in eager and Triton alike: ranks before them, evictions after them."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .topk import TopK


def causal_topk(thresholds: Callable[[Tensor, int], Tensor], scores: Float[Tensor, "batch heads length"], k: int) -> TopK:
    """Ranks by a stable sort; `thresholds(rank, k)`, the k-th largest so far; evictions by binary search, because thresholds never fall."""
    length = scores.shape[2]
    position = torch.arange(length, device=scores.device)
    best_first = scores.detach().contiguous().sort(dim=-1, descending=True, stable=True).indices
    rank = torch.empty_like(best_first).scatter_(-1, best_first, (length - 1 - position).expand_as(best_first))
    threshold = thresholds(rank, k).masked_fill(position < k, -1) if k < length else torch.full_like(rank, -1)
    evicted_at = torch.searchsorted(threshold, rank, right=True)
    return TopK(rank=rank, threshold=threshold, evicted_at=torch.maximum(evicted_at, position))
