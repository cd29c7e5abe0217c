"""Linear attention in plain PyTorch: scores within a chunk, a state between chunks.

No operator is registered around it: all of it is matrix products and one cumulative sum, which autograd differentiates into the same.
A backward pass by hand (three more linear attentions, see `triton.py`) would keep less, and took 1.6 times as long on a CPU.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def linear_attention(
    query: Float[Tensor, "batch heads length features"],
    key: Float[Tensor, "batch heads length features"],
    value: Float[Tensor, "batch heads length value_width"],
) -> Float[Tensor, "batch heads length value_width"]:
    """y_t = sum_{s<=t in its chunk} (q_t . k_s) v_s + q_t S, S the sum of k_s^T v_s over the chunks before; at least float32 inside.

    S is a sum over the chunks before, never a sum over all of them less the chunk's own: that would lose digits, and let the future
    of the chunk reach back through the rounding.
    """
    length, dtype = query.shape[2], query.dtype
    chunk = _chunk(query.shape[3] * value.shape[3])
    chunks = max(1, -(-length // chunk))
    padding = (0, 0, 0, chunks * chunk - length)
    wide = torch.promote_types(dtype, torch.float32)
    q, k, v = (torch.unflatten(F.pad(x.to(wide), padding), 2, (chunks, chunk)) for x in (query, key, value))
    before = F.pad(k.mT @ v, (0, 0, 0, 0, 1, -1)).cumsum(dim=2)
    out = (q @ k.mT).tril() @ v + q @ before
    return out.flatten(2, 3)[:, :, :length].to(dtype)


def _chunk(state: int) -> int:
    """32, 64 or 128 tokens: near the root of the state's size, where scores (chunk a token) and states (state / chunk) are equally many."""
    return min(128, 1 << (max(32 * 32, state).bit_length() // 2))
