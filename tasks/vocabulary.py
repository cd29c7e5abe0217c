"""Which token id means what, and what stands where nothing is shown or asked."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int32, Int64

from .draws import Words, below, halved, halves

Filler = Literal["own", "blank", "any", "zoology"]


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Token ids in blocks: keys, values, then filler; with `blank_first` the one blank token comes before all others, as token 0.

    filler: "own" draws from a block of `fillers` ids, so that filler is never a key or a value; "blank" is one token; "any" draws from the
    whole vocabulary except the keys of the sample; "zoology" from the whole vocabulary, the sample's keys included.
    """

    keys: int
    values: int
    filler: Filler = "own"
    fillers: int = 32
    blank_first: bool = False

    @property
    def first_key(self) -> int:
        """Token id of key 0."""
        return int(self.blank_first)

    @property
    def first_value(self) -> int:
        """Token id of value 0."""
        return self.first_key + self.keys

    @property
    def first_filler(self) -> int:
        """Token id of the first filler token that comes after the values."""
        return self.first_value + self.values

    @property
    def blank(self) -> int:
        """Token id of the blank."""
        return 0 if self.blank_first else self.first_filler

    @property
    def size(self) -> int:
        """Token ids are 0 .. size-1."""
        if self.filler == "own":
            return self.first_filler + self.fillers
        return self.first_filler + (self.filler == "blank" and not self.blank_first)

    def key_tokens(self, keys: Int64[np.ndarray, "count draws"]) -> Int32[np.ndarray, "count draws"]:
        """Token ids of these keys."""
        return (keys + self.first_key).astype(np.int32)

    def value_tokens(self, values: Int64[np.ndarray, "count draws"]) -> Int32[np.ndarray, "count draws"]:
        """Token ids of these values."""
        return (values + self.first_value).astype(np.int32)

    def is_key(self, token: int) -> bool:
        """Whether the token lies in the block of keys."""
        return self.first_key <= token < self.first_value

    def is_value(self, token: int) -> bool:
        """Whether the token lies in the block of values."""
        return self.first_value <= token < self.first_filler

    def name(self, token: int) -> str:
        """`k3` for key 3, `v7` for value 7, `.` for filler of its own."""
        if self.is_key(token):
            return f"k{token - self.first_key}"
        return f"v{token - self.first_value}" if self.is_value(token) else "."

    def draws(self, cells: int) -> int:
        """64-bit words that `fill` needs for `cells` cells of a sample."""
        return 0 if self.filler == "blank" else halved(cells)

    def fill(self, words: Words, cells: int, shown: Int32[np.ndarray, "count pairs"]) -> Int64[np.ndarray, "count {cells}"]:
        """Filler for samples whose keys are `shown`: independent and uniform over what `filler` names, bias as in `below`."""
        if self.filler == "blank":
            return np.full((len(words), cells), self.blank)
        drawn = halves(words)[:, :cells]
        if self.filler == "own":
            return self.first_filler + below(drawn, self.fillers)
        if self.filler == "any":
            return _step_over(below(drawn, self.size - shown.shape[1]), np.sort(shown, axis=1), self.size)
        return below(drawn, self.size)


def _step_over(
    ranks: Int64[np.ndarray, "count cells"], forbidden: Int32[np.ndarray, "count pairs"], size: int
) -> Int64[np.ndarray, "count cells"]:
    """The numbers below `size` that have these ranks among those not in `forbidden` (sorted, distinct).

    x = rank + #{j: forbidden_j - j <= rank}: as many are skipped as have at most `rank` allowed numbers before them. Rows are lifted
    apart by `size`, so that one binary search serves them all.
    """
    pairs = forbidden.shape[1]
    row = np.arange(len(ranks))[:, None]
    allowed_before = forbidden - np.arange(pairs) + row * size
    skipped = np.searchsorted(allowed_before.ravel(), (ranks + row * size).ravel(), side="right").reshape(ranks.shape)
    skipped -= row * pairs
    skipped += ranks
    return skipped
