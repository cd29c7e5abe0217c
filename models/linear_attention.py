"""Linear attention: a sum of outer products in place of a cache, so that the state has a fixed size."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..kernels import linear_attention
from .mixer import Cost, causal_mask
from .projected import HeadsConfig, PerHead, ProjectedMixer

FeatureMap = Literal["identity", "elu_plus_one", "taylor"]


class Features(NamedTuple):
    """A feature map phi, how many features it makes of f, and whether phi(q) . phi(k) > 0, so that weights can be normalised."""

    map: Callable[[Tensor], Tensor]
    count: Callable[[int], int]
    positive: bool


def taylor(x: Float[Tensor, "*rest f"]) -> Float[Tensor, "*rest features"]:
    """phi(q) . phi(k) = 1 + s + s^2 / 2 with s = q . k / sqrt(f): the exponential to second order (arXiv:2402.18668, eq. 2).

    The products x_i x_j and x_j x_i are kept once, with weight, so that 1 + f + f (f+1) / 2 features are carried and not 1 + f + f^2.
    """
    f = x.shape[-1]
    x = x / f**0.25
    i, j = torch.triu_indices(f, f, device=x.device)
    weight = torch.where(i == j, 0.5**0.5, 1.0).to(x.dtype)
    return torch.cat((torch.ones_like(x[..., :1]), x, x[..., i] * x[..., j] * weight), dim=-1)


FEATURES: dict[str, Features] = {
    "identity": Features(lambda x: x, lambda f: f, positive=False),
    "elu_plus_one": Features(lambda x: F.elu(x) + 1, lambda f: f, positive=True),
    "taylor": Features(taylor, lambda f: 1 + f + f * (f + 1) // 2, positive=True),
}


@dataclass(frozen=True, kw_only=True)
class LinearAttentionConfig(HeadsConfig):
    """Configuration of `LinearAttention`."""

    feature_width: int = 16
    """features of a query and of a key, a head, before the feature map"""
    feature_map: FeatureMap = "identity"
    """identity: no normaliser; elu_plus_one (arXiv:2006.16236, eq. 7) and taylor (Based): weights that sum to one"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.feature_width < 1:
            raise ValueError(f"feature_width must be at least 1, got {self.feature_width}")
        if self.feature_map not in get_args(FeatureMap):
            raise ValueError(f"feature_map must be one of {', '.join(get_args(FeatureMap))}, got {self.feature_map!r}")


class LinearAttention(ProjectedMixer):
    """y_t = phi(q_t) S_t with S_t = S_{t-1} + phi(k_t)^T v_t (arXiv:2006.16236, eq. 16-20).

    Positive feature maps divide by phi(q_t) z_t with z_t = z_{t-1} + phi(k_t), which is one more column of S for a constant value 1.
    The state is S: heads * features * d_v scalars, d_v = width / heads (+ 1 with the normaliser), whatever the length.
    """

    Config = LinearAttentionConfig
    state_knob = "feature_width"
    config: LinearAttentionConfig

    def __init__(self, config: LinearAttentionConfig) -> None:
        super().__init__(config, key_width=config.heads * config.feature_width)
        self.features = FEATURES[config.feature_map]

    def queries_and_keys(self, x: Float[Tensor, "batch length width"]) -> tuple[PerHead, PerHead]:
        """Both behind the feature map."""
        return self.features.map(self.split(self.query(x))), self.features.map(self.split(self.key(x)))

    def written(self, x: Float[Tensor, "batch length width"]) -> PerHead:
        """Values as they are added to the state: with the normaliser's column of ones where there is one."""
        return F.pad(self.values(x), (0, 1), value=1.0) if self.features.positive else self.values(x)

    def normalised(self, read: Float[Tensor, "batch heads length written"]) -> PerHead:
        """What is read from the state, divided by its last column where that is the normaliser."""
        return read[..., :-1] / read[..., -1:] if self.features.positive else read

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        q, k = self.queries_and_keys(x)
        return self.output(self.normalised(linear_attention(q, k, self.written(x))), x)

    def mixing_matrix(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch heads length length"]:
        q, k = self.queries_and_keys(x)
        scores = (q @ k.mT).masked_fill(~causal_mask(x.shape[1], x.device), 0.0)
        return scores / scores.sum(dim=-1, keepdim=True) if self.features.positive else scores

    def init_state(self, batch: int) -> Float[Tensor, "batch heads features d_v"]:
        return self.query.weight.new_zeros(batch, *self._state_shape())

    def step(
        self, x: Float[Tensor, "batch width"], state: Float[Tensor, "batch heads features d_v"]
    ) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch heads features d_v"]]:
        x = x[:, None]
        q, k = self.queries_and_keys(x)
        state = state + k.mT @ self.written(x)
        return self.output(self.normalised(q @ state), x)[:, 0], state

    def _state_shape(self) -> tuple[int, int, int]:
        config = self.config
        return config.heads, self.features.count(config.feature_width), config.width // config.heads + self.features.positive

    def state_size(self, length: int) -> int:
        heads, features, d_v = self._state_shape()
        return heads * features * d_v

    def cost(self, length: int) -> Cost:
        heads, features, d_v = self._state_shape()
        recurrence = Cost(4 * length * heads * features * d_v, 4 * length * heads * 2 * (features + d_v))
        return self.projection_cost(length) + recurrence
