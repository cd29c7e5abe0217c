"""Associative recall with one question: pairs are shown, a gap passes, and the last token asks for one of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int64

from .draws import Words, below, distinct
from .information import entropy_without_replacement
from .keyed import KeyedTask
from .layouts import Places, write
from .task import Batch
from .top_count import expected_top_counts


@dataclass(frozen=True, kw_only=True)
class AR(KeyedTask):
    """K pairs, `gap` cells of filler, then a uniformly drawn key: targets[length-1] = its value.

    One answer is asked, but a memory that does not know which must hold all K. Where the gap varies, filler before the pairs keeps the length.
    """

    name: ClassVar[str] = "ar"

    pairs: int = 8
    """pairs shown, K"""
    gap: int | tuple[int, int] = 0
    """cells between the last pair and the question; (low, high): drawn uniformly, both ends included"""
    iid_values: bool = False
    """values drawn independently; otherwise without replacement within a sample"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.pairs <= self.keys:
            raise ValueError(f"pairs must lie in 1..keys={self.keys} (each key is shown once), got {self.pairs}")
        if not self.iid_values and self.pairs > self.values:
            raise ValueError(f"values must be at least pairs={self.pairs} unless iid_values, got {self.values}")
        if self.filler == "zoology":
            raise ValueError("filler must be own, blank or any (a key asked before its time would be ambiguous), got 'zoology'")
        if isinstance(self.gap, tuple) and len(self.gap) != 2:
            raise ValueError(f"gap must be a number or a pair (low, high), got {self.gap}")
        low, high = self.gaps
        if not 0 <= low <= high:
            raise ValueError(f"gap must be at least 0, and low at most high, got {self.gap}")

    @property
    def gaps(self) -> tuple[int, int]:
        """The smallest and the largest gap."""
        return self.gap if isinstance(self.gap, tuple) else (self.gap, self.gap)

    @property
    def length(self) -> int:
        """2K cells of pairs, the largest gap and the question."""
        return 2 * self.pairs + self.gaps[1] + 1

    @property
    def answers(self) -> int:
        """One."""
        return 1

    @property
    def stored(self) -> float:
        """K: the question is independent of the memory, and its error is the mean error over all pairs."""
        return float(self.pairs)

    @property
    def answer_bits(self) -> float:
        """K log2 v for independent values, log2(v!/(v-K)!) without replacement."""
        return super().answer_bits if self.iid_values else entropy_without_replacement(self.pairs, self.values)

    @property
    def cut(self) -> int:
        """The earliest cell by which the pairs have been shown in every sample; never beyond the question."""
        low, high = self.gaps
        return 2 * self.pairs + high - low

    @property
    def draws(self) -> tuple[int, int, int, int, int]:
        """Words for keys, values, the pair asked, the gap, and filler."""
        low, high = self.gaps
        return self.pairs, self.pairs, 1, int(low < high), self.vocabulary.draws(self.length)

    def build(self, index: Int64[np.ndarray, " count"], *words: Words) -> Batch:
        """Filler everywhere, then the pairs and the question written over it."""
        for_keys, for_values, for_asked, for_gap, for_filler = words
        vocabulary = self.vocabulary
        keys = vocabulary.key_tokens(distinct(for_keys, self.keys))
        draw = below if self.iid_values else distinct
        values = vocabulary.value_tokens(draw(for_values, self.values))
        asked = below(for_asked, self.pairs)
        low, high = self.gaps
        spare = below(for_gap, high - low + 1) if low < high else np.zeros((len(keys), 1), np.int64)  # high - gap
        shown_at = spare + 2 * np.arange(self.pairs)
        tokens = vocabulary.fill(for_filler, self.length, keys).astype(np.int32)
        return write(tokens, Places(shown_at, np.full_like(asked, self.length - 1), asked), keys, values, values)

    def questions(self, row: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The last token asks; its answer follows its first occurrence."""
        last = len(row) - 1
        shown_at = row.index(row[last])
        if not (shown_at + 1 < last and self.vocabulary.is_key(row[last]) and self.vocabulary.is_value(row[shown_at + 1])):
            raise ValueError(
                f"tokens must end with a key that stands before a value, got {self.token_name(row[last])} at {shown_at} and {last}"
            )
        yield last, shown_at + 1

    def controls(self) -> dict[str, float]:
        """chance: 1/v; values_in_context: the most frequent value of the context, E[its multiplicity] / K, 1/K where they are distinct."""
        top = expected_top_counts(self.pairs, self.values)[self.pairs] if self.iid_values else 1.0
        return {"chance": 1 / self.values, "values_in_context": float(top) / self.pairs}
