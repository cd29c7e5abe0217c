"""Locality-sensitive hashing for attention: bins by signs, and the keys of a query's own bin as a run of the sorted keys."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .._dispatch import Backend, Operator
from . import eager, reference
from .ranges import Ranges

MOST_BITS = 31
"""most bits of a bin: times a length below 2^32, a bin still fits 64 bits"""


OPERATOR = Operator(name="bin_ranges", reference=reference.bin_ranges, eager=eager.bin_ranges)


def hash_bins(
    x: Float[Tensor, "batch heads length width"], planes: Float[Tensor, "*heads width bits"]
) -> Int64[Tensor, "batch heads length"]:
    """bin(x) = sum_b 2^b [x . H_b > 0]: the side of each plane through 0 on which x lies; `planes` are shared, or one set a head.

    With standard normal H, two vectors share a bin with probability (1 - angle / pi)^bits. Nothing is differentiable here.

    Raises ValueError for shapes or dtypes that do not fit, or more than 31 bits.
    """
    if x.ndim != 4 or planes.shape[:-1] not in ((x.shape[3],), (x.shape[1], x.shape[3])):
        raise ValueError(
            f"planes must have the axes width, bits or heads, width, bits of an x [batch, heads, length, width], "
            f"got {tuple(planes.shape)} for {tuple(x.shape)}"
        )
    if planes.shape[-1] > MOST_BITS:
        raise ValueError(f"planes must be at most {MOST_BITS}, got {planes.shape[-1]}")
    if x.dtype != planes.dtype:
        raise ValueError(f"x and planes must share one floating dtype, got {x.dtype} and {planes.dtype}")
    bits = torch.arange(planes.shape[-1], device=x.device)
    return ((x.detach() @ planes.detach() > 0).to(torch.int64) << bits).sum(dim=-1)


def check_bins(query_bins: Tensor, key_bins: Tensor, per_bin: int) -> None:
    """Raises ValueError unless both are int64, `[batch, heads, length]` and of one shape, and per_bin at least 1."""
    if query_bins.ndim != 3 or key_bins.shape != query_bins.shape:
        raise ValueError(
            f"query_bins and key_bins must have the same axes batch, heads, length, got {tuple(query_bins.shape)} and {tuple(key_bins.shape)}"
        )
    if not query_bins.dtype == key_bins.dtype == torch.int64:
        raise ValueError(f"query_bins and key_bins must be torch.int64, got {query_bins.dtype} and {key_bins.dtype}")
    if per_bin < 1:
        raise ValueError(f"per_bin must be at least 1 key, got {per_bin}")


def bin_ranges(
    query_bins: Int64[Tensor, "batch heads length"],
    key_bins: Int64[Tensor, "batch heads length"],
    per_bin: int,
    *,
    backend: Backend | None = None,
) -> Ranges:
    """Position i holds the last `per_bin` of the keys j <= i whose bin is the query's, as a run of the keys sorted by bin and position.

    (arXiv:2507.00449, locality-sensitive hashing.) Bins lie in 0 .. 2^31 - 1. Where no key matches, the run is empty. A length of 0 is
    allowed, and per_bin may exceed the length.

    Cost: two sorts and two binary searches a position; memory is linear in the length. The reference compares all with all. There is no
    Triton body: on a GPU too, eager runs, whose sorts and searches are PyTorch's own.

    Raises ValueError for shapes or dtypes that do not fit or per_bin < 1, and BackendUnavailable where `backend` cannot run.
    """
    check_bins(query_bins, key_bins, per_bin)
    return OPERATOR.body((query_bins, key_bins), backend)(query_bins, key_bins, per_bin)
