"""What the two blocks of Mamba share: their sizes, the signals that may depend on the token, the convolution, the first step sizes."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..kernels import causal_conv, causal_conv_step
from .mixer import Mixer, MixerConfig

Signal = Literal["dt", "B", "C"]
"""step size, input vector and read-out vector of a state-space model"""


@dataclass(frozen=True, kw_only=True)
class SelectiveConfig(MixerConfig):
    """Configuration of a block around a state-space model."""

    state_width: int = 16
    """N, states of a channel"""
    expand: int = 2
    """inner width, in widths"""
    conv: int = 4
    """taps of the causal convolution before the state-space model; 1 is a scale a channel"""
    selective: tuple[Signal, ...] = get_args(Signal)
    """which signals are functions of the token; the others are learned constants, so that with none the model is time-invariant"""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("state_width", "expand", "conv"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if isinstance(self.selective, str):
            raise ValueError(f"selective must be a list of signals, got {self.selective!r}")
        if unknown := set(self.selective) - set(get_args(Signal)):
            raise ValueError(f"selective must be some of {', '.join(get_args(Signal))}, got {', '.join(map(repr, sorted(unknown)))}")
        # in one order, so that equal models have equal descriptions
        object.__setattr__(self, "selective", tuple(signal for signal in get_args(Signal) if signal in self.selective))

    @property
    def inner(self) -> int:
        """E, channels of the state-space model."""
        return self.expand * self.width


class Inside(NamedTuple):
    """What there is between a block's convolution and its gate, `[batch, length, inner]` each, or `[batch, inner]` of one position."""

    u: Tensor
    """what the state-space model reads"""
    y: Tensor
    """what it gives"""
    z: Tensor
    """by which `gated` opens"""


class SelectiveMixer(Mixer):
    """A causal convolution with silu, then a state-space model some of whose signals depend on the token.

    Parameters have the names and, where a signal is selective, the shapes of the public implementations, whose weights therefore load.
    """

    config: SelectiveConfig
    state_knob = "state_width"

    def __init__(self, config: SelectiveConfig, *, convolved: int) -> None:
        super().__init__(config)
        self.conv1d = nn.Conv1d(convolved, convolved, config.conv, groups=convolved)
        """holds taps and bias; `causal_conv` applies them"""

    def convolve(
        self, x: Float[Tensor, "batch length convolved"], tail: Float[Tensor, "batch convolved _"] | None = None
    ) -> tuple[Float[Tensor, "batch length convolved"], Float[Tensor, "batch convolved _"]]:
        """silu of the convolution, and the tail for what comes next."""
        tail = None if tail is None else tail.to(x.dtype)  # under autocast x has another dtype than the weights
        return causal_conv(x, self.conv1d.weight[:, 0], self.conv1d.bias, activation="silu", tail=tail, return_tail=True)

    def convolve_step(
        self, x: Float[Tensor, "batch convolved"], tail: Float[Tensor, "batch convolved _"]
    ) -> tuple[Float[Tensor, "batch convolved"], Float[Tensor, "batch convolved _"]]:
        """The same of one position."""
        return causal_conv_step(tail.to(x.dtype), x, self.conv1d.weight[:, 0], self.conv1d.bias, activation="silu")

    def empty_tail(self, batch: int) -> Float[Tensor, "batch convolved _"]:
        """What precedes the first position."""
        return self.conv1d.weight.new_zeros(batch, self.conv1d.in_channels, self.config.conv - 1)

    def tail_size(self) -> int:
        """Scalars in the tail."""
        return self.conv1d.in_channels * (self.config.conv - 1)


def initial_step_bias(channels: int) -> Float[Tensor, " channels"]:
    """softplus^-1 of step sizes drawn log-uniformly from 1e-3 to 1e-1: the range of arXiv:2312.00752, section 3.6, the law of its public code."""
    step = torch.exp(torch.empty(channels).uniform_(math.log(1e-3), math.log(1e-1)))
    return step + torch.log(-torch.expm1(-step))
