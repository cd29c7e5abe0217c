"""One block that keeps a value for every key: weights for Mamba and Mamba-2, which differ in what has to depend on the token.

A value follows its key; later the key stands again and asks. In the formulas [P] is 1 where P holds, else 0; k is a key, c a value, s =
silu(1), and a slot (k, c) is a channel whose gate is open at k only, from where it is unembedded as c. Convolutions have two taps. What is
not named is 0, D too.

**Replacing** (only the step is selective; N = 1). Slots see u = silu([token = c]), and a channel for each k sees u_k = silu([last token =
k]). The step's input r_k = u_k + sum_c silu([token = c]) is s times the number of conditions met among "the last token was k" and "this is
a value", and slots (k, .) step by softplus(2 G r_k / s - 3 G): by G where a value follows k, by less than e^-G elsewhere. A = -1. So a new
value leaves e^-G of an old one and adds G s; elsewhere the decay rounds to 1, and no more than e^-G s is added. After t tokens the other
slots of k hold at most (1 + t/G) e^-G of what the latest value's slot holds, 2e-22 at G = 60 after 2^20: this lasts while t is far below
G e^G, here 7e27, as softplus is never 0. Asking erases nothing. []

**Adding** (nothing is selective: a time-invariant system; N = 1). A slot is told [token = k] - [token = c], of which the convolution takes
difference = last - present. That is 2 where c follows k, else at most 1, so u = silu(BETA (difference - 3/2)) is BETA/2 there and elsewhere
-200 e^-200 or nearer to 0, in float32 0. The step is 1. With A = -e^-40 all of it is added up: the slot of k that was shown most often
wins, which is right if a key has one value. [] With a faster rate what was shown d tokens ago weighs exp(-d |A|); values of one key are two
tokens apart or more, so for |A| > log(2)/2 the latest outweighs all earlier ones together, as long as float32 tells it from 0: with A = -1
for some 110 tokens.

**Sharing** (B and C are selective; N = keys). A channel for each c sees silu([token = c]); others see u_k = silu([last token = k]) and u'_k
= silu([token = k]), which make B = u/s and C = u'/s. So a value is written to state k after k, read from state k at k, and nothing but 0 is
added elsewhere. A = -e^-40. States share their channel's step, so this adds and cannot replace (`mamba/overwriting.py`). []

**Replacing heads** (Mamba-2; only the step is selective; N = 1). A head is what slots (k, .) are in Mamba. Its step is made of the block's
input, past its convolution: "the last token was k" takes a tap of the convolution before the block. []

**State** for K keys and v values, tails of convolutions included: replacing 2 K (v+1), adding 2 max(K v, K+v), sharing (v + 2K)(K+1),
replacing heads 2 K max(v, 2 + ceil(v/K)). The wall asks for K log2 v bits, of independent values: with K = 8, v = 16 for 32, where these
carry 272, 256, 288 and 256 scalars of 32 bits.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import nn

from ...models import LanguageModel, ShortConvolution
from ...models.mamba import Mamba
from ...models.mamba2 import Mamba2
from .tables import HOLD, table_model

GAIN = 60.0
"""G: the step at which a value replaces another"""
BETA = 400.0
"""steepness of the function that tells one pair of neighbours from all others"""
SILU_1 = 1 / (1 + math.exp(-1))
"""s"""
LAST, PRESENT = 0, 1
"""taps of a convolution that has two"""


class Alphabet(NamedTuple):
    """Which tokens are keys and which are values; others show and ask nothing."""

    vocab_size: int
    keys: range
    values: range


def replacing(tokens: Alphabet) -> LanguageModel:
    """Mamba; only its step depends on the token."""
    keys, values = len(tokens.keys), len(tokens.values)
    slots = keys * values
    model, block = _mamba(tokens, slots + keys, selective=("dt",), dt_rank=keys)
    is_key, is_value = torch.eye(keys), torch.eye(values)
    with torch.no_grad():
        seen, gate = block.in_proj.weight.chunk(2)
        seen[:slots, keys : keys + values] = is_value.repeat(keys, 1)
        seen[slots:, :keys] = is_key
        gate[:slots, :keys] = is_key.repeat_interleave(values, dim=0)
        block.conv1d.weight[:slots, 0, PRESENT] = 1.0
        block.conv1d.weight[slots:, 0, LAST] = 1.0
        block.x_proj.weight[:, :values] = 1.0  # those of any one key say whether this is a value
        block.x_proj.weight[:, slots:] = is_key
        block.dt_proj.weight[:slots] = 2 * GAIN / SILU_1 * is_key.repeat_interleave(values, dim=0)
        block.dt_proj.bias.fill_(-3 * GAIN)
        _write_and_read_alike(block.constants)
        block.out_proj.weight[keys : keys + values, :slots] = is_value.repeat(1, keys)
    return model


def replacing_state(keys: int, values: int) -> int:
    """Scalars that `replacing` carries, whatever the length."""
    return 2 * keys * (values + 1)


def adding(tokens: Alphabet, *, log_rate: float = HOLD) -> LanguageModel:
    """Mamba, time-invariant, with A = -exp(log_rate)."""
    keys, values = len(tokens.keys), len(tokens.values)
    slots = keys * values
    model, block = _mamba(tokens, max(slots, keys + values), selective=())
    assert block.conv1d.bias is not None
    is_key, is_value = torch.eye(keys).repeat_interleave(values, dim=0), torch.eye(values).repeat(keys, 1)
    with torch.no_grad():
        seen, gate = block.in_proj.weight.chunk(2)
        seen[:slots, :keys] = is_key
        seen[:slots, keys : keys + values] = -is_value
        gate[:slots, :keys] = is_key
        block.conv1d.weight[:, 0, LAST] = BETA
        block.conv1d.weight[:, 0, PRESENT] = -BETA
        block.conv1d.bias.fill_(-1.5 * BETA)
        block.A_log.fill_(log_rate)
        block.constants["dt"].fill_(math.log(math.expm1(1.0)))  # through softplus 1
        _write_and_read_alike(block.constants)
        block.out_proj.weight[keys : keys + values, :slots] = is_value.T
    return model


def adding_state(keys: int, values: int) -> int:
    """Scalars that `adding` carries, whatever the length."""
    return 2 * max(keys * values, keys + values)


def sharing(tokens: Alphabet) -> LanguageModel:
    """Mamba; what it writes with and reads with depends on the token, its step does not."""
    keys, values = len(tokens.keys), len(tokens.values)
    model, block = _mamba(tokens, values + 2 * keys, selective=("B", "C"), state_width=keys)
    is_key, is_value = torch.eye(keys), torch.eye(values)
    with torch.no_grad():
        seen, gate = block.in_proj.weight.chunk(2)
        seen[:values, keys : keys + values] = is_value
        seen[values:, :keys] = is_key.repeat(2, 1)
        gate[:values, :keys] = 1.0
        block.conv1d.weight[:, 0, PRESENT] = 1.0
        block.conv1d.weight[values : values + keys, 0] = torch.eye(2)[LAST]
        block.x_proj.weight[:, values:] = torch.eye(2 * keys) / SILU_1
        block.A_log.fill_(HOLD)
        block.out_proj.weight[keys : keys + values, :values] = is_value
    return model


def sharing_state(keys: int, values: int) -> int:
    """Scalars that `sharing` carries, whatever the length."""
    return (values + 2 * keys) * (keys + 1)


def replacing_heads(tokens: Alphabet) -> LanguageModel:
    """Mamba-2 with a head a key; only its step depends on the token."""
    keys, values = len(tokens.keys), len(tokens.values)
    head = _head_width(keys, values)
    width = keys * head
    fields = {"width": width, "expand": 1, "state_width": 1, "conv": 1, "head_width": head, "selective": ("dt",)}
    shown = [*tokens.keys, *tokens.values]
    model = table_model(
        vocab_size=tokens.vocab_size, shown=shown, answers=tokens.values, mixer="mamba2", fields=fields, depth=1, short_conv=2
    )
    block, convolution = model.stack[0].mixer, model.stack[0].convolution
    assert isinstance(block, Mamba2)
    assert isinstance(convolution, ShortConvolution)  # it has two taps
    key, value, last_key = (slice(start, start + size) for start, size in ((0, keys), (keys, values), (keys + values, keys)))
    with torch.no_grad():
        model.embedding.weight[:, last_key] = model.embedding.weight[:, key]
        convolution.weight[key, PRESENT] = math.sqrt(2)  # a key has two features, and RMSNorm takes that from each
        convolution.weight[value, PRESENT] = 1.0
        convolution.weight[last_key, LAST] = math.sqrt(2)
        gate, seen, step = torch.split(block.in_proj.weight, list(block.parts))
        gate.view(keys, head, width)[:, :, key] = torch.eye(keys)[:, None]
        seen.view(keys, head, width)[:, :values, value] = torch.eye(values)
        step[:, value] = 2 * GAIN
        step[:, last_key] = 2 * GAIN * torch.eye(keys)
        block.dt_bias.fill_(-3 * GAIN)
        block.conv1d.weight.fill_(1.0)
        _write_and_read_alike(block.constants)
        block.norm.weight.fill_(1.0)
        block.out_proj.weight.view(width, keys, head)[value, :, :values] = torch.eye(values)[:, None]
    return model


def replacing_heads_state(keys: int, values: int) -> int:
    """Scalars that `replacing_heads` carries, the backbone's tail included, whatever the length."""
    return 2 * keys * _head_width(keys, values)


def _head_width(keys: int, values: int) -> int:
    """Room for the values in a head, and in all heads together for the features: keys now, values now, keys last."""
    return max(values, 2 + -(-values // keys))


def _mamba(tokens: Alphabet, width: int, **fields: Any) -> tuple[LanguageModel, Mamba]:
    model = table_model(
        vocab_size=tokens.vocab_size,
        shown=[*tokens.keys, *tokens.values],
        answers=tokens.values,
        fields={"width": width, "expand": 1, "state_width": 1, "conv": 2} | fields,
        depth=1,
        short_conv=1,
    )
    block = model.stack[0].mixer
    assert isinstance(block, Mamba)
    return model, block


def _write_and_read_alike(constants: nn.ParameterDict) -> None:
    """B = C = 1."""
    for signal in ("B", "C"):
        nn.init.ones_(constants[signal])
