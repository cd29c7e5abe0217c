"""Which answers hashing loses: with the weights of `constructions/joint_recall_lsh.py` a question fails iff its bin has filled up since.

Let a key k be asked in context c at position i, and its value be shown at position t. With B positions a bin, the answer is lost iff among
t < j <= i there are B or more whose key lies in the query's bin.

**Proof.** k_t equals q_i, so t is of the query's bin, and it is among the last B of it iff fewer than B came later. If it is read, it outscores
whatever else is read. If it is not, what is read are values of other entries, tokens without a value channel, and tokens that show all values
alike, so the right value gets no weight unless another entry happens to have it too, or all values get the same. Those questions, where luck
decides, are left out; at all others the model is right iff t is read. []

**Bound.** Over the draw of planes, a later key at the angle a from the query shares its bin with probability (1 - a/pi)^h (`sign_collision.py`).
Their expected number, over B, is at least the probability that B or more do (Markov): that an answer is lost. []

The codes are computed here from tokens alone: what the model has to do, not what it does.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from ...models.hax import Hax
from ...tasks import IGNORE, JointRecall, Stream
from ...tasks.joint_recall import FIRST_VALUE
from ..claim import Claim, Evidence, Scale
from ..constructions.joint_recall_lsh import Coding, codes, joint_recall_lsh_construction
from ..constructions.mqar import answered

Row = Int32[np.ndarray, " length"]
Coded = Float64[np.ndarray, "length features"]
Asked = Bool[np.ndarray, " questions"]

TABLE = JointRecall(contexts=16, keys=16)
SETTINGS: tuple[tuple[Coding, JointRecall, int, int], ...] = (
    ("plain", TABLE, 8, 16),
    ("plain", TABLE, 16, 8),
    ("simplex", TABLE, 8, 16),
    ("simplex", TABLE, 12, 8),
    ("plain", JointRecall(contexts=13, keys=9, reveal=False), 12, 4),
    ("simplex", JointRecall(contexts=13, keys=9, reveal=False), 8, 8),
    ("simplex", JointRecall(contexts=5, keys=16, layout="triples"), 6, 16),
    ("simplex", JointRecall(contexts=(12, 13), keys=(8, 9)), 8, 8),
)
"""coding, task, planes, positions a bin"""
PLANE_DRAWS = 40
"""for the bound"""


class Foreseen(NamedTuple):
    """What the hash does to each question, row by row."""

    lost: Asked
    lucky: Asked
    """whether the right value can be read elsewhere"""


def keys_and_queries(task: JointRecall, tokens: Row, coding: Coding) -> tuple[Coded, Coded]:
    """k and q of block 2 at each position, up to their gain, and to RMSNorm's epsilon."""
    symbol_codes, context_codes = (matrix.double().numpy() for matrix in codes(task, coding))
    symbol, context = _symbols(task, tokens), _contexts(task, tokens)
    in_context = context >= 0
    token_length = np.where(tokens < FIRST_VALUE, task.values**-0.5, 1.0)
    read = np.sqrt(2 / (token_length**2 + in_context))  # RMSNorm makes token and context together sqrt(2) long
    size = (read / (1 + np.exp(-read)))[:, None]  # silu
    of_symbol, of_context = size * symbol_codes[symbol], size * in_context[:, None] * context_codes[context]
    of_last = np.pad(of_symbol[:-1], ((1, 0), (0, 0)))
    return np.hstack([of_last, of_context]), np.hstack([of_symbol, of_context])


def foresee(
    task: JointRecall, tokens: Row, targets: Row, planes: Float64[np.ndarray, "features bits"], per_bin: int, coding: Coding
) -> Foreseen:
    """What befalls the questions of a sample, by counting the keys in their bins."""
    keys, queries = (_bins(vectors, planes) for vectors in keys_and_queries(task, tokens, coding))
    asked, shown = questions(task, tokens, targets)
    position = np.arange(len(tokens))
    in_bin = (keys == queries[asked, None]) & (position <= asked[:, None])
    later = in_bin[:, ::-1].cumsum(axis=1)[:, ::-1] - in_bin
    read = in_bin & (later < per_bin)
    says_it = (tokens < FIRST_VALUE) | (tokens == targets[asked, None])
    return Foreseen(~read[np.arange(len(asked)), shown], (read & says_it & (position != shown[:, None])).any(axis=1))


def questions(task: JointRecall, tokens: Row, targets: Row) -> tuple[Int64[np.ndarray, " questions"], Int64[np.ndarray, " questions"]]:
    """Where each question stands, and where its value is shown."""
    symbol, context = _symbols(task, tokens), _contexts(task, tokens)
    asked = np.flatnonzero(targets != IGNORE)
    follows = (np.pad(symbol[:-1], (1, 0), constant_values=-1) == symbol[asked, None]) & (context == context[asked, None])
    return asked, follows.argmax(axis=1)  # the first such position: the second is in the other half


def lost_on_average(task: JointRecall, bits: int, per_bin: int, coding: Coding, seed: int) -> tuple[float, float, float]:
    """Share of answers lost in a sample over draws of planes, its standard error, and the bound on its expectation."""
    tokens, targets = (part[0] for part in task.sample(Stream(seed, "test"), 0, 1))
    keys, queries = keys_and_queries(task, tokens, coding)
    random = np.random.default_rng(seed)
    lost = [
        foresee(task, tokens, targets, random.standard_normal((keys.shape[1], bits)), per_bin, coding).lost.mean()
        for _ in range(PLANE_DRAWS)
    ]
    asked, shown = questions(task, tokens, targets)
    position = np.arange(len(tokens))
    later = (position > shown[:, None]) & (position <= asked[:, None])
    expected = (later * sharing(queries[asked], keys, bits)).sum(axis=1)
    return float(np.mean(lost)), float(np.std(lost, ddof=1) / PLANE_DRAWS**0.5), float(np.minimum(1.0, expected / per_bin).mean())


def sharing(
    queries: Float64[np.ndarray, "queries features"], keys: Float64[np.ndarray, "keys features"], bits: int
) -> Float64[np.ndarray, "queries keys"]:
    """Probability of one bin, for each pair; a key of length 0 is on no plane's positive side, and shares a bin by 2^-bits."""
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(keys, axis=1)
    cosine = np.divide(queries @ keys.T, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    probability: Float64[np.ndarray, "queries keys"] = (1 - np.arccos(np.clip(cosine, -1, 1)) / np.pi) ** bits
    return probability


def _bins(vectors: Coded, planes: Float64[np.ndarray, "features bits"]) -> Int64[np.ndarray, " length"]:
    """The side of each plane."""
    found: Int64[np.ndarray, " length"] = (vectors @ planes > 0) @ (1 << np.arange(planes.shape[1]))
    return found


def _symbols(task: JointRecall, tokens: Row) -> Int64[np.ndarray, " length"]:
    """Number of a key, that of keys for what is none."""
    is_key = (task.first_key <= tokens) & (tokens < task.first_context)
    return np.where(is_key, tokens - task.first_key, task.most_keys).astype(np.int64)


def _contexts(task: JointRecall, tokens: Row) -> Int64[np.ndarray, " length"]:
    """Number of the latest context, -1 before there is one."""
    position = np.maximum.accumulate(np.where(tokens >= task.first_context, np.arange(len(tokens)), 0))
    return (tokens[position] - task.first_context).clip(-1).astype(np.int64)


def _disagreements(setting: tuple[Coding, JointRecall, int, int], samples: int, seed: int) -> tuple[int, float, float]:
    """Questions at which the model does other than foreseen; share of answers lost; share of questions left to luck."""
    coding, task, bits, per_bin = setting
    model = joint_recall_lsh_construction(task, coding, seed=seed, hash_bits=bits, budget=per_bin).double()
    reading = model.stack[1].mixer
    assert isinstance(reading, Hax)
    planes = reading.reader.planes[0].numpy()[: sum(matrix.shape[1] for matrix in codes(task, coding))]
    batch = task.sample(Stream(seed, "test"), 0, samples)
    each = [foresee(task, tokens, targets, planes, per_bin, coding) for tokens, targets in zip(*batch, strict=True)]
    lost, lucky = (np.concatenate(part) for part in zip(*each, strict=True))
    decided = ~(lost & lucky)
    return int(((answered(model, batch) == lost) & decided).sum()), float(lost.mean()), float(1 - decided.mean())


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence question by question in each of SETTINGS, then on the average over planes against the bound."""
    samples = 3 if scale == "quick" else 12
    wrong, lost, luck = np.array([_disagreements(setting, samples, seed) for setting in SETTINGS]).T
    drawn, error, bound = np.array([lost_on_average(task, bits, per_bin, coding, seed) for coding, task, bits, per_bin in SETTINGS]).T
    return Evidence(
        quantity="questions at which the model does other than the hash foretells; share of answers lost, over planes, against its bound",
        measured=np.concatenate([wrong, drawn]),
        at_most=np.concatenate([0 * wrong, bound]),
        tolerance=np.concatenate([0 * wrong, 4 * error]),
        arrays={"lost": lost, "luck": luck, "drawn": drawn, "bound": bound},
    )


LSH_MISS = Claim(
    name="hax.lsh_miss",
    statement=(
        "With the construction's codes, a question of joint recall is answered by attention to the last B keys of its hash bin iff fewer than B "
        "keys fell into the bin after its value's and up to the question; a lost answer can be right by luck only, where another entry that is "
        "read has the same value. Over planes an answer is lost with probability at most (1/B) sum_j (1 - angle_j / pi)^h over the keys since."
    ),
    source="new; on the hash of arXiv:2507.00449, with the collision law of random planes (hax.sign_collision)",
    standing="new",
    check=_check,
)
