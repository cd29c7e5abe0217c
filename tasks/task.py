"""What a recall task is: a frozen value that samples itself, solves itself and knows what its answers are worth."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Int32, Int64, Integer

from .draws import Words
from .stream import Stream, philox_words

IGNORE = -100
"""target of a position where nothing is asked (the default `ignore_index` of torch's cross-entropy)"""

CHUNK = 2**18
"""tokens generated at a time: intermediate arrays stay in the cache, and memory stays flat however long samples are"""

BLOCK_BYTES = 8 * 2**20
"""random words drawn at a time"""

KEPT_BYTES = 16 * 2**20
"""what malloc is made to keep between chunks and calls: it gives back what is freed beyond twice the largest block it has seen freed, and fresh
pages cost more than the arithmetic. A block of this size, freed untouched, takes a microsecond and no memory."""

TASKS: dict[str, type["Task"]] = {}
"""every task by name; a subclass that has a `name` enters itself"""


SomeTask = TypeVar("SomeTask", bound="Task")
"""one task class; `typing.Self` says the same, but the checks in tests (jaxtyping's hook with beartype) refuse it on single methods"""


class Batch(NamedTuple):
    """`tokens[b, t]` is read at position t; `targets[b, t]` is the answer expected at that same position, or IGNORE."""

    tokens: Int32[np.ndarray, "batch length"]
    targets: Int32[np.ndarray, "batch length"]


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A family of recall problems; its fields are the parameters. Token ids: keys, values, filler, then special tokens.

    A subclass gives `draws` and `build`, and `sample` follows: sample i is a pure function of i and of words that only i owns.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """raised whenever the samples of a given stream change"""

    values: int
    """size of the answer alphabet, v"""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in vars(cls):
            TASKS[cls.name] = cls

    @property
    @abstractmethod
    def length(self) -> int:
        """Tokens in a sample."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Token ids are 0 .. vocab_size-1."""

    @property
    @abstractmethod
    def answers(self) -> int:
        """Labelled positions in a sample (the largest number where samples differ)."""

    @property
    @abstractmethod
    def stored(self) -> float:
        """n: distinct answers that a memory must hold (their mean where samples differ)."""

    @property
    def answer_bits(self) -> float:
        """H: joint entropy of the stored answers in bits, n log2 v where they are independent."""
        return self.stored * math.log2(self.values)

    @property
    @abstractmethod
    def cut(self) -> int:
        """Tokens read when all that counts has been shown and nothing that counts was asked: what crosses here is the memory."""

    @property
    @abstractmethod
    def draws(self) -> tuple[int, ...]:
        """64-bit random words that a sample needs, one entry for each purpose."""

    @abstractmethod
    def build(self, index: Int64[np.ndarray, " count"], *words: Words) -> Batch:
        """The samples numbered `index` from their words, `words[j]` being `[count, draws[j]]`. Pure and vectorised over samples."""

    @abstractmethod
    def solve(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """Targets read off the tokens alone, the obvious way: the oracle against which `build` is tested.

        Raises ValueError for tokens that are no sample of this task.
        """

    @abstractmethod
    def controls(self) -> dict[str, float]:
        """Accuracy of guessing ("chance") and of the best strategies that ignore part of the problem."""

    def sample(self, stream: Stream, start: int, count: int) -> Batch:
        """Samples start .. start+count-1 of a stream: the same numbers whatever the batch size, order or number of workers."""
        np.empty(KEPT_BYTES, np.uint8)
        tokens = np.empty((count, self.length), np.int32)
        targets = np.empty((count, self.length), np.int32)
        identity = {"task": self.name, "version": self.version, "fields": self.to_dict(), "seed": stream.seed, "split": stream.split}
        bounds = np.cumsum((0, *self.draws)).tolist()
        chunk = max(1, CHUNK // self.length)
        block = chunk * max(1, BLOCK_BYTES // (8 * chunk * max(1, bounds[-1])))
        for at in range(0, count, chunk):
            rows = slice(at, min(at + chunk, count))
            if at % block == 0:
                words = philox_words(identity, start + at, min(block, count - at), bounds[-1])
            of_chunk = words[at % block : at % block + chunk]
            index = np.arange(start + at, start + rows.stop, dtype=np.int64)
            parts = (of_chunk[:, low:high] for low, high in pairwise(bounds))
            tokens[rows], targets[rows] = self.build(index, *parts)
        return Batch(tokens, targets)

    def crossing(self, tokens: Integer[np.ndarray, "batch length"]) -> Bool[np.ndarray, "batch length"]:
        """Which positions count towards certified bits: asked after the cut about something shown before it."""
        return np.asarray(self.solve(tokens) != IGNORE)

    def stratum(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """A whole number >= 0 by which questions are told apart in reports; read only where something is asked."""
        return np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)

    def probes(self, tokens: Integer[np.ndarray, "batch length"]) -> dict[str, Batch]:
        """By name, samples changed so as to tell what a reader goes by: a trained model is judged on them as well. Most tasks have none."""
        del tokens
        return {}

    def describe(self, tokens: Integer[np.ndarray, " length"]) -> str:
        """One sample as a line for people: `k3` a key, `v7` a value, `.` filler."""
        return " ".join(self.token_name(int(token)) for token in tokens)

    def token_name(self, token: int) -> str:
        """A token as people read it."""
        return str(token)

    def collision_bound(self, first: int, second: int) -> float:
        """Union bound on the probability that any of `first` samples equals any of `second` samples of another stream.

        Answers are uniform given everything else, so two samples agree with probability at most 2^-answer_bits.
        """
        return min(1.0, first * second * math.exp2(-self.answer_bits))

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON has them (tuples become lists)."""
        return {key: list(field) if isinstance(field, tuple) else field for key, field in asdict(self).items()}

    @classmethod
    def from_dict(cls: type[SomeTask], fields: Mapping[str, Any]) -> SomeTask:
        """The inverse of `to_dict`; an unknown field raises TypeError, a value out of range ValueError."""
        lists_as_tuples: dict[str, Any] = {key: tuple(field) if isinstance(field, list) else field for key, field in fields.items()}
        return cls(**lists_as_tuples)
