"""Stacks of state-space blocks with all weights zero, but for what makes a row of W_in a table: a number for every token.

A token that is shown has a feature i of its own and embeds as sqrt(width) e_i, of root mean square 1; with width^(-1/2) for RMSNorm's
weights the first block reads e_i itself, up to RMSNorm's epsilon (5e-7). Other tokens embed as 0, and so they are read. What blocks add to
the features of tokens that may be answers is unembedded as those tokens; the last norm is one positive factor for all logits of a position.

Where the step is at most 1 and A_log = HOLD, a decay is exactly 1 in float32, and so is it in float64.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...models import Block, LanguageModel, LanguageModelConfig
from ...models.mamba import Mamba
from ...models.mamba2 import Mamba2

HOLD = -40.0
"""A_log of a state that holds what is added to it"""


def table_model(*, vocab_size: int, shown: Sequence[int], answers: Sequence[int], mixer: str = "mamba", **config: Any) -> LanguageModel:
    """The stack of this module: token shown[i] has feature i. `config` are fields of `LanguageModelConfig`; `answers` have to be shown."""
    model = LanguageModel(LanguageModelConfig(vocab_size=vocab_size, mixer=mixer, **config))
    width = model.config.mixer_config.width
    feature = {token: i for i, token in enumerate(shown)}
    for weight in model.parameters():
        nn.init.zeros_(weight)
    for block in model.stack:
        nn.init.constant_(block.norm.weight, width**-0.5)
    nn.init.ones_(model.norm.weight)
    with torch.no_grad():
        for token, i in feature.items():
            model.embedding.weight[token, i] = width**0.5
        for token in answers:
            model.unembedding.weight[token, feature[token]] = 1.0
    return model


@torch.inference_mode()
def last_logits(model: LanguageModel, tokens: Int[Tensor, "batch length"], *, piece: int = 2**15) -> Float[Tensor, "batch vocab"]:
    """`model(tokens)[:, -1]`, read `piece` tokens at a time, so that memory does not grow with length.

    Raises ValueError unless all blocks are Mamba or Mamba-2 with nothing around.
    """
    mixers = [_alone(block) for block in model.stack]
    states: list[Any] = [None] * len(mixers)
    for part in torch.split(tokens, piece, dim=1):
        x = model.embedding(part)
        for i, (block, mixer) in enumerate(zip(model.stack, mixers, strict=True)):
            mixed, states[i] = mixer.resume(block.norm(x), states[i])
            x = x + mixed
    logits: Tensor = model.unembedding(model.norm(x[:, -1]))
    return logits


def _alone(block: Block) -> Mamba | Mamba2:
    """The mixer of a block that has nothing else."""
    if not isinstance(block.mixer, Mamba | Mamba2) or block.convolution or block.mlp:
        raise ValueError(f"blocks must be Mamba or Mamba-2 with short_conv=1 and mlp=0 to be read in pieces, got {block}")
    return block.mixer
