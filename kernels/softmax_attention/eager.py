"""Softmax attention in plain PyTorch: the library's fused attention, over bands where there is a window.

No operator is registered around it: every part is a differentiable PyTorch operator with a fused backward, so `torch.compile` and
autograd see through it, and a wrapper would only hide that.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LEAST_BLOCK = 32
"""queries in a block of a narrow window: with fewer, more time goes into calls than into scores outside the window"""


def softmax_attention(
    query: Float[Tensor, "batch heads length width"],
    key: Float[Tensor, "batch heads length width"],
    value: Float[Tensor, "batch heads length value_width"],
    window: int | None,
    scale: float,
) -> Float[Tensor, "batch heads length value_width"]:
    """Softmax attention in memory linear in the length, backward pass included: no length x length matrix on a CPU.

    Keys or values are widened with zeros to one width, which changes neither scores nor the columns kept: PyTorch's CPU kernel takes
    equal widths only, and its other one stores every score.
    """
    if scale <= 0:  # PyTorch's CPU kernel scales the -inf of its mask as well: NaN at 0, +inf below
        query, scale = scale * query, 1.0
    value_width = value.shape[3]
    width = max(query.shape[3], value_width)
    query, key, value = (x if x.shape[3] == width else F.pad(x, (0, width - x.shape[3])) for x in (query, key, value))
    if window is None or window >= query.shape[2]:
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
    else:
        out = _banded(query, key, value, window, scale)
    return out[..., :value_width]


def _banded(query: Tensor, key: Tensor, value: Tensor, window: int, scale: float) -> Tensor:
    """Attention within a window shorter than the sequence.

    The first `window` queries see all of their past. The others are cut into equal blocks; the queries t .. t+block-1 of a block see the
    keys t-window+1 .. t+block-1, and within these the mask is the same band for every block: query r sees keys r .. r+window-1.
    """
    start = F.scaled_dot_product_attention(query[:, :, :window], key[:, :, :window], value[:, :, :window], is_causal=True, scale=scale)
    rest = query.shape[2] - window
    blocks = -(-rest // max(LEAST_BLOCK, window // 4))  # by a quarter of the window: a fifth of the scores in vain, each key in five blocks
    block = -(-rest // blocks)
    padding = (0, 0, 0, blocks * block - rest)
    queries = torch.unflatten(F.pad(query[:, :, window:], padding), 2, (blocks, block)).flatten(0, 1)
    keys, values = (F.pad(x[:, :, 1:], padding).unfold(2, block + window - 1, block).mT.flatten(0, 1) for x in (key, value))
    band = torch.ones(block, block + window - 1, dtype=torch.bool, device=query.device).triu().tril(window - 1)
    out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=band, scale=scale)
    return torch.cat([start, torch.unflatten(out, 0, query.shape[:2]).flatten(2, 3)[:, :, :rest]], dim=2)
