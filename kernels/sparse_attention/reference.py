"""Sparse attention by its definition: every score, the mask of the pattern, the softmax."""

import torch
from jaxtyping import Float
from torch import Tensor

from .patterns import Pattern, pattern_mask


def sparse_attention(
    query: Float[Tensor, "batch heads length width"],
    key: Float[Tensor, "batch heads length width"],
    value: Float[Tensor, "batch heads length value_width"],
    pattern: Pattern,
    scale: float,
) -> tuple[Float[Tensor, "batch heads length value_width"], Float[Tensor, "batch heads length"]]:
    """softmax(scale Q K^T) V over what the pattern holds, and the log of the sum of exp(scores); in the dtype given.

    Rows that see nothing keep all their scores until the end, and give 0 and -inf there: a softmax of nothing but -inf would be NaN, and
    so would be its gradient, whatever is done with it afterwards.
    """
    seen = pattern_mask(pattern, query.shape[2], device=query.device)
    nothing = ~seen.any(dim=-1, keepdim=True)
    scores = (scale * (query @ key.mT)).masked_fill(~(seen | nothing), -torch.inf)
    weights = scores.softmax(dim=-1).masked_fill(nothing, 0.0)
    return weights @ value, scores.logsumexp(dim=-1).masked_fill(nothing[..., 0], -torch.inf)
