"""A state-space model and sparse attention side by side in one block: what both kinds of it share (arXiv:2507.00449)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .key_selection import PerHead
from .mamba import Mamba
from .mamba2 import Mamba2
from .mixer import Cost, Mixer, State, linear_cost
from .sparse_reader import ReaderConfig, SparseReader


class Hybrid(Mixer):
    """y = SSM(u) + E * attention(q, k, u), then gate and projection: u is what the convolution of the base gives, and (k, q) = W_xx u.

    One head of attention reads all channels of u; queries and keys are as wide as the base has states, and know no positions. E, one factor
    a channel, is initially 1. `base` is the mixer without attention, whole: weights of a trained one load into it.

    In `mixing_matrix` the attention's one matrix stands once for each of the base's heads, after the base's own matrices, because it
    is E, a factor a channel, that joins the two.
    """

    state_knob = "budget"

    def __init__(self, config: ReaderConfig, base: Mamba | Mamba2) -> None:
        super().__init__(config)
        self.base = base
        inner, width = base.config.inner, base.config.state_width
        self.xx_proj = nn.Linear(inner, 2 * width, bias=False)
        self.E = nn.Parameter(torch.ones(inner))
        self.reader = SparseReader(config, heads=1, width=width)

    def queries_and_keys(self, u: Float[Tensor, "batch length inner"]) -> tuple[PerHead, PerHead]:
        """Of one head."""
        key, query = self.xx_proj(u)[:, None].chunk(2, dim=-1)
        return query, key

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        (u, y, z), _ = self.base.inside(x, None)
        return self.base.gated(y + self.E * self.reader(*self.queries_and_keys(u), u[:, None])[:, 0], z)

    def init_state(self, batch: int) -> State:
        return self.base.init_state(batch), self.reader.init_state(self.E, batch, self.base.config.inner)

    def step(self, x: Float[Tensor, "batch width"], state: State) -> tuple[Float[Tensor, "batch width"], State]:
        within, entries = state
        (u, y, z), within = self.base.inside_step(x, within)
        query, key = (each[:, :, 0] for each in self.queries_and_keys(u[:, None]))
        read, entries = self.reader.step(query, key, u[:, None], entries)
        return self.base.gated(y + self.E * read[:, 0], z), (within, entries)

    def state_size(self, length: int) -> int:
        return self.base.state_size(length) + self.reader.state_size(length, self.base.config.inner)

    def values(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch heads length d_v"]:
        """u by the base's heads, for the base and again for the attention."""
        of_base = self.base.values(x)
        return torch.cat([of_base, of_base], dim=1)

    def mixing_matrix(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch heads length length"]:
        """The base's matrices, then the attention's as often."""
        of_base = self.base.mixing_matrix(x)
        of_attention = self.reader.mixing_matrix(*self.queries_and_keys(self.base.inside(x, None)[0].u))
        return torch.cat([of_base, of_attention.expand_as(of_base)], dim=1)

    def output(
        self, mixed: Float[Tensor, "batch heads length d_v"], x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        by_base, by_attention = mixed.chunk(2, dim=1)
        return self.base.output(by_base + self.E.view(by_base.shape[1], 1, -1) * by_attention, x)

    def cost(self, length: int) -> Cost:
        inner = self.base.config.inner
        projected = linear_cost(length, inner, 2 * self.reader.width)
        return self.base.cost(length) + projected + self.reader.cost(length, inner) + Cost(2 * length * inner, 4 * length * inner)
