"""Induction heads in one block of Mamba with one state a channel, by a step that depends on the token; and without that, and what it costs.

The weights are those of `slots.py` with triggers for keys. **Replacing** holds 2 (v+1) scalars for one trigger and v values, and answers
with the value after the last occurrence of the trigger, at every length t far below G e^G (7e27 for G = 60): the next logit is at most
(1 + t/G) e^-G of the right one's. The answer has log2 v bits, 4 for v = 16, where 34 scalars of 32 bits are carried.

**Adding** has no signal that depends on the token, and does the same where the trigger occurs once. Where it occurs m times all weigh
alike, so the most frequent of m values is named, ties by their number. As values are independent, places are exchangeable: the last is one
of those that hold the named value with probability E[largest count] / m. [] What fades lets the last one win, and is forgotten: see
`slots.py`. That a time-invariant layer needs to be told pairs of neighbours, as here by the convolution, is `mamba.lti_induction`.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int32

from ...models import LanguageModel
from ...tasks import Induction, Stream
from ..claim import Claim, Evidence, Scale
from .slots import GAIN, Alphabet, adding, adding_state, replacing, replacing_state
from .tables import HOLD, last_logits

VALUES = 16
KNOWN, LOST = 100, 112
"""tokens after which float32, whose least number is e^-103, knows a value in a state with A = -1, and after which it knows it no longer"""
MOST = 2**17
"""tokens, all samples of a kind together, that are drawn for one length, or two samples if those have more"""


def induction_construction(task: Induction) -> LanguageModel:
    """Mamba in one block, of which only the step is selective: answers every sample of `task`; of a repeated trigger, the last value."""
    return replacing(_alphabet(task))


def unselective_induction_construction(task: Induction, *, log_rate: float = HOLD) -> LanguageModel:
    """Mamba in one block, time-invariant, A = -exp(log_rate): answers every sample of `task` where that is `HOLD`."""
    return adding(_alphabet(task), log_rate=log_rate)


def _alphabet(task: Induction) -> Alphabet:
    return Alphabet(task.vocab_size, task.keys, range(task.values))


class Samples(NamedTuple):
    """Sequences whose last token is the trigger, and the value after its last occurrence before."""

    tokens: Int32[np.ndarray, "count length"]
    answers: Int32[np.ndarray, " count"]


def repeated(length: int, occurrences: int, stream: Stream, count: int) -> Samples:
    """Samples of `Induction` in which all triggers are one: it occurs `occurrences` times before the end, each time before a value."""
    tokens = Induction(length=length, values=VALUES, triggers=occurrences).sample(stream, 0, count).tokens
    tokens = np.minimum(tokens, VALUES)
    last = length - 2 - (tokens[:, -2::-1] == VALUES).argmax(axis=1)
    return Samples(tokens, tokens[np.arange(count), last + 1])


class Found(NamedTuple):
    """What a model says to samples."""

    right: Bool[np.ndarray, " count"]
    first: Float64[np.ndarray, " count"]
    """the largest logit"""
    second: Float64[np.ndarray, " count"]
    """the one after it"""


def found(model: LanguageModel, samples: Samples) -> Found:
    """The likeliest token after the last one against the answer."""
    best = last_logits(model, torch.from_numpy(samples.tokens).long()).topk(2)
    first, second = best.values.double().numpy().T
    return Found(best.indices[:, 0].numpy() == samples.answers, first, second)


def _lengths(scale: Scale) -> list[int]:
    return [2**8, 2**12, 2**16] + ([2**20] if scale == "full" else [])


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on one occurrence and on three, read in pieces with the state carried."""
    model, columns = induction_construction(Induction(values=VALUES)), []
    for length in _lengths(scale):
        result = found(model, _both(length, Stream(seed, "test")))
        margin, share = result.first - result.second, result.second / result.first
        columns.append([length, result.right.mean(), share.max(), model.state_size(length), margin.min()])
    lengths, accuracy, largest, state, least = np.array(columns).T
    one, leak = np.ones(len(lengths)), (1 + lengths / GAIN) * np.exp(-GAIN)
    stated = replacing_state(1, VALUES) * one
    return Evidence(
        quantity="by length: accuracy with one and three occurrences; the next logit as a share of the right one's; scalars of state",
        measured=np.array([accuracy, largest, state]),
        at_least=np.array([one, 0 * one, stated]),
        at_most=np.array([one, leak, stated]),
        arrays={"length": lengths, "accuracy": accuracy, "margin": least, "share": largest},
    )


def _count(length: int) -> int:
    return max(2, min(64, MOST // length))


def _both(length: int, stream: Stream) -> Samples:
    """As many samples with one occurrence as with three."""
    kinds = (repeated(length, occurrences, stream, _count(length)) for occurrences in (1, 3))
    return Samples(*map(np.concatenate, zip(*kinds, strict=True)))


INDUCTION_HEAD = Claim(
    name="mamba.induction_head",
    statement=(
        "One block of Mamba with one state a channel, of which only the step depends on the token, answers with the value after the last "
        "occurrence of a trigger at every length t far below 60 e^60 (checked to 2^16; at full scale to 2^20) in 2 (v+1) scalars of state "
        "for v values, and no other logit exceeds (1 + t/60) e^-60 of the right one's."
    ),
    source="new; the task is that of arXiv:2312.00752, section 4.1.2, where Mamba is trained on it",
    standing="new",
    check=_check,
)


def _check_unselective(scale: Scale, seed: int) -> Evidence:
    """Evidence on one occurrence at all lengths; on repeated ones, with the replacing block beside; on a system that fades."""
    stream, task = Stream(seed, "test"), Induction(values=VALUES)
    adds, fades = unselective_induction_construction(task), unselective_induction_construction(task, log_rate=0.0)
    replaces = induction_construction(task)
    stated = adding_state(1, VALUES)
    rows: list[tuple[float, float, float, float]] = []  # measured, at least, at most, tolerance
    for length in _lengths(scale):
        once = repeated(length, 1, stream, _count(length))
        rows.append((found(adds, once).right.mean(), 1, 1, 0))
        rows.append((adds.state_size(length), stated, stated, 0))
    count = 500 if scale == "quick" else 10_000
    for occurrences in (2, 3, 8):
        samples = repeated(64, occurrences, stream, count)
        share = Induction(values=VALUES, triggers=occurrences).controls()["key_blind"]
        rows.append((found(adds, samples).right.mean(), share, share, _noise(share, count)))
        rows += [(found(model, samples).right.mean(), 1, 1, 0) for model in (replaces, fades)]
    length = 2**11
    known, lost = KNOWN / length, LOST / length + 1 / VALUES
    faded = repeated(length, 1, stream, count // 4)
    rows.append((found(fades, faded).right.mean(), known, lost, _noise(lost, count // 4)))
    measured, at_least, at_most, tolerance = np.array(rows, dtype=np.float64).T
    return Evidence(
        quantity=(
            "without selection, by length: accuracy with one occurrence, scalars of state; then with 2, 3 and 8 occurrences: accuracy of "
            "adding, of replacing, of fading at length 64; last of fading at length 2048, one occurrence"
        ),
        measured=measured,
        at_least=at_least,
        at_most=at_most,
        tolerance=tolerance,
    )


def _noise(share: float, count: int) -> float:
    return float(4 * np.sqrt(share * (1 - share) / count))


INDUCTION_WITHOUT_SELECTION = Claim(
    name="mamba.induction_without_selection",
    statement=(
        "It is not true that time-invariant state space models cannot do induction heads. One block of Mamba whose step, B and C are "
        "constants does, at every length (checked to 2^16; at full scale to 2^20), in 2 (v+1) scalars of state for v values, if the "
        "trigger occurs once: its short convolution, silu and gate suffice. Where it occurs m times and the last counts, these weights, "
        "which hold for ever, are right on E[largest count of m values] / m; with A = -1 they are right on all at length 64, and in "
        "float32 know nothing of most of 2048 tokens. Where the step is selective one block does both."
    ),
    source="corrects arXiv:2312.00752, sections 3.1 and 4.1.2: that time-invariant models cannot do induction heads; weights ours",
    standing="corrected",
    check=_check_unselective,
)
