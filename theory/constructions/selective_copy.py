"""Weights for two blocks of Mamba that copy selectively: the first counts, the second stores and reads under the count.

M values c are shown among noise and blanks; after the copy token the j-th blank asks for the j-th value. [P] is 1 where P holds, else 0. No
convolution looks back (one tap). What is not named is 0, D too; A = -e^-40, so that a step of log 2 keeps a state, and one of 60 e^40
erases it.

**Block 1** writes a rank: at a value how many values there were so far, at a blank how many blanks since the copy token, both counting
themselves; 0 at other tokens. Channels "values" and "blanks" see silu([token is one]), a channel "any" sees silu(1) at every token and
makes B and C of state 0, a channel "copy" makes the step of "blanks" 60 e^40 at the copy token. So their states are the counts, times
silu(1) log 2, and gates open them at values and at blanks. The feature of the rank gets rank / M, in units of the tokens' features.

**Block 2** is given sigma (e_token + (rank/M) e_rank) by RMSNorm, sigma = (1 + (rank/M)^2)^(-1/2). Nothing that it makes of it needs to
know the scale sigma, which lies in 0.7 .. 1 where it matters. Channels j = 0 .. M+1 see silu(b (rank - j)), b = sqrt(2) SHARPNESS sigma,
and their second difference at j = 1 .. M is b tanh(b/2) where rank = j, elsewhere below 4 b e^-b with b >= SHARPNESS: b times a one-hot
code of the rank, which serves as B and as C. A channel for each c sees silu(sigma [token = c]), its gate is open at blanks, and it is
unembedded as c. So the j-th value c is stored in state j of channel c; what the j-th blank reads from there is positive, and from elsewhere
as good as nothing: e^-SHARPNESS of it, or what float32 rounds of b M (8e-6 of the right logit at M = 16, 6e-4 at M = 256). []

**State**: in each block M states in max(vocabulary + 1, v + M + 2) channels, of which the first block uses 2 states, the second M v. The
wall (`recall.wall`) asks for M log2 v bits: with M = v = 16 for 64, where 1,088 scalars of 32 bits are carried.
"""

import math

import numpy as np
import torch

from ...models import LanguageModel
from ...models.mamba import Mamba
from ...tasks import SelectiveCopy, Stream
from ..claim import Claim, Evidence, Scale
from .mqar import answered
from .tables import HOLD, table_model

SHARPNESS = 30.0
"""the least b: of the steps between ranks, in units of the width of silu's bend"""
RESET = 60 * math.exp(-HOLD)
"""step at which a state that otherwise holds keeps e^-60"""
SILU_1 = 1 / (1 + math.exp(-1))
VALUES, BLANKS, COPY, ANY = range(4)
"""channels of the first block"""


def selective_copy_construction(task: SelectiveCopy) -> LanguageModel:
    """The model of this module for `task`, whatever its length: that is not looked at."""
    width = max(task.vocab_size + 1, task.values + task.content + 2)
    model = table_model(
        vocab_size=task.vocab_size,
        shown=range(task.vocab_size),
        answers=range(task.values),
        fields={"width": width, "expand": 1, "state_width": task.content, "conv": 1, "dt_rank": 1},
        depth=2,
        short_conv=1,
    )
    counter, store = (block.mixer for block in model.stack)
    assert isinstance(counter, Mamba)
    assert isinstance(store, Mamba)
    with torch.no_grad():
        for block in (counter, store):
            block.conv1d.weight.fill_(1.0)
            block.A_log.fill_(HOLD)
        _count(task, counter)
        _store(task, store)
    return model


def selective_copy_state(task: SelectiveCopy) -> int:
    """Scalars that the model carries, whatever the length."""
    return 2 * task.content * max(task.vocab_size + 1, task.values + task.content + 2)


def _count(task: SelectiveCopy, block: Mamba) -> None:
    """Weights of the first block."""
    tokens, rank = task.vocab_size, task.vocab_size  # features
    seen, gate = block.in_proj.weight.chunk(2)
    for channels in (seen, gate):
        channels[VALUES, : task.values] = 1.0
        channels[BLANKS, task.blank] = 1.0
    seen[COPY, task.copy] = 1.0
    seen[ANY, :tokens] = 1.0
    step, write, read = torch.split(block.x_proj.weight, [1, task.content, task.content])
    step[0, COPY] = 1 / SILU_1
    for signal in (write, read):
        signal[0, ANY] = 1 / SILU_1
    block.dt_proj.weight[BLANKS, 0] = RESET
    width = block.config.width
    for channel in (VALUES, BLANKS):
        block.out_proj.weight[rank, channel] = math.sqrt(width) / (task.content * math.log(2) * SILU_1**2)


def _store(task: SelectiveCopy, block: Mamba) -> None:
    """Weights of the second block."""
    values, content, rank = task.values, task.content, task.vocab_size
    seen, gate = block.in_proj.weight.chunk(2)
    seen[:values, :values] = torch.eye(values)
    gate[:values, task.blank] = 1.0
    ramps = slice(values, values + content + 2)
    steepness = SHARPNESS * math.sqrt(2)
    seen[ramps, rank] = steepness * content
    seen[ramps, :rank] = -steepness * torch.arange(content + 2.0)[:, None]
    _, write, read = torch.split(block.x_proj.weight, [1, content, content])
    for signal in (write, read):
        for j, code in enumerate(signal):
            code[ramps][j : j + 3] = torch.tensor([1.0, -2.0, 1.0])
    block.out_proj.weight[:values, :values] = torch.eye(values)


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on blanks and on noise, on every placement, on lengths up to 4096 by one and the same model."""
    shapes = [(64, 8, 16, 0), (256, 16, 16, 4), (1024, 16, 16, 0), (96, 32, 8, 3), (64, 1, 2, 0), (4096, 16, 14, 0)]
    if scale == "full":
        shapes += [(4096, 16, 16, 8), (4096, 64, 16, 2), (16384, 16, 16, 4)]
    tasks = [SelectiveCopy(length=length, content=content, values=values, noise=noise) for length, content, values, noise in shapes]
    tasks += [SelectiveCopy(length=64, content=8, placement="start"), SelectiveCopy.mad()]
    accuracy, state = [], []
    for task in tasks:
        model = selective_copy_construction(task)
        count = max(2, (2**14 if scale == "quick" else 2**16) // task.length)
        accuracy.append(answered(model, task.sample(Stream(seed, "test"), 0, count)).mean())
        state.append(model.state_size(task.length))
    needed = np.array([task.answer_bits for task in tasks])
    return Evidence(
        quantity="accuracy of weights set by hand on selective_copy, then the scalars of state that they carry",
        measured=np.array([accuracy, state]),
        predicted=np.array([np.ones(len(tasks)), [selective_copy_state(task) for task in tasks]]),
        at_least=np.array([np.ones(len(tasks)), needed / 32]),
        arrays={"length": np.array([task.length for task in tasks]), "state_scalars": np.array(state), "answer_bits": needed},
    )


SELECTIVE_COPY_CONSTRUCTION = Claim(
    name="mamba.selective_copy_construction",
    statement=(
        "Two blocks of Mamba without a convolution that looks back answer every question of selective_copy with M values out of v, among "
        "blanks or noise, at every length (checked to 4096; at full scale to 16384), in 2 M max(v + noise + 3, v + M + 2) scalars of "
        "state."
    ),
    source="new; the task is that of arXiv:2312.00752, section 4.1.1, where two blocks of Mamba are trained on it",
    standing="new",
    check=_check,
)
