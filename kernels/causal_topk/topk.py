"""What key selection selects."""

from dataclasses import dataclass

from jaxtyping import Int64
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TopK:
    """Position i holds position j iff j <= i and rank_j >= threshold_i, that is iff j <= i < evicted_at_j.

    All counts are of one sequence (one head of one entry of the batch), and all positions from 0.
    """

    rank: Int64[Tensor, "batch heads length"]
    """place among all scores, 0 for the worst; of equal scores the earlier has the higher rank, so no two are equal"""
    threshold: Int64[Tensor, "batch heads length"]
    """k-th largest rank so far, which never falls; -1 for the first k positions, where all are held"""
    evicted_at: Int64[Tensor, "batch heads length"]
    """first position that holds j no more, and none after it does; j itself if j is never held, length if j is held to the end"""
