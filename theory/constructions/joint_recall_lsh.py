"""Weights for two blocks of HAX, in the shapes of arXiv:2507.00449, that solve joint recall with attention to the query's hash bin.

Block 1 is that of `joint_recall.py`, whose words are used here, with E = 0: it writes the current context. Block 2 is attention alone, D = C =
0, on u = silu of the convolution. At position t, with c its context,

    value channels [token = value j],  key channels [token = k] and, a tap later, [last token = k],  [context = c],
    and [token is no key], [last token is no key], each behind silu.

Query and key are the sum of two codes of length 1, of a symbol and of the context, times a gain: q_t that of (token, c), k_t that of (last
token, c). So at a question for key k in context c, q is exactly k_t of the position t of the value that was shown there: whatever the hash, it
lies in the query's bin. Before the question no other position has both the symbol and the context, so its score q . k / sqrt(d_k) is lower by
MATCH, or by 0.44 MATCH if its token shows nothing and is read up to sqrt(2) times as long, and attention that reads t puts almost all of its
weight there. E is 1 on value channels; the gated norm gives what they read a fixed length, and it is written as ANSWER times the value's code.
So a question is answered if its position is read. []

The codes ("coding") make the hash:

- "plain": orthonormal, keys and contexts K + C, and 0 for what is no key. All positions of a block whose last token is no key have one and the same
  k = (0, c), 45 degrees from every query of the block. Where they share its bin they fill it together.
- "simplex": what is no key has a symbol of its own, and the K + 1 symbols and the C contexts are the corners of two regular simplices, in K + C - 1
  features. If one of the two differs, the cosine is (1 - 1/K) / 2 or (1 - 1/(C-1)) / 2: 62 degrees at 16 x 16.

Which answers are lost is decided by the hash alone: `hax/lsh_miss.py`. Some lengths of what shows nothing differ, and with them angles.

**State**: that of the two Mamba-2, of which log2 C bits of one head are used, and a key and a value of d_k + expand width scalars for every
position that a bin still holds, in both blocks.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...models import LanguageModel
from ...models.hax import Hax
from ...models.mamba2 import Mamba2
from ...tasks import JointRecall
from .joint_recall import ANSWER, LAST, PRESENT, features, latching_model, mamba_of, rows
from .slots import SILU_1

Coding = Literal["plain", "simplex"]

MATCH = 40.0
"""how much the right position scores above all others"""


def joint_recall_lsh_construction(task: JointRecall, coding: Coding = "simplex", *, seed: int = 0, **fields: Any) -> LanguageModel:
    """The model of this module for `task`, its hash planes drawn from `seed`.

    `fields` are those of `HaxConfig`, by default the paper's sizes, with the pattern "lsh". Of `budget` and `hash_bits` it depends how many questions
    are answered. Raises ValueError if the sizes leave too little room for the task.
    """
    model = latching_model(task, "hax", **{"pattern": "lsh", **fields})
    reading = model.stack[1].mixer
    assert isinstance(reading, Hax)
    config, channels = reading.config, task.values + 2 * task.most_keys + task.most_contexts + 2
    symbols, contexts = codes(task, coding)
    if config.inner < channels or config.state_width < symbols.shape[1] + contexts.shape[1]:
        raise ValueError(
            f"codes of {task.most_keys} keys and {task.most_contexts} contexts need state_width >= {symbols.shape[1] + contexts.shape[1]} and "
            f"expand * width >= {channels}, got {config.state_width} and {config.inner}"
        )
    with torch.no_grad():
        _read(task, reading, mamba_of(model.stack[1]), symbols, contexts)
        draw_planes(model, torch.Generator().manual_seed(seed))
    return model


def draw_planes(model: LanguageModel, draw: torch.Generator) -> None:
    """Hash planes of both blocks, the only buffers there are and only where something is hashed; those of block 1 do nothing."""
    for planes in model.buffers():
        planes.copy_(torch.randn(planes.shape, generator=draw))


def codes(task: JointRecall, coding: Coding) -> tuple[Float[Tensor, "symbols _"], Float[Tensor, "contexts _"]]:
    """Codes of the keys and, last, of what is no key; codes of the contexts."""
    keys, contexts = task.most_keys, task.most_contexts
    if coding == "plain":
        return F.pad(torch.eye(keys), (0, 0, 0, 1)), torch.eye(contexts)
    return simplex(keys + 1), simplex(contexts)


def simplex(corners: int) -> Float[Tensor, "corners corners-1"]:
    """Corners of a regular simplex around 0, of length 1: two have the product -1 / (corners - 1)."""
    step = torch.arange(1.0, corners)
    helmert = F.normalize(torch.ones(corners - 1, corners).tril() - F.pad(torch.diag(step), (1, 0)), dim=1)
    return F.normalize(helmert.T, dim=1)


def _read(task: JointRecall, block: Hax, mamba: Mamba2, symbols: Tensor, contexts: Tensor) -> None:
    """Weights of block 2, of which this Mamba-2 is a part."""
    where = features(task)
    values, keys = task.values, task.most_keys
    inner, width = mamba.config.inner, block.reader.width
    ends = torch.tensor([values, keys + 1, keys + 1, task.most_contexts]).cumsum(0).tolist()
    value, last, present, current = (slice(start, end) for start, end in zip([0, *ends], ends, strict=False))
    gate, seen, *_ = rows(mamba)
    gate[:, : where.current.start] = 1.0
    seen[value, where.values] = torch.eye(values)
    for symbol, tap in ((last, LAST), (present, PRESENT)):
        seen[symbol, where.keys] = torch.eye(keys + 1, keys)
        seen[symbol.stop - 1, where.values] = seen[symbol.stop - 1, where.contexts] = 1.0
        mamba.conv1d.weight[symbol, 0, tap] = 1.0
    seen[current, where.current] = torch.eye(task.most_contexts)
    mamba.conv1d.weight[value, 0, PRESENT] = mamba.conv1d.weight[current, 0, PRESENT] = 1.0

    gain = (MATCH * width**0.5) ** 0.5 / SILU_1
    key, query = block.xx_proj.weight.chunk(2)
    for made, symbol in ((key, last), (query, present)):
        made[: symbols.shape[1], symbol] = gain * symbols.T
        made[symbols.shape[1] : symbols.shape[1] + contexts.shape[1], current] = gain * contexts.T
    block.E[value] = 1.0
    mamba.norm.weight.fill_(1.0)
    mamba.out_proj.weight[where.values, value] = ANSWER * inner**-0.5 * torch.eye(values)
