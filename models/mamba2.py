"""Mamba-2: the state-space model with one decay a head, so that its states are matrices and its work is matrix products."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..kernels import ssd, ssd_matrix, ssd_step, step_size
from .mixer import Cost, at_least_float32, linear_cost
from .selective import Inside, SelectiveConfig, SelectiveMixer, initial_step_bias

CHUNK = 64
"""tokens of a chunk of the scan, as `cost` counts it"""

Mamba2State = tuple[Float[Tensor, "batch convolved _"], Float[Tensor, "batch heads head_width state_width"]]
"""the convolution's tail, and the state of the scan (float32 at least)"""


@dataclass(frozen=True, kw_only=True)
class Mamba2Config(SelectiveConfig):
    """Configuration of `Mamba2`."""

    head_width: int = 16
    """P, channels that share a decay"""
    groups: int = 1
    """G, sets of B and C; each serves the same number of heads"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_width < 1 or self.inner % self.head_width:
            raise ValueError(f"head_width must divide expand * width = {self.inner}, got {self.head_width}")
        if self.groups < 1 or self.heads % self.groups:
            raise ValueError(f"groups must divide the {self.heads} heads, got {self.groups}")

    @property
    def heads(self) -> int:
        """H."""
        return self.inner // self.head_width

    @property
    def convolved(self) -> dict[str, int]:
        """Widths of what is convolved: x, and those of B and C that depend on the token."""
        shared = self.groups * self.state_width
        return {"x": self.inner} | {signal: shared for signal in ("B", "C") if signal in self.selective}


class GatedNorm(nn.Module):
    """weight * y / rms(y) with y = mixed * silu(z), the root mean square taken over each of `groups` equal parts of the width."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, mixed: Float[Tensor, "*batch width"], z: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        gated = torch.unflatten(mixed * F.silu(z), -1, (self.groups, -1))
        return F.rms_norm(gated, gated.shape[-1:], eps=1e-5).flatten(-2) * self.weight


class Mamba2(SelectiveMixer):
    """out = W_out norm(y silu(z)), y_t = s_t C_t + D x_t, s_t = exp(delta_t A) s_{t-1} + delta_t x_t B_t^T a head (arXiv:2405.21060, sec. 7).

    (z, x, B, C, dt) = W_in input; x, B and C pass a causal convolution and silu, delta = softplus(dt + dt_bias) does not; A = -exp(A_log) is
    a number a head. Initial values are the published ones: A uniform in -16 .. -1, D = 1; so are the defaults, but for the sizes of small
    models (published: N = 128, P = 64). The state is E N + (E + 2 G N) (conv - 1) scalars with E = expand width, whatever the length.

    Where a signal is not selective, B is initially 1 and C standard normal, in every group, and neither is convolved.

    The block has a short convolution of its own: give the backbone around it `short_conv = 1`.
    """

    Config = Mamba2Config
    config: Mamba2Config

    def __init__(self, config: Mamba2Config) -> None:
        convolved = sum(config.convolved.values())
        super().__init__(config, convolved=convolved)
        self.parts = (config.inner, convolved, config.heads if "dt" in config.selective else 0)
        """widths of z, of what is convolved, and of dt"""
        self.in_proj = nn.Linear(config.width, sum(self.parts), bias=False)
        self.dt_bias = nn.Parameter(initial_step_bias(config.heads))
        self.A_log = nn.Parameter(torch.empty(config.heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(config.heads))
        self.norm = GatedNorm(config.inner, config.groups)
        self.out_proj = nn.Linear(config.inner, config.width, bias=False)
        shared = config.groups * config.state_width
        constants = {"B": torch.ones(shared), "C": torch.randn(shared)}
        self.constants = nn.ParameterDict({signal: value for signal, value in constants.items() if signal not in config.selective})

    @property
    def rates(self) -> Float[Tensor, " heads"]:
        """A: one a head, negative."""
        return -at_least_float32(self.A_log).exp()

    def signals(self, convolved: Float[Tensor, "*batch convolved"], dt: Float[Tensor, "*batch _"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x `[*batch, heads, head_width]`, dt (before bias and softplus) `[*batch, heads]`, B and C `[*batch, groups, state_width]`."""
        config = self.config
        found = {signal: constant.to(dt.dtype).expand(*dt.shape[:-1], -1) for signal, constant in self.constants.items()}
        found |= dict(zip(config.convolved, torch.split(convolved, list(config.convolved.values()), dim=-1), strict=True))
        x = found["x"].unflatten(-1, (config.heads, -1))
        B, C = (found[signal].unflatten(-1, (config.groups, -1)) for signal in ("B", "C"))
        return x, dt if "dt" in config.selective else dt.new_zeros(x.shape[:-1]), B, C

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        return self.resume(x, None)[0]

    def resume(
        self, x: Float[Tensor, "batch length width"], state: Mamba2State | None
    ) -> tuple[Float[Tensor, "batch length width"], Mamba2State]:
        """All positions of a piece of a sequence and the state after it, given the state after the piece before; None: it is the first."""
        (_, y, z), state = self.inside(x, state)
        return self.gated(y, z), state

    def inside(self, x: Float[Tensor, "batch length width"], state: Mamba2State | None) -> tuple[Inside, Mamba2State]:
        """The first half of `resume`."""
        tail, states = state or (None, None)
        z, convolved, dt = self.in_proj(x).split(self.parts, dim=-1)
        convolved, tail = self.convolve(convolved, tail)
        x, dt, B, C = self.signals(convolved, dt)
        y, states = ssd(x, dt, self.rates, B, C, self.D, dt_bias=self.dt_bias, initial_state=states, return_final_state=True)
        return Inside(x.flatten(-2), y.flatten(-2), z), (tail, states)

    def gated(self, y: Float[Tensor, "*batch inner"], z: Float[Tensor, "*batch inner"]) -> Float[Tensor, "*batch width"]:
        """The second half: gate, norm and projection."""
        return self.out_proj(self.norm(y, z))

    def init_state(self, batch: int) -> Mamba2State:
        config = self.config
        return self.empty_tail(batch), at_least_float32(self.A_log).new_zeros(batch, config.heads, config.head_width, config.state_width)

    def step(self, x: Float[Tensor, "batch width"], state: Mamba2State) -> tuple[Float[Tensor, "batch width"], Mamba2State]:
        (_, y, z), state = self.inside_step(x, state)
        return self.gated(y, z), state

    def inside_step(self, x: Float[Tensor, "batch width"], state: Mamba2State) -> tuple[Inside, Mamba2State]:
        """The first half of `step`."""
        tail, states = state
        z, convolved, dt = self.in_proj(x).split(self.parts, dim=-1)
        convolved, tail = self.convolve_step(convolved, tail)
        x, dt, B, C = self.signals(convolved, dt)
        y, states = ssd_step(states, x, dt, self.rates, B, C, self.D, dt_bias=self.dt_bias)
        return Inside(x.flatten(-2), y.flatten(-2), z), (tail, states)

    def state_size(self, length: int) -> int:
        return self.config.inner * self.config.state_width + self.tail_size()

    def mixed_signals(self, x: Float[Tensor, "batch length width"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`signals` of the layer's input."""
        _, convolved, dt = self.in_proj(x).split(self.parts, dim=-1)
        return self.signals(self.convolve(convolved)[0], dt)

    def values(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch heads length head_width"]:
        """What the heads sum: the convolved x."""
        return self.mixed_signals(x)[0].transpose(1, 2)

    def mixing_matrix(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch heads length length"]:
        """M_ts = (C_t . B_s) exp(A sum_{s<r<=t} delta_r) delta_s + D [t = s] in every head."""
        _, dt, B, C = self.mixed_signals(x)
        delta = step_size(at_least_float32(dt), self.dt_bias, softplus=True)
        wide = delta.dtype
        skip = torch.diag_embed(self.D[:, None].expand(-1, x.shape[1])).to(wide)
        return (ssd_matrix(delta, self.rates, B.to(wide), C.to(wide)) + skip).to(x.dtype)

    def output(
        self, mixed: Float[Tensor, "batch heads length head_width"], x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        z = self.in_proj(x).split(self.parts, dim=-1)[0]
        return self.gated(mixed.transpose(1, 2).flatten(-2), z)

    def cost(self, length: int) -> Cost:
        """Of the scan in chunks of CHUNK tokens; a shorter sequence is counted as if it filled them."""
        config = self.config
        inner, states, heads = config.inner, config.state_width, config.heads
        projections = linear_cost(length, config.width, sum(self.parts)) + linear_cost(length, inner, config.width)
        scan = 2 * CHUNK * config.groups * states + heads * (2 * CHUNK * config.head_width + 3 * CHUNK + 4 * config.head_width * states)
        # silu of x, D x, gate and norm; the exponential counts 1
        pointwise = 2 * config.conv * self.parts[1] + 15 * inner
        moved = 4 * (2 * self.parts[1] + 2 * inner + heads + 2 * config.groups * states)  # convolution: in, out; scan: in, y out
        return projections + Cost(length * (scan + pointwise), length * moved)
