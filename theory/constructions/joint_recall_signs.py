"""The weights of `joint_recall_lsh.py` with random signs for codes: joint recall of n answers in a width of order log n.

There the codes of K keys and C contexts take K + 2C features, here L each, L of order log n. The words are those of that file.

**Features.** The v values' one-hot codes, L of a symbol, L of a context, L of the current context, and two more, "context" and "plain". A key,
and what is no key, has a symbol s in {-1, 1}^L / sqrt(L), drawn at random, and a context c has b_c, drawn alike. A token embeds as two vectors
of length 1:

    key k = plain + s_k,  value j = one-hot + s_none,  context c = (context + b_c) / sqrt(2) + s_none,  others = plain + s_none.

So all tokens are sqrt(2) long, and sqrt(3) with their context. Signs pass silu in pairs of channels, since silu(a) - silu(-a) = a.

**Block 1** latches b_c in 2L channels, in one state each, its step made from "context". They have one length whatever the signs, so the norm is
a constant. **Block 2** reads as before, q = (symbol, context) and k = (last symbol, context). Gates are a sum that is 1 at every token. []

**What is lost.** Let C = K and n = C K, and L >= 4 log2 n, h >= 2 log2 n planes, one position a bin or more. Over the draws of codes and planes

    P[an answer is lost] <= 4 n^(-.22) + 2 n^(-.16) + n^(-2).

*Proof.* Before the question only one position has the query's vector. So an answer is lost only if another vector shares the query's bin, of
which 2 sqrt(n) or fewer differ from it in the symbol or the context alone, n or fewer in both, and one is 0. Codes that differ have for a product
the mean r of L random signs, and P[r > t] <= exp(-L t^2 / 2). If one differs, the cosine is (1 + r)/2: r > 1/2 has probability n^(-.72) or
less, and else the angle is 41 degrees or more, and the bin is shared with probability .77^h <= n^(-.75). If both differ, the cosine is the mean
of 2L signs: above .45 with probability n^(-1.16) or less, and else the angle is 63 degrees or more, the bin shared with probability .65^h <=
n^(-1.24). The vector 0 lies on no plane's positive side, the query by 2^-h. []

What is measured falls faster, about as 1/n: most angles are near 60 and 90 degrees, and PER_BIN positions take a few strangers in.

**Cost.** T = O(n) tokens. Projections, scan and hash take O(log^2 n) operations a token, attention O(log n), the sorts O(log n): O(n log^2 n), the
rating of the vocabulary apart. Of the state of block 1, 2L numbers are not 0 ever: O(log n).
"""

import math
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...models import LanguageModel, LanguageModelConfig
from ...models.hax import Hax
from ...models.mamba2 import Mamba2
from ...tasks import JointRecall
from ...tasks.joint_recall import FIRST_VALUE
from .joint_recall import ANSWER, LAST, PRESENT, RESET, mamba_of, rows
from .joint_recall_lsh import MATCH, draw_planes
from .slots import SILU_1

HEAD_WIDTH = 16
SIGNS_PER_BIT = 4
"""L over log2 n"""
PLANES_PER_BIT = 2
"""h over log2 n"""
PER_BIN = 8
"""B"""
NEGATIVE = 1 - SILU_1
"""-silu(-1)"""


class Features(NamedTuple):
    """Where a position holds what."""

    values: slice
    symbol: slice
    context: slice
    current: slice
    is_context: int
    plain: int


def joint_recall_signs_construction(task: JointRecall, *, seed: int = 0) -> LanguageModel:
    """The model of this module for `task`: codes and planes are drawn from `seed`, their sizes from the largest table, of at least 2 entries."""
    bits = math.log2(max(2, task.answers))
    signs = math.ceil(SIGNS_PER_BIT * bits)
    width = -(-(task.values + 3 * signs + 2) // HEAD_WIDTH) * HEAD_WIDTH
    fields = {"width": width, "state_width": 2 * signs, "head_width": HEAD_WIDTH, "pattern": "lsh", "conv": 2}
    fields |= {"hash_bits": math.ceil(PLANES_PER_BIT * bits), "budget": PER_BIN}
    model = LanguageModel(LanguageModelConfig(vocab_size=task.vocab_size, mixer="hax", fields=fields, depth=2, short_conv=1))
    reading = model.stack[1].mixer
    assert isinstance(reading, Hax)
    where, draw = _features(task, signs), torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        nn.init.zeros_(weight)
    with torch.no_grad():
        _embed(task, where, model, draw)
        for parts, block in enumerate(model.stack, start=2):
            block.norm.weight.fill_((parts / width) ** 0.5)
            gate = rows(mamba_of(block)).gate
            gate[:, where.values] = 1.0
            gate[:, where.plain] = 1.0
            gate[:, where.is_context] = math.sqrt(2)
            mamba_of(block).norm.weight.fill_(1.0)
        _latch(where, mamba_of(model.stack[0]))
        _read(where, reading, mamba_of(model.stack[1]))
        draw_planes(model, draw)
    return model


def _features(task: JointRecall, signs: int) -> Features:
    """One after the other, in this order."""
    *parts, plain = pairwise(accumulate((task.values, signs, signs, signs, 1, 1), initial=0))
    values, symbol, context, current, (is_context, _) = (*(slice(*part) for part in parts[:4]), parts[4])
    return Features(values, symbol, context, current, is_context, plain[0])


def _embed(task: JointRecall, where: Features, model: LanguageModel, draw: torch.Generator) -> None:
    """Tokens, the same where they are unembedded."""
    symbols, contexts = (_signs(count, where.symbol, draw) for count in (task.most_keys + 1, task.most_contexts))
    for weight in (model.embedding.weight, model.unembedding.weight):
        values, keys = weight[FIRST_VALUE : task.first_key], weight[task.first_key : task.first_context]
        weight[:, where.symbol] = symbols[-1]
        values[:, where.values] = torch.eye(task.values)
        keys[:, where.symbol] = symbols[:-1]
        weight[:FIRST_VALUE, where.plain] = keys[:, where.plain] = 1.0
        weight[task.first_context :, where.context] = math.sqrt(0.5) * contexts
        weight[task.first_context :, where.is_context] = math.sqrt(0.5)
    model.norm.weight.fill_(1.0)


def _signs(count: int, part: slice, draw: torch.Generator) -> Float[Tensor, "count signs"]:
    """Codes of length 1."""
    signs = part.stop - part.start
    return (2.0 * torch.randint(2, (count, signs), generator=draw) - 1) / math.sqrt(signs)


def _difference(signs: int) -> Float[Tensor, "signs 2*signs"]:
    """Takes each channel's twin from it."""
    return torch.cat([torch.eye(signs), -torch.eye(signs)], dim=1)


def _latch(where: Features, block: Mamba2) -> None:
    """Weights of block 1."""
    config, signs = block.config, where.symbol.stop - where.symbol.start
    pairs = _difference(signs)
    _, seen, _, _, step = rows(block)
    seen[: 2 * signs, where.context] = math.sqrt(2 * signs) * pairs.T
    block.conv1d.weight[: 2 * signs, 0, PRESENT] = 1.0
    assert block.conv1d.bias is not None
    block.conv1d.bias[[config.inner, config.inner + config.state_width]] = 1.0
    step[:, where.is_context] = 2 * math.sqrt(2) * RESET
    block.dt_bias.fill_(-RESET)
    block.out_proj.weight[where.current, : 2 * signs] = math.hypot(SILU_1, NEGATIVE) / math.sqrt(config.inner) * pairs


def _read(where: Features, block: Hax, mamba: Mamba2) -> None:
    """Weights of block 2, of which this Mamba-2 is a part."""
    values, signs, inner = where.values.stop, where.symbol.stop - where.symbol.start, mamba.config.inner
    pairs = _difference(signs)
    value, last, present, current = (slice(*part) for part in pairwise(accumulate((values, 2 * signs, 2 * signs, 2 * signs), initial=0)))
    seen = rows(mamba).seen
    seen[value, where.values] = torch.eye(values)
    for channels, part, tap in ((last, where.symbol, LAST), (present, where.symbol, PRESENT), (current, where.current, PRESENT)):
        seen[channels, part] = math.sqrt(signs) * pairs.T
        mamba.conv1d.weight[channels, 0, tap] = 1.0
    mamba.conv1d.weight[value, 0, PRESENT] = 1.0
    gain = math.sqrt(MATCH * math.sqrt(2 * signs) / signs)
    for made, symbol in zip(block.xx_proj.weight.chunk(2), (last, present), strict=True):
        made[:signs, symbol] = made[signs:, current] = gain * pairs
    block.E[value] = 1.0
    mamba.out_proj.weight[where.values, value] = ANSWER * inner**-0.5 * torch.eye(values)
