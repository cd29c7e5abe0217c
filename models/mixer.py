"""What a sequence mixer is: the contract that every layer of this folder keeps and that one set of property tests holds."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

Pattern = Literal["causal", "bidirectional", "cross"]
"""what a mixer may read: the past and itself; the whole sequence; another sequence"""

State = Any
"""a tensor, or tuples of tensors: everything a mixer carries from one position to the next, batch first"""


class Cost(NamedTuple):
    """One forward pass of one sequence: floating-point operations (a multiply-add is two), and bytes that must move at least once."""

    flops: int
    bytes: int

    def __add__(self, other: object) -> "Cost":
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: object) -> "Cost":
        if not isinstance(times, int):
            return NotImplemented
        return Cost(self.flops * times, self.bytes * times)


@dataclass(frozen=True, kw_only=True)
class MixerConfig:
    """What every mixer is told; a mixer's own configuration adds its fields."""

    width: int = 64
    """features of a position, in and out"""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width}")


class Mixer(nn.Module, ABC):
    """A map from `[batch, length, width]` to the same in which positions exchange information.

    Four faces of one map, held against each other by tests: `forward` (all positions at once), `step` (one position, given the state),
    `mixing_matrix` (the matrix along the sequence) and `state_size` (the scalars that `step` carries).
    """

    Config: ClassVar[type[MixerConfig]]
    """the class of this mixer's configuration"""
    patterns: ClassVar[frozenset[Pattern]] = frozenset({"causal"})
    """what this mixer can be asked to read; anything else is refused where a model is built"""
    state_knob: ClassVar[str] = "width"
    """the configuration field by which a sweep sets the state size"""

    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        """All positions at once."""

    @abstractmethod
    def init_state(self, batch: int) -> State:
        """The state before the first position."""

    @abstractmethod
    def step(self, x: Float[Tensor, "batch width"], state: State) -> tuple[Float[Tensor, "batch width"], State]:
        """One position: its output and the state after it; iterated from `init_state` it equals `forward`."""

    @abstractmethod
    def state_size(self, length: int) -> int:
        """Scalars per sequence that `step` carries after `length` positions: exactly the elements of the tensors in its state."""

    @abstractmethod
    def values(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch heads length d_v"]:
        """What the mixing matrix is applied to."""

    @abstractmethod
    def mixing_matrix(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch heads length length"]:
        """M(x), differentiable, with `output(M(x) @ values(x), x) == forward(x)`; lower triangular for a causal mixer."""

    @abstractmethod
    def output(
        self, mixed: Float[Tensor, "batch heads length d_v"], x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        """From mixed values to the layer's output; pointwise along the sequence."""

    @abstractmethod
    def cost(self, length: int) -> Cost:
        """What `forward` costs for one sequence of this length, by formula."""


def state_tensors(state: State) -> Iterator[Tensor]:
    """The tensors of a state, in order."""
    if isinstance(state, Tensor):
        yield state
    else:
        for part in state:
            yield from state_tensors(part)


def count_scalars(state: State) -> int:
    """Scalars per sequence in a state; its tensors have the batch first."""
    return sum(tensor[0].numel() for tensor in state_tensors(state))


def linear_cost(length: int, inputs: int, outputs: int) -> Cost:
    """A linear map without bias applied at every position, float32: weights, inputs and outputs move once."""
    return Cost(2 * length * inputs * outputs, 4 * (inputs * outputs + length * (inputs + outputs)))


def at_least_float32(x: Tensor) -> Tensor:
    """As what is summed over a sequence is kept, and rates and steps: in half precision exp overflows, and rounding adds up."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def causal_mask(length: int, device: torch.device) -> Tensor:
    """`[length, length]` bool, true where row t may read column s: s <= t."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
