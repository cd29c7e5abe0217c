"""The frame shared by mixers that compare queries with keys and add up values: projections, heads, output."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from .mixer import Cost, Mixer, MixerConfig, linear_cost

PerHead = Float[Tensor, "batch heads length d"]


@dataclass(frozen=True, kw_only=True)
class HeadsConfig(MixerConfig):
    """Configuration of a mixer with heads."""

    heads: int = 1
    """the width is cut into this many equal parts, each mixed on its own"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"heads must divide width={self.width}, got {self.heads}")


class ProjectedMixer(Mixer):
    """Queries, keys and values are linear maps of the input; heads are joined and mapped back (arXiv:1706.03762, sec. 3.2.2, no bias).

    Projections have the same names in every mixer of this kind, so that one may be put in another's place with the same weights.
    """

    config: HeadsConfig

    def __init__(self, config: HeadsConfig, *, key_width: int) -> None:
        super().__init__(config)
        self.query = nn.Linear(config.width, key_width, bias=False)
        self.key = nn.Linear(config.width, key_width, bias=False)
        self.value = nn.Linear(config.width, config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def split(self, x: Float[Tensor, "batch length all"]) -> PerHead:
        """`[batch, length, heads * d]` to `[batch, heads, length, d]`."""
        return x.reshape(*x.shape[:-1], self.config.heads, x.shape[-1] // self.config.heads).transpose(1, 2)

    def values(self, x: Float[Tensor, "batch length width"]) -> PerHead:
        return self.split(self.value(x))

    def output(self, mixed: PerHead, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        return self.out(mixed.transpose(1, 2).flatten(-2))

    def projection_cost(self, length: int) -> Cost:
        """The four linear maps."""
        maps = (self.query, self.key, self.value, self.out)
        costs = [linear_cost(length, each.in_features, each.out_features) for each in maps]
        return Cost(sum(cost.flops for cost in costs), sum(cost.bytes for cost in costs))
