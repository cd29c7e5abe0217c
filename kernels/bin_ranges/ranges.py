"""What a hash selects, and every other set that is a run of keys in some order."""

from dataclasses import dataclass

from jaxtyping import Int64
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranges:
    """Position i holds the keys key_order[start_i] .. key_order[end_i - 1], none of which comes after i.

    Along `query_order`, neither start nor end falls: queries that follow one another there share most of their keys.
    """

    key_order: Int64[Tensor, "batch heads length"]
    """positions of keys, those of a bin side by side, the earlier first"""
    query_order: Int64[Tensor, "batch heads length"]
    """positions of queries in the same order"""
    start: Int64[Tensor, "batch heads length"]
    """by position of the query, as `end` is"""
    end: Int64[Tensor, "batch heads length"]
    """equal to start where nothing is held"""
