"""Induction: find where the last token stood before, and answer with what followed it."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int32, Int64, Integer

from .draws import Words, below, distinct, halved, halves
from .task import IGNORE, Batch, Task
from .top_count import expected_top_counts


@dataclass(frozen=True, kw_only=True)
class LastTokenAsks(Task):
    """What induction tasks share: the last token has been shown once before, and the token after that place is the answer."""

    length: int = 64
    """tokens in a sample"""

    @property
    @abstractmethod
    def keys(self) -> range:
        """Tokens that may ask."""

    @property
    def answers(self) -> int:
        """The last token alone asks."""
        return 1

    @property
    def cut(self) -> int:
        """All but the question."""
        return self.length - 1

    def solve(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """Targets by a search through the tokens before the last.

        Raises ValueError for tokens of another length, and where the last token may not ask, was not shown exactly once with a token after it,
        or has no value after it.
        """
        if tokens.shape[1] != self.length:
            raise ValueError(f"tokens must have length={self.length} columns, got {tokens.shape[1]}")
        targets = np.full(tokens.shape, IGNORE, np.int32)
        for row, answers in zip(tokens.tolist(), targets, strict=True):
            *shown, asked = row
            if asked not in self.keys or shown.count(asked) != 1 or shown[-1] == asked:
                raise ValueError(f"the last token must be a key that was shown once with a token after it, got {self.token_name(asked)}")
            answer = shown[shown.index(asked) + 1]
            if answer >= self.values:
                raise ValueError(f"a value must follow {self.token_name(asked)}, got {self.token_name(answer)}")
            answers[-1] = answer
        return targets

    def stratum(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """Distance from the question back to its answer; 0 where nothing is asked."""
        distance = np.zeros(tokens.shape, np.int32)
        distance[:, -1] = tokens.shape[1] - 2 - (tokens == tokens[:, -1:]).argmax(axis=1)
        return distance


@dataclass(frozen=True, kw_only=True)
class Induction(LastTokenAsks):
    """Each trigger stands once, before a value, in a random sequence of values; at the end one of them stands again and asks for that value.

    Token ids: values, then triggers. With one trigger the task is that of Gu & Dao 2023 (arXiv:2312.00752, section 4.1.2). The variant in which
    every token is a possible key is `bigram`.
    """

    name: ClassVar[str] = "induction"

    values: int = 16
    """values 0 .. values-1, of which the sequence is drawn uniformly"""
    triggers: int = 1
    """trigger tokens, at uniformly random places; which of them is asked is uniform too"""

    def __post_init__(self) -> None:
        if self.values < 2:
            raise ValueError(f"values must be at least 2 for an answer to carry information, got {self.values}")
        most = (self.length - 1) // 2
        if not 1 <= self.triggers <= most:
            raise ValueError(f"triggers must lie in 1..(length-1)//2={most} (a value follows each, one asks again), got {self.triggers}")

    @property
    def keys(self) -> range:
        """The triggers."""
        return range(self.values, self.vocab_size)

    @property
    def vocab_size(self) -> int:
        """Token ids are 0 .. vocab_size-1."""
        return self.values + self.triggers

    @property
    def stored(self) -> float:
        """The value after each trigger: which one is asked shows only after the cut."""
        return float(self.triggers)

    @property
    def draws(self) -> tuple[int, ...]:
        """Words for the values, the places of the triggers and the one that is asked."""
        return halved(self.length), self.triggers, 1

    def build(self, index: Int64[np.ndarray, " count"], *words: Words) -> Batch:
        """A trigger and its value are one unit: a draw of units out of all units is a uniformly random placement of the pairs."""
        for_values, for_places, for_asked = words
        tokens = below(halves(for_values), self.values)[:, : self.length].astype(np.int32)
        unit = distinct(for_places, self.length - 1 - self.triggers)
        place = unit + unit.argsort(axis=1).argsort(axis=1)  # each pair before it takes one cell more than it counts as a unit
        np.put_along_axis(tokens, place, np.arange(self.values, self.vocab_size, dtype=np.int32)[None, :], axis=1)
        asked = below(for_asked, self.triggers)
        tokens[:, -1:] = self.values + asked
        targets = np.full_like(tokens, IGNORE)
        targets[:, -1:] = np.take_along_axis(tokens, np.take_along_axis(place, asked, axis=1) + 1, axis=1)
        return Batch(tokens, targets)

    def controls(self) -> dict[str, float]:
        """Guessing; the most frequent value shown; with several triggers, the most frequent value after one ("key_blind")."""
        shown = self.length - 1 - self.triggers
        counts = expected_top_counts(shown, self.values)
        blind = {"chance": 1 / self.values, "values_in_context": float(counts[shown]) / shown}
        if self.triggers > 1:
            blind["key_blind"] = float(counts[self.triggers]) / self.triggers
        return blind

    def token_name(self, token: int) -> str:
        """`v7` a value, `k3` a trigger."""
        return f"v{token}" if token < self.values else f"k{token - self.values}"

    def collision_bound(self, first: int, second: int) -> float:
        """Union bound on the probability that any of `first` samples equals any of `second` samples of another stream.

        All values of the sequence are uniform given the places of the triggers, not the stored ones alone.
        """
        return min(1.0, first * second * float(self.values) ** -(self.length - 1 - self.triggers))
