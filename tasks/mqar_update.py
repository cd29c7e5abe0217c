"""Recall with overwriting: some keys are shown again with another value, and the latest value counts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, get_args

import numpy as np
from jaxtyping import Int64

from .draws import Words, distinct
from .keyed import KeyedTask
from .layouts import Packed, write
from .slots import Order
from .task import Batch


@dataclass(frozen=True, kw_only=True)
class MQARUpdate(KeyedTask):
    """K pairs, then U of their keys with a new value; targets[t] = the latest value of the key at t, each key asked once.

    Otherwise `MQAR` in its packed layout. A memory that only adds confuses old and new; one that replaces does not. All K + U values of a sample
    are distinct.
    """

    name: ClassVar[str] = "mqar_update"

    length: int = 64
    """tokens in a sample"""
    pairs: int = 4
    """keys shown, K; each is asked"""
    updates: int = 2
    """keys that are shown a second time, U: a uniformly random subset in random order"""
    power: float = 0.01
    """slots have weights (s+1)^(power-1); 1 is uniform"""
    order: Order = "race"
    """how questions take slots (see `Packed`)"""

    def __post_init__(self) -> None:
        # 1 and 1.0 are equal tasks, so they must name one stream
        object.__setattr__(self, "power", float(self.power))
        super().__post_init__()
        if not 1 <= self.pairs <= self.keys:
            raise ValueError(f"pairs must lie in 1..keys={self.keys}, got {self.pairs}")
        if not 0 <= self.updates <= self.pairs:
            raise ValueError(f"updates must lie in 0..pairs={self.pairs} (a key is updated at most once), got {self.updates}")
        if self.values < self.pairs + self.updates:
            raise ValueError(f"values must be at least pairs + updates = {self.pairs + self.updates} (all are distinct), got {self.values}")
        if self.order not in get_args(Order):
            raise ValueError(f"order must be one of {', '.join(get_args(Order))}, got {self.order!r}")
        _ = self.places  # checks length and power

    @cached_property
    def places(self) -> Packed:
        """Where pairs and questions stand."""
        shown = self.pairs + self.updates
        return Packed(length=self.length, shown=shown, pairs=self.pairs, queries=self.pairs, power=self.power, order=self.order)

    @property
    def answers(self) -> int:
        """K."""
        return self.pairs

    @property
    def cut(self) -> int:
        """The end of the context, updates included."""
        return self.places.cut

    @property
    def stored(self) -> float:
        """K: only the latest values are asked."""
        return self.places.load

    @property
    def answer_bits(self) -> float:
        """log2(v!/(v-K)!): the latest values are K distinct ones, every ordered choice alike."""
        return self.places.entropy(self.values)

    @property
    def draws(self) -> tuple[int, ...]:
        """Words for keys, values, the keys updated, the two of the layout, and filler."""
        return self.pairs, self.pairs + self.updates, self.updates, *self.places.draws, self.vocabulary.draws(self.length - self.cut)

    def build(self, index: Int64[np.ndarray, " count"], *words: Words) -> Batch:
        """Filler everywhere, then the pairs, their updates and the questions written over it."""
        for_keys, for_values, for_updated, *for_places, for_filler = words
        vocabulary = self.vocabulary
        keys = vocabulary.key_tokens(distinct(for_keys, self.keys))
        values = vocabulary.value_tokens(distinct(for_values, self.values))
        updated = distinct(for_updated, self.pairs)
        latest = values[:, : self.pairs].copy()
        np.put_along_axis(latest, updated, values[:, self.pairs :], axis=1)
        tokens = np.empty((len(keys), self.length), np.int32)
        tokens[:, self.cut :] = vocabulary.fill(for_filler, self.length - self.cut, keys)
        shown_keys = np.hstack([keys, np.take_along_axis(keys, updated, axis=1)])
        return write(tokens, self.places.place(*for_places), shown_keys, values, latest)

    def questions(self, row: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The context is read from left to right, a later value replacing an earlier one; after it, the keys of the context ask."""
        vocabulary = self.vocabulary
        value_at = {row[at]: at + 1 for at in range(0, self.cut, 2)}
        shown_well = all(vocabulary.is_key(key) and vocabulary.is_value(row[at]) for key, at in value_at.items())
        asked = [at for at in range(self.cut, len(row)) if row[at] in value_at]
        if (
            len(value_at) != self.pairs
            or not shown_well
            or len(asked) < self.answers
            or (len(asked) > self.answers and self.filler != "zoology")
        ):
            raise ValueError(
                f"tokens must show pairs={self.pairs} keys and ask each once, got {len(value_at)} keys and {len(asked)} questions"
            )
        for at in asked:
            yield at, value_at[row[at]]

    def controls(self) -> dict[str, float]:
        """chance: 1/v. first_value = 1 - U/K: a memory that never overwrites. latest = U/K: one that knows the updates and nothing else.

        key_blind: the best strategy that knows all values and the question's slot s. It guesses the first value of the pair i most often asked
        there, right if i was not updated, or the value of any update, right if that was the key updated: with P of `Packed.law`,
        (1/K) sum_s max(max_i P(i, s) (1 - U/K), sum_i P(i, s) / K), the second only if U > 0.
        """
        renewed = self.updates / self.pairs
        return {"chance": 1 / self.values, "first_value": 1 - renewed, "latest": renewed, "key_blind": self._key_blind(renewed)}

    def _key_blind(self, renewed: float) -> float:
        """See `controls`."""
        law = self.places.law
        by_first_value = law.max(axis=0) * (1 - renewed)
        by_update = law.sum(axis=0) / self.pairs if self.updates else np.zeros(self.places.space)
        return float(np.maximum(by_first_value, by_update).sum()) / self.pairs
