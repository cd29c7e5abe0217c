"""Weights that solve `mqar` with one layer: a query matches the key written next to each value, and reads that value.

**Weights.** Features: a block A for the keys' one-hot code and, for each head h, a block B_h for the keys' and C_h for the values'. A key
token embeds as its code in A and in every B_h, a value token as its code in every C_h, filler as zero; so RMSNorm is one factor for all
keys and one for all values. The convolution passes A as it is, delays B_h by lag_h + 1 tokens and C_h by lag_h: where C_h shows a value,
B_h shows its key. Queries read A, with a gain, keys B_h, values C_h. All heads write to C_1, which the unembedding reads.

**Proof** (one head, lag 0, each key asked once). At a query the position that shows its value scores beta, every other one before it 0:
codes are orthonormal, and another position whose last token was a key had another key. So softmax gives the former a weight 1 - x with
x <= (T-1) e^-beta = LEAK (up to RMSNorm's epsilon), and the right logit exceeds any other by a factor of (1 - x) / x or more, a margin
that float32 does not lose. Linear attention gives the former beta and the others exactly 0. The embedding of the query itself lies in A
and B_h, which are not read. []

Besides: a key asked again also matches the cell after its earlier query, which shows no value as long as filler shows none. Of two heads,
one that misses the value averages over its window, where one value weighs at most 2/3 (two cells in three, values alike), less than the
1 - LEAK of the one that finds it; so a sliding window answers exactly what it sees, at either lag (`window.py`).

**State** with width = heads * ceil((keys + heads (keys + values)) / heads), 2 keys + values for one head: softmax attention 2 width a
token, linear attention keys * width; and width * (taps - 1) for the convolution, which has two taps for lag 0.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int32
from torch import nn

from ...models import LanguageModel, LanguageModelConfig, ProjectedMixer, ShortConvolution, count_scalars
from ...tasks import IGNORE, MQAR, Batch, Stream
from ..claim import Claim, Evidence, Scale

LEAK = 0.01
"""softmax weight that all wrong positions together may have"""

ROWS = 64
"""samples that go through a model at a time: bounds the memory that its activations take"""


def mqar_construction(task: MQAR, mixer: str = "attention", *, lags: Sequence[int] = (0,), **fields: Any) -> LanguageModel:
    """The model of this module for `task`: one block, a head for each of `lags`, `max(lags) + 2` taps.

    `mixer` is a `ProjectedMixer`, `fields` those of its configuration besides width and heads. Raises ValueError for another mixer, for
    one whose keys have fewer features than there are keys, and unless there are lags, all >= 0.
    """
    if not lags or min(lags) < 0:
        raise ValueError(f"lags must be one or more numbers >= 0, one a head, got {tuple(lags)}")
    heads = len(lags)
    width = heads * -(-(task.keys + heads * (task.keys + task.values)) // heads)
    config = LanguageModelConfig(
        vocab_size=task.vocab_size, mixer=mixer, fields={**fields, "width": width, "heads": heads}, depth=1, short_conv=max(lags) + 2
    )
    model = LanguageModel(config)
    mixing = model.blocks[0].mixer
    if not isinstance(mixing, ProjectedMixer):
        raise ValueError(f"mixer must be one with query, key and value projections, got {mixer!r}")
    if mixing.query.out_features < heads * task.keys:
        features = mixing.query.out_features // heads
        raise ValueError(f"a key needs at least keys={task.keys} features for orthonormal codes, got {features} with mixer {mixer!r}")
    convolution = model.blocks[0].convolution
    assert isinstance(convolution, ShortConvolution)  # there are two taps or more
    with torch.no_grad():
        _set_weights(task, lags, model, convolution, mixing)
    return model


def _set_weights(task: MQAR, lags: Sequence[int], model: LanguageModel, convolution: ShortConvolution, mixing: ProjectedMixer) -> None:
    heads, width = len(lags), mixing.config.width
    key_tokens = slice(task.vocabulary.first_key, task.vocabulary.first_key + task.keys)
    value_tokens = slice(task.vocabulary.first_value, task.vocabulary.first_value + task.values)
    key_code, value_code = torch.eye(task.keys), torch.eye(task.values)
    asked = slice(0, task.keys)  # A
    starts = [task.keys + head * (task.keys + task.values) for head in range(heads)]
    shown_keys = [slice(start, start + task.keys) for start in starts]  # B_h
    shown_values = [slice(start + task.keys, start + task.keys + task.values) for start in starts]  # C_h

    linear = (mixing.query, mixing.key, mixing.value, mixing.out, model.embedding, model.unembedding, convolution)
    for layer in linear:
        nn.init.zeros_(layer.weight)
    beta = math.log((task.length - 1) / LEAK)
    key_features = mixing.query.out_features // heads
    normed = width / (heads + 1)  # a key's code times itself behind RMSNorm
    model.embedding.weight[key_tokens, asked] = key_code
    convolution.weight[asked, -1] = 1.0
    for head, lag in enumerate(lags):
        model.embedding.weight[key_tokens, shown_keys[head]] = key_code
        model.embedding.weight[value_tokens, shown_values[head]] = value_code
        convolution.weight[shown_keys[head], -2 - lag] = 1.0
        convolution.weight[shown_values[head], -1 - lag] = 1.0
        compared = slice(head * key_features, head * key_features + task.keys)
        mixing.query.weight[compared, asked] = beta * math.sqrt(key_features) / normed * key_code
        mixing.key.weight[compared, shown_keys[head]] = key_code
        read = slice(head * width // heads, head * width // heads + task.values)
        mixing.value.weight[read, shown_values[head]] = value_code
        mixing.out.weight[shown_values[0], read] = value_code
    model.unembedding.weight[value_tokens, shown_values[0]] = value_code


def answered(model: LanguageModel, batch: Batch) -> Bool[np.ndarray, " questions"]:
    """Whether each question of the batch, row by row, is answered with its target as the likeliest token."""
    right = []
    for at in range(0, len(batch.tokens), ROWS):
        tokens, targets = batch.tokens[at : at + ROWS], batch.targets[at : at + ROWS]
        positions = np.flatnonzero(targets != IGNORE)
        with torch.inference_mode():
            logits = model.logits_at(torch.from_numpy(tokens).long(), torch.from_numpy(positions))
        right.append(logits.argmax(dim=1).numpy() == targets.reshape(-1)[positions])
    return np.concatenate(right)


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on both mixers and every layout: accuracy on samples, and the state that `step` carries over the task's cut."""
    sizes = [(64, 4), (64, 16), (128, 32)] if scale == "quick" else [(64, 4), (64, 16), (128, 32), (256, 64), (512, 64)]
    tasks = [MQAR(length=length, pairs=pairs, keys=64, values=64, order="shuffled") for length, pairs in sizes]
    tasks += [
        MQAR(length=64, pairs=16, keys=64, values=64, order="race"),
        MQAR(length=64, pairs=16, keys=64, values=64, layout="scattered"),
    ]
    accuracy, carried, stated, needed = [], [], [], []
    for task in tasks:
        batch = task.sample(Stream(seed, "test"), 0, 64 if scale == "quick" else 512)
        width = 2 * task.keys + task.values
        models = mqar_construction(task), mqar_construction(task, "linear_attention", feature_width=task.keys)
        for model, columns in zip(models, (2 * task.cut + 1, task.keys + 1), strict=True):
            accuracy.append(answered(model, batch).mean())
            carried.append(_carried(model, batch.tokens[:1, : task.cut]))
            stated.append(columns * width)
            needed.append(task.answer_bits)
    return Evidence(
        quantity="accuracy of weights set by hand on mqar, then scalars of state that they carry over the cut",
        measured=np.array([accuracy, carried]),
        predicted=np.array([np.ones(len(stated)), stated]),
        arrays={"state_scalars": np.array(carried), "answer_bits": np.array(needed)},
    )


def _carried(model: LanguageModel, tokens: Int32[np.ndarray, "1 read"]) -> int:
    """Scalars in the tensors of the state after these tokens, one at a time."""
    state = model.init_state(1)
    with torch.inference_mode():
        for token in torch.from_numpy(tokens).long().T:
            _, state = model.step(token, state)
    return count_scalars(state)


MQAR_CONSTRUCTION = Claim(
    name="recall.mqar_construction",
    statement=(
        "One layer of attention behind a two-tap convolution answers every question of mqar (filler of its own), with width 2 keys + "
        "values and a state of (2 t + 1) width scalars after t tokens; so does linear attention with as many features as keys, in a state "
        "of (keys + 1) width scalars, whatever the length."
    ),
    source="new; the convolution takes the place of the previous-token head below an induction head (arXiv:2209.11895)",
    standing="new",
    check=_check,
)
