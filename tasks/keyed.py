"""What the tasks share in which a key asks for its value: vocabulary, oracle and all that is read off its questions."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from jaxtyping import Bool, Int32, Integer

from .task import IGNORE, Task
from .vocabulary import Filler, Vocabulary


@dataclass(frozen=True, kw_only=True)
class KeyedTask(Task):
    """Keys are shown with their values; later a key stands alone and asks for its value. Subclasses say where, in `questions`."""

    keys: int = 64
    """alphabet of keys"""
    values: int = 64
    """alphabet of values, v"""
    filler: Filler = "own"
    """what fills cells that show and ask nothing (see `Vocabulary`)"""
    fillers: int = 32
    """size of the filler's own block; counts with filler="own" only"""

    def __post_init__(self) -> None:
        if self.keys < 1:
            raise ValueError(f"keys must be at least 1, got {self.keys}")
        if self.values < 2:
            raise ValueError(f"values must be at least 2 for an answer to carry information, got {self.values}")
        if self.filler not in get_args(Filler):
            raise ValueError(f"filler must be one of {', '.join(get_args(Filler))}, got {self.filler!r}")
        if self.fillers < 1:
            raise ValueError(f"fillers must be at least 1, got {self.fillers}")
        if self.vocab_size >= 2**31:
            raise ValueError(f"keys, values and filler must be fewer than 2**31 token ids, got {self.vocab_size}")

    @property
    def vocabulary(self) -> Vocabulary:
        """What the token ids mean."""
        return Vocabulary(keys=self.keys, values=self.values, filler=self.filler, fillers=self.fillers)

    @property
    def vocab_size(self) -> int:
        """Token ids are 0 .. vocab_size-1."""
        return self.vocabulary.size

    @abstractmethod
    def questions(self, row: Sequence[int]) -> Iterator[tuple[int, int]]:
        """(position that asks, position of the answer) for each question of one sample, left to right.

        Raises ValueError for a row that is no sample of this task.
        """

    def solve(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """Targets read off the tokens alone: at each position that asks, the token at the position of its answer.

        Raises ValueError for tokens that are no sample of this task.
        """
        targets = np.full(tokens.shape, IGNORE, np.int32)
        row, asked_at, answer_at = self._all_questions(tokens)
        targets[row, asked_at] = tokens[row, answer_at]
        return targets

    def crossing(self, tokens: Integer[np.ndarray, "batch length"]) -> Bool[np.ndarray, "batch length"]:
        """Positions that ask at or after the cut for a value read before it."""
        crosses = np.zeros(tokens.shape, np.bool_)
        row, asked_at, answer_at = self._all_questions(tokens)
        crosses[row, asked_at] = (answer_at < self.cut) & (self.cut <= asked_at)
        return crosses

    def stratum(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """Distance from a question back to its answer; 0 where nothing is asked."""
        distance = np.zeros(tokens.shape, np.int32)
        row, asked_at, answer_at = self._all_questions(tokens)
        distance[row, asked_at] = asked_at - answer_at
        return distance

    def token_name(self, token: int) -> str:
        """`k3` a key, `v7` a value, `.` filler."""
        return self.vocabulary.name(token)

    def _all_questions(self, tokens: Integer[np.ndarray, "batch length"]) -> Integer[np.ndarray, "3 questions"]:
        """Row, asking position and answer's position of every question of a batch."""
        if tokens.shape[1] != self.length:
            raise ValueError(f"tokens must have length={self.length} columns, got {tokens.shape[1]}")
        found = [(row, *question) for row, sample in enumerate(tokens.tolist()) for question in self.questions(sample)]
        return np.array(found, np.int64).reshape(-1, 3).T
