"""Sparse attention as a mixer of its own: a fixed number of earlier positions read, chosen by rule or by content."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from .key_selection import PerHead
from .mixer import Cost
from .projected import HeadsConfig, ProjectedMixer
from .sparse_reader import ReaderConfig, ReaderState, SparseReader


@dataclass(frozen=True, kw_only=True)
class SparseConfig(ReaderConfig, HeadsConfig):
    """Configuration of `Sparse`."""


class Sparse(ProjectedMixer):
    """y_i = sum over j in S_i of softmax_j(q_i . k_j / sqrt(d)) v_j in every head, S_i the pattern's (arXiv:2507.00449, CISA and CDSA).

    Projections have the names of those of `Attention`: its weights load, with strict=False where there are planes or a score besides. Hash
    planes are a head's own; one score of keys serves all heads. Positions do not enter: a short convolution before it tells neighbours apart.
    """

    Config = SparseConfig
    state_knob = "budget"
    config: SparseConfig

    def __init__(self, config: SparseConfig) -> None:
        super().__init__(config, key_width=config.width)
        self.reader = SparseReader(config, heads=config.heads, width=config.width // config.heads)

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        return self.output(self.reader(*self._queries_and_keys(x), self.values(x)), x)

    def _queries_and_keys(self, x: Tensor) -> tuple[PerHead, PerHead]:
        return self.split(self.query(x)), self.split(self.key(x))

    def mixing_matrix(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch heads length length"]:
        return self.reader.mixing_matrix(*self._queries_and_keys(x))

    def init_state(self, batch: int) -> ReaderState:
        return self.reader.init_state(self.query.weight, batch, self.reader.width)

    def step(self, x: Float[Tensor, "batch width"], state: ReaderState) -> tuple[Float[Tensor, "batch width"], ReaderState]:
        x = x[:, None]
        q, k, v = (part[:, :, 0] for part in (*self._queries_and_keys(x), self.values(x)))
        read, state = self.reader.step(q, k, v, state)
        return self.output(read[:, :, None], x)[:, 0], state

    def state_size(self, length: int) -> int:
        return self.reader.state_size(length, self.reader.width)

    def cost(self, length: int) -> Cost:
        return self.projection_cost(length) + self.reader.cost(length, self.reader.width)
