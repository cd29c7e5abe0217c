"""Keys of the query's own bin, by their definition: every pair of positions compared."""

import torch
from jaxtyping import Int64
from torch import Tensor

from .ranges import Ranges


def bin_ranges(query_bins: Int64[Tensor, "batch heads length"], key_bins: Int64[Tensor, "batch heads length"], per_bin: int) -> Ranges:
    """end_i = #{j : (bin_j, j) <= (bin_i, i)}, start_i = end_i - min(per_bin, #{j <= i : bin_j = bin_i})."""
    end = _not_after(query_bins, key_bins).sum(dim=-1)
    matches = (key_bins[..., None, :] == query_bins[..., :, None]).tril().sum(dim=-1)
    return Ranges(key_order=_order(key_bins), query_order=_order(query_bins), start=end - matches.clamp(max=per_bin), end=end)


def _not_after(bins: Tensor, others: Tensor) -> Tensor:
    """Whether (others_j, j) <= (bins_i, i), at [..., i, j]."""
    bins, others = bins[..., :, None], others[..., None, :]
    return (others < bins) | (others == bins).tril()


def _order(bins: Tensor) -> Tensor:
    """Positions by (bin, position): each has as many before it as its place says."""
    place = _not_after(bins, bins).sum(dim=-1) - 1
    return torch.empty_like(place).scatter_(-1, place, torch.arange(bins.shape[-1], device=bins.device).expand_as(place))
