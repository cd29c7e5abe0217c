"""Softmax attention: the mixer that keeps everything it has read."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ..kernels import softmax_attention
from .mixer import Cost, causal_mask
from .projected import HeadsConfig, PerHead, ProjectedMixer
from .rotary import rotate

Positions = Literal["none", "rotary"]

KeyValueCache = tuple[Float[Tensor, "batch heads _ d"], Float[Tensor, "batch heads _ d"]]
"""keys (not yet rotated) and values of the positions that may still be read"""


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(HeadsConfig):
    """Configuration of `Attention`."""

    positions: Positions = "none"
    """how a score knows of distance: not at all, or by rotary embedding"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.positions not in get_args(Positions):
            raise ValueError(f"positions must be one of {', '.join(get_args(Positions))}, got {self.positions!r}")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise ValueError(f"rotary positions need an even number of features a head, got width={self.width} over heads={self.heads}")


class Attention(ProjectedMixer):
    """y_t = sum over s <= t of softmax_s(q_t . k_s / sqrt(d)) v_s (arXiv:1706.03762, eq. 1, causal).

    Its state is the cache of all keys and values, 2 * width * length scalars: it has no fixed size.
    """

    Config = AttentionConfig
    config: AttentionConfig

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__(config, key_width=config.width)

    def reach(self, length: int) -> int:
        """Positions, its own included, that the last of `length` positions reads."""
        return length

    def queries_and_keys(self, x: Float[Tensor, "batch length width"]) -> tuple[PerHead, PerHead]:
        """Both with their positions."""
        q, k = self.split(self.query(x)), self.split(self.key(x))
        return (rotate(q), rotate(k)) if self.config.positions == "rotary" else (q, k)

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        q, k = self.queries_and_keys(x)
        length = x.shape[1]
        window = None if self.reach(length) == length else self.reach(length)
        return self.output(softmax_attention(q, k, self.values(x), window=window), x)

    def mixing_matrix(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch heads length length"]:
        q, k = self.queries_and_keys(x)
        seen = causal_mask(x.shape[1], x.device).triu(1 - self.reach(x.shape[1]))
        scores = q @ k.mT / q.shape[-1] ** 0.5
        return scores.masked_fill(~seen, float("-inf")).softmax(dim=-1)

    def init_state(self, batch: int) -> KeyValueCache:
        empty = self.query.weight.new_empty(batch, self.config.heads, 0, self.config.width // self.config.heads)
        return empty, empty

    def step(self, x: Float[Tensor, "batch width"], state: KeyValueCache) -> tuple[Float[Tensor, "batch width"], KeyValueCache]:
        x = x[:, None]
        q = self.split(self.query(x))
        keys = torch.cat((state[0], self.split(self.key(x))), dim=2)
        values = torch.cat((state[1], self.values(x)), dim=2)
        read = self.reach(keys.shape[2])
        if self.config.positions == "rotary":  # only distances count, so the oldest cached position may stand at 0
            padded = torch.cat((q.expand(-1, -1, keys.shape[2] - 1, -1), q), dim=2)
            scores = rotate(padded)[:, :, -1:] @ rotate(keys).mT
        else:
            scores = q @ keys.mT
        weights = (scores / q.shape[-1] ** 0.5).softmax(dim=-1)
        kept = self.carried(keys.shape[2])
        cache = keys[:, :, read - kept :], values[:, :, read - kept :]
        return self.output(weights @ values, x)[:, 0], cache

    def carried(self, length: int) -> int:
        """Positions that must be kept after `length` of them for the sake of later ones."""
        return length

    def state_size(self, length: int) -> int:
        return 2 * self.config.width * self.carried(length)

    def cost(self, length: int) -> Cost:
        reach = self.reach(length)
        pairs = reach * (reach + 1) // 2 + (length - reach) * reach
        mixing = Cost(4 * pairs * self.config.width, 4 * 4 * length * self.config.width)  # scores and sums; q, k, v in, y out
        return self.projection_cost(length) + mixing
