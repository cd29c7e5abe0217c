"""Keys of the query's own bin in plain PyTorch, in O(length log length): two sorts and two binary searches."""

import torch
from jaxtyping import Int64
from torch import Tensor

from .ranges import Ranges


def bin_ranges(query_bins: Int64[Tensor, "batch heads length"], key_bins: Int64[Tensor, "batch heads length"], per_bin: int) -> Ranges:
    """By bin * length + position, in which order the keys that a query may see end at the query's own number."""
    length = query_bins.shape[2]
    position = torch.arange(length, device=query_bins.device)
    query_bins, key_bins = query_bins.contiguous(), key_bins.contiguous()
    first_of_bin = query_bins * length
    queries = first_of_bin + position
    keys, key_order = (key_bins * length + position).sort(dim=-1)
    end = torch.searchsorted(keys, queries, right=True)
    start = torch.maximum(torch.searchsorted(keys, first_of_bin), end - per_bin)
    return Ranges(key_order=key_order, query_order=queries.argsort(dim=-1), start=start, end=end)
