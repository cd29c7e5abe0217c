"""Mamba: a state-space model whose step size, input and read-out are functions of the token."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..kernels import decay_mask, selective_scan, selective_scan_step, step_size
from .mixer import Cost, at_least_float32, linear_cost
from .selective import Inside, SelectiveConfig, SelectiveMixer, initial_step_bias

MambaState = tuple[Float[Tensor, "batch inner _"], Float[Tensor, "batch inner state_width"]]
"""the convolution's tail, and the state of the scan (float32 at least)"""


@dataclass(frozen=True, kw_only=True)
class MambaConfig(SelectiveConfig):
    """Configuration of `Mamba`."""

    dt_rank: int = 0
    """rank of the map that makes step sizes; 0 is width / 16, rounded up"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dt_rank < 0:
            raise ValueError(f"dt_rank must be at least 0, got {self.dt_rank}")
        # written out, so that equal models have equal descriptions
        object.__setattr__(self, "dt_rank", self.dt_rank or -(-self.width // 16))


class Mamba(SelectiveMixer):
    """out = W_out ((C_t . h_t + D u_t) silu(z_t)), h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t (arXiv:2312.00752, fig. 3 and alg. 2).

    (x, z) = W_in input; u = silu(conv(x)); delta_t = softplus(W_dt r_t + b) and (r, B, C) = W_x u; a state of N scalars in each of the
    E = expand width channels, A = -exp(A_log) per channel and state. Defaults and initial values are the published ones: A = -1 .. -N,
    D = 1. The state is E N + E (conv - 1) scalars, whatever the length.

    Where a signal is not selective, B is initially 1, C standard normal, shared by the channels like the signals they stand for; the step
    size of a channel is its bias. With none it is S4D-real (arXiv:2206.11893) with B and C shared.

    The block has a short convolution of its own: give the backbone around it `short_conv = 1`.
    """

    Config = MambaConfig
    config: MambaConfig

    def __init__(self, config: MambaConfig) -> None:
        super().__init__(config, convolved=config.inner)
        inner, states, rank = config.inner, config.state_width, config.dt_rank
        self.in_proj = nn.Linear(config.width, 2 * inner, bias=False)
        self.out_proj = nn.Linear(inner, config.width, bias=False)
        self.sizes = {signal: size for signal, size in (("dt", rank), ("B", states), ("C", states)) if signal in config.selective}
        if self.sizes:
            self.x_proj = nn.Linear(inner, sum(self.sizes.values()), bias=False)
        if "dt" in self.sizes:
            self.dt_proj = nn.Linear(rank, inner)
            nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
            with torch.no_grad():
                self.dt_proj.bias.copy_(initial_step_bias(inner))
        constants = {"dt": initial_step_bias(inner), "B": torch.ones(states), "C": torch.randn(states)}
        self.constants = nn.ParameterDict({signal: value for signal, value in constants.items() if signal not in self.sizes})
        self.A_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))

    @property
    def rates(self) -> Float[Tensor, "inner state_width"]:
        """A: one a channel and state, negative."""
        return -at_least_float32(self.A_log).exp()

    def signals(self, u: Float[Tensor, "*batch inner"]) -> tuple[Tensor, Tensor, Tensor]:
        """dt (before softplus) `[*batch, inner]`, B and C `[*batch, state_width]` for every position."""
        found = {signal: constant.to(u.dtype).expand(*u.shape[:-1], -1) for signal, constant in self.constants.items()}
        if self.sizes:
            found |= dict(zip(self.sizes, self.x_proj(u).split(list(self.sizes.values()), dim=-1), strict=True))
        if "dt" in self.sizes:
            found["dt"] = self.dt_proj(found["dt"])
        return found["dt"], found["B"], found["C"]

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        return self.resume(x, None)[0]

    def resume(
        self, x: Float[Tensor, "batch length width"], state: MambaState | None
    ) -> tuple[Float[Tensor, "batch length width"], MambaState]:
        """All positions of a piece of a sequence and the state after it, given the state after the piece before; None: it is the first."""
        (_, y, _), state = self._scanned(x, state, opens=True)
        return self.out_proj(y), state

    def inside(self, x: Float[Tensor, "batch length width"], state: MambaState | None) -> tuple[Inside, MambaState]:
        """`resume` up to its gate."""
        return self._scanned(x, state, opens=False)

    def _scanned(self, x: Tensor, state: MambaState | None, *, opens: bool) -> tuple[Inside, MambaState]:
        """With y past the gate if it `opens`, which the scan does in passing."""
        tail, states = state or (None, None)
        x, z = self.in_proj(x).chunk(2, dim=-1)
        u, tail = self.convolve(x, tail)
        dt, B, C = self.signals(u)
        gate = z if opens else None
        y, states = selective_scan(u, dt, self.rates, B, C, self.D, gate, initial_state=states, return_final_state=True)
        return Inside(u, y, z), (tail, states)

    def gated(self, y: Float[Tensor, "*batch inner"], z: Float[Tensor, "*batch inner"]) -> Float[Tensor, "*batch width"]:
        """What follows `inside`: gate and projection."""
        return self.out_proj(y * F.silu(z))

    def init_state(self, batch: int) -> MambaState:
        return self.empty_tail(batch), at_least_float32(self.A_log).new_zeros(batch, *self.A_log.shape)

    def step(self, x: Float[Tensor, "batch width"], state: MambaState) -> tuple[Float[Tensor, "batch width"], MambaState]:
        (_, y, z), state = self.inside_step(x, state)
        return self.gated(y, z), state

    def inside_step(self, x: Float[Tensor, "batch width"], state: MambaState) -> tuple[Inside, MambaState]:
        """`step` up to its gate."""
        tail, states = state
        x, z = self.in_proj(x).chunk(2, dim=-1)
        u, tail = self.convolve_step(x, tail)
        dt, B, C = self.signals(u)
        y, states = selective_scan_step(states, u, dt, self.rates, B, C, self.D)
        return Inside(u, y, z), (tail, states)

    def state_size(self, length: int) -> int:
        return self.A_log.numel() + self.tail_size()

    def values(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch inner length 1"]:
        """u: every channel is a head."""
        return self.convolve(self.in_proj(x).chunk(2, dim=-1)[0])[0].mT[..., None]

    def mixing_matrix(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch inner length length"]:
        """M_ts = C_t . (exp(A sum_{s<r<=t} delta_r) B_s) delta_s + D [t = s] in every channel: from u to what the gate reads.

        Memory: length x length numbers a channel.
        """
        u = self.values(x)[..., 0].mT
        dt, B, C = self.signals(u)
        delta = step_size(at_least_float32(dt), None, softplus=True).mT
        matrix = torch.diag_embed(self.D[:, None].expand(-1, x.shape[1])).to(delta.dtype)
        for rate, b, c in zip(self.rates.unbind(1), B.unbind(2), C.unbind(2), strict=True):
            matrix = matrix + c[:, None, :, None] * decay_mask(delta * rate[:, None]) * (delta * b[:, None])[:, :, None]
        return matrix.to(x.dtype)

    def output(
        self, mixed: Float[Tensor, "batch inner length 1"], x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        z = self.in_proj(x).chunk(2, dim=-1)[1]
        return self.gated(mixed[..., 0].mT, z)

    def cost(self, length: int) -> Cost:
        config, signals = self.config, sum(self.sizes.values())
        inner, states = config.inner, config.state_width
        maps = [(config.width, 2 * inner), (inner, signals), (inner, config.width)]
        maps += [(config.dt_rank, inner)] if "dt" in self.sizes else []
        projections = [linear_cost(length, inputs, outputs) for inputs, outputs in maps if outputs]
        # an exponential counts 1; decay, input, update and read-out of a state, then delta u, D u and softplus, silu and gate
        pointwise = 2 * config.conv * inner + 7 * inner * states + 3 * inner + 10 * inner
        moved = 4 * (2 * inner + 3 * inner + 2 * states)  # convolution: in, out; scan: u, delta, B, C in, y out
        return sum(projections, Cost(length * pointwise, length * moved))
