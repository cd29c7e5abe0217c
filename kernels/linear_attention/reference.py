"""Linear attention by its definition: the state after every position, read by that position's query."""

import torch
from jaxtyping import Float
from torch import Tensor


def linear_attention(
    query: Float[Tensor, "batch heads length features"],
    key: Float[Tensor, "batch heads length features"],
    value: Float[Tensor, "batch heads length value_width"],
) -> Float[Tensor, "batch heads length value_width"]:
    """y_t = q_t S_t with S_t = sum_{s<=t} k_s^T v_s (arXiv:2006.16236, eqs. 10 and 12, no normaliser), in the dtype given."""
    states = (key[..., :, None] * value[..., None, :]).cumsum(dim=2)
    return torch.einsum("bhtf,bhtfv->bhtv", query, states)
