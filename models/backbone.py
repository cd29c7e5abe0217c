"""The residual stack in which every mixer is trained and measured: embedding, blocks, unembedding."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..kernels import causal_conv, causal_conv_step
from .mixer import Cost, Mixer, MixerConfig, State, linear_cost
from .registry import mixer_class

EMBEDDING_STD = 0.2
"""standard deviation of the token embedding at the start.

Chosen on validation among .02, .1 and .2 (`mqar`, length 32, one block, 2 heads, rate 1e-2, 800 steps, 16 seeds each): with .02 linear attention stayed
at guessing among the values in 4 of 32 runs (feature width 2 with 4 pairs, 4 with 8), with .1 in 3, with .2 in none. A window of 8 learns
more slowly with .2 (6 of 16 seeds not yet there), and gets there in 1,600 steps (8 of 8, those six among them).
"""


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig:
    """A stack of equal blocks around one mixer."""

    vocab_size: int
    mixer: str = "attention"
    """name in `MIXERS`, or an import path `package.module:Class`"""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """fields of the mixer's configuration; the others take their defaults"""
    depth: int = 2
    """blocks"""
    short_conv: int = 4
    """taps of the causal convolution before the mixer; 1 is none"""
    mlp: int = 0
    """hidden width of the MLP after the mixer, in widths; 0 is none"""

    def __post_init__(self) -> None:
        for name, least in (("vocab_size", 1), ("depth", 1), ("short_conv", 1), ("mlp", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if "causal" not in mixer_class(self.mixer).patterns:
            raise ValueError(f"a language model needs a causal mixer; {self.mixer} supports {', '.join(mixer_class(self.mixer).patterns)}")
        # every field written out, so that equal models have equal descriptions whether or not defaults were spelt
        object.__setattr__(self, "fields", asdict(self.mixer_config))

    @property
    def mixer_config(self) -> MixerConfig:
        """The mixer's configuration; an unknown field raises TypeError, a value out of range ValueError."""
        return mixer_class(self.mixer).Config(**self.fields)


class ShortConvolution(nn.Module):
    """y_t = sum_j w_j x_{t-taps+1+j} over j = 0 .. taps-1, each feature on its own (depthwise), zeros before the sequence."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, taps).uniform_(-(taps**-0.5), taps**-0.5))
        """`[width, taps]`, oldest first: the last tap is the present"""

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        return causal_conv(x, self.weight)

    def init_state(self, batch: int) -> Float[Tensor, "batch width _"]:
        """The last taps - 1 inputs, oldest first."""
        return self.weight.new_zeros(batch, self.weight.shape[0], self.weight.shape[1] - 1)

    def step(self, x: Float[Tensor, "batch width"], state: Tensor) -> tuple[Float[Tensor, "batch width"], Tensor]:
        """One position."""
        return causal_conv_step(state, x, self.weight)


class Block(nn.Module):
    """x + mixer(convolution(norm(x))), then x + mlp(norm(x)) where there is an MLP (pre-norm, arXiv:2002.04745)."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        width = config.mixer_config.width
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.convolution = ShortConvolution(width, config.short_conv) if config.short_conv > 1 else None
        self.mixer: Mixer = mixer_class(config.mixer)(config.mixer_config)
        self.mlp = (
            nn.Sequential(
                nn.RMSNorm(width, eps=1e-6), nn.Linear(width, config.mlp * width), nn.GELU(), nn.Linear(config.mlp * width, width)
            )
            if config.mlp
            else None
        )

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        read = self.norm(x)
        x = x + self.mixer(self.convolution(read) if self.convolution else read)
        return x + self.mlp(x) if self.mlp else x

    def init_state(self, batch: int) -> tuple[State, ...]:
        """The convolution's tail, where there is one, and the mixer's state."""
        tail = (self.convolution.init_state(batch),) if self.convolution else ()
        return *tail, self.mixer.init_state(batch)

    def step(self, x: Float[Tensor, "batch width"], state: tuple[State, ...]) -> tuple[Float[Tensor, "batch width"], tuple[State, ...]]:
        """One position."""
        read = self.norm(x)
        tail: tuple[State, ...] = ()
        if self.convolution:
            read, kept = self.convolution.step(read, state[0])
            tail = (kept,)
        mixed, after = self.mixer.step(read, state[-1])
        x = x + mixed
        return (x + self.mlp(x) if self.mlp else x), (*tail, after)


class LanguageModel(nn.Module):
    """Token embedding, `depth` blocks, a final norm and an unembedding that is applied only where an answer is asked."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.mixer_config.width
        self.embedding = nn.Embedding(config.vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.unembedding = nn.Linear(width, config.vocab_size, bias=False)

    @property
    def stack(self) -> list[Block]:
        """The blocks in order, as what they are: `nn.ModuleList` knows them as modules only."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def hidden(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length width"]:
        """What the unembedding reads."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length vocab"]:
        """Logits at every position."""
        return self.unembedding(self.hidden(tokens))

    def logits_at(self, tokens: Int[Tensor, "batch length"], positions: Int[Tensor, " asked"]) -> Float[Tensor, "asked vocab"]:
        """Logits at flat positions (row * length + column): `forward(tokens).flatten(0, 1)[positions]` without the other rows' cost."""
        return self.unembedding(self.hidden(tokens).flatten(0, 1)[positions])

    def init_state(self, batch: int) -> tuple[State, ...]:
        """The state of every block before the first token."""
        return tuple(block.init_state(batch) for block in self.stack)

    def step(self, token: Int[Tensor, " batch"], state: tuple[State, ...]) -> tuple[Float[Tensor, "batch vocab"], tuple[State, ...]]:
        """One token: logits after it, and the state."""
        x, after = self.embedding(token), []
        for block, before in zip(self.stack, state, strict=True):
            x, kept = block.step(x, before)
            after.append(kept)
        return self.unembedding(self.norm(x)), tuple(after)

    def state_size(self, length: int) -> int:
        """Scalars per sequence that all blocks together carry after `length` tokens, convolution tails included."""
        width = self.config.mixer_config.width
        return sum(block.mixer.state_size(length) + (self.config.short_conv - 1) * width for block in self.stack)

    def cost(self, length: int, answers: int) -> Cost:
        """One forward pass of one sequence with `answers` labelled positions."""
        width, config = self.config.mixer_config.width, self.config
        convolution = Cost(2 * length * width * config.short_conv, 8 * length * width) if config.short_conv > 1 else Cost(0, 0)
        hidden = config.mlp * width
        mlp = linear_cost(length, width, hidden) + linear_cost(length, hidden, width) if config.mlp else Cost(0, 0)
        blocks = [block.mixer.cost(length) + convolution + mlp for block in self.stack]
        head = linear_cost(answers, width, config.vocab_size)
        return Cost(sum(cost.flops for cost in blocks), sum(cost.bytes for cost in blocks)) + head
