"""Softmax attention by its definition: every score, the mask, the softmax."""

import torch
from jaxtyping import Float
from torch import Tensor


def softmax_attention(
    query: Float[Tensor, "batch heads length width"],
    key: Float[Tensor, "batch heads length width"],
    value: Float[Tensor, "batch heads length value_width"],
    window: int | None,
    scale: float,
) -> Float[Tensor, "batch heads length value_width"]:
    """softmax(scale Q K^T) V over the positions s with 0 <= t - s < window (arXiv:1706.03762, eq. 1), in the dtype given."""
    position = torch.arange(query.shape[2], device=query.device)
    back = position[:, None] - position
    seen = (back >= 0) if window is None else (back >= 0) & (back < window)
    scores = scale * (query @ key.mT)
    return scores.masked_fill(~seen, -torch.inf).softmax(dim=-1) @ value
