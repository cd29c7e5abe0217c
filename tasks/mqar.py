"""Multi-query associative recall (MQAR): pairs of key and value are shown, then keys are asked among filler."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Int64

from .draws import Words, below, distinct, halves
from .keyed import KeyedTask
from .layouts import Packed, Scattered, write
from .slots import Order
from .stream import philox_words
from .task import Batch
from .top_count import expected_top_counts
from .vocabulary import Vocabulary

Layout = Literal["packed", "scattered"]

CONTROL_SAMPLES = 500
"""samples from which the key-blind control is estimated where it has no closed form"""


@dataclass(frozen=True, kw_only=True)
class MQAR(KeyedTask):
    """targets[t] = value of the key at t, where a shown key stands again; each position asks once and the answer is not in the input after it.

    The task of zoology (arXiv:2312.04927), whose law is `MQAR.zoology`. We depart from it where its layout gives answers away: filler is a
    block of its own, "shuffled" takes from a question's position what it tells about the pair, "scattered" from a token's position what it
    tells about its role.
    """

    name: ClassVar[str] = "mqar"

    length: int = 64
    """tokens in a sample"""
    pairs: int = 4
    """pairs shown, K"""
    queries: int | None = None
    """questions, Q; None asks every pair once"""
    power: float = 0.01
    """slots of the packed layout have weights (s+1)^(power-1); 1 is uniform"""
    layout: Layout = "packed"
    """"packed": all pairs first (see `Packed`); "scattered": pairs and questions interleaved over the sequence (see `Scattered`)"""
    order: Order = "race"
    """how questions take slots in the packed layout; the scattered one has no slots, and either word leaves it as it is"""
    iid_values: bool = False
    """values drawn independently; otherwise without replacement within a sample"""
    repeat_queries: bool = False
    """each question draws its key afresh, so that some keys are asked twice and some never"""
    blank_first: bool = False
    """a blank as token 0, before the keys, as zoology has it"""

    def __post_init__(self) -> None:
        # 1 and 1.0 are equal tasks, so they must name one stream
        object.__setattr__(self, "power", float(self.power))
        super().__post_init__()
        if not 1 <= self.pairs <= self.keys:
            raise ValueError(f"pairs must lie in 1..keys={self.keys} (each key is shown once), got {self.pairs}")
        if not self.iid_values and self.pairs > self.values:
            raise ValueError(f"values must be at least pairs={self.pairs} unless iid_values, got {self.values}")
        if self.layout not in get_args(Layout):
            raise ValueError(f"layout must be one of {', '.join(get_args(Layout))}, got {self.layout!r}")
        if self.order not in get_args(Order):
            raise ValueError(f"order must be one of {', '.join(get_args(Order))}, got {self.order!r}")
        if self.blank_first and self.filler == "own":
            raise ValueError("blank_first needs filler='blank', 'any' or 'zoology' (an own block has no blank), got 'own'")
        if self.layout == "scattered":
            self._check_scattered()
        _ = self.places  # checks what concerns the layout

    def _check_scattered(self) -> None:
        """What makes sense in the packed layout only."""
        if self.power != MQAR.power:
            raise ValueError(f"power must stay unset with layout='scattered' (it weighs slots), got {self.power}")
        if self.queries not in (None, self.pairs) or self.repeat_queries:
            raise ValueError(
                f"queries must be None or pairs={self.pairs}, without repeat_queries, with layout='scattered' (each pair has one time to be "
                f"asked), got {self.queries} and {self.repeat_queries}"
            )
        if self.filler in ("any", "zoology"):
            raise ValueError(
                f"filler must be own or blank with layout='scattered' (a filler key would look like a pair), got {self.filler!r}"
            )

    @staticmethod
    def zoology(
        *,
        vocab_size: int = 8192,
        input_seq_len: int = 64,
        num_kv_pairs: int = 4,
        power_a: float = 0.01,
        random_non_queries: bool = True,
    ) -> "MQAR":
        """The law and the token ids of zoology's `multiquery_ar`, under its names: blank 0, keys 1 .. V/2-1, values V/2 .. V-1.

        With `random_non_queries` filler is drawn from the whole vocabulary, keys of the sample included; such keys are not labelled, though
        `solve` answers them.
        """
        return MQAR(
            length=input_seq_len,
            pairs=num_kv_pairs,
            keys=vocab_size // 2 - 1,
            values=vocab_size - vocab_size // 2,
            power=power_a,
            filler="zoology" if random_non_queries else "blank",
            blank_first=True,
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """What the token ids mean."""
        return Vocabulary(keys=self.keys, values=self.values, filler=self.filler, fillers=self.fillers, blank_first=self.blank_first)

    @cached_property
    def places(self) -> Packed | Scattered:
        """Where pairs and questions stand."""
        if self.layout == "scattered":
            return Scattered(length=self.length, pairs=self.pairs)
        return Packed(
            length=self.length,
            shown=self.pairs,
            pairs=self.pairs,
            queries=self.answers,
            power=self.power,
            order=self.order,
            repeat=self.repeat_queries,
        )

    @property
    def answers(self) -> int:
        """Questions, Q."""
        return self.pairs if self.queries is None else self.queries

    @property
    def cut(self) -> int:
        """The end of the context; in the scattered layout the middle."""
        return self.places.cut

    @cached_property
    def stored(self) -> float:
        """K; in the scattered layout the mean number of pairs that wait at the cut (`Scattered.load`).

        With fewer questions than pairs, or repeated ones, it is still K: what will be asked is independent of the memory, so that it must hold
        all pairs, and the accuracy over questions is that of a uniformly asked one.
        """
        return self.places.load

    @cached_property
    def answer_bits(self) -> float:
        """H(stored values | all tokens but values, and the values read after the cut).

        n log2 v for independent values; without replacement log2(v!/(v-K)!), in the scattered layout its mean over what crosses
        (`Scattered.entropy`). It is the H of `certified_bits` with the pooled accuracy of the questions that cross: given all that H is given,
        the memory tells at least H - E[sum_i phi(e_i)] about the set of values that cross, phi(e) = h2(e) + e log2(v-1) (Fano per answer), and
        E[sum_i phi(e_i)] <= n phi(E[sum_i e_i] / n) by concavity, n the mean size of the set.
        """
        return self.stored * math.log2(self.values) if self.iid_values else self.places.entropy(self.values)

    @property
    def draws(self) -> tuple[int, ...]:
        """Words for the pairs (a half for the key, a half for the value), the two of the layout, and filler."""
        return self.pairs, *self.places.draws, self.vocabulary.draws(self.length - self.places.first_gap)

    def build(self, index: Int64[np.ndarray, " count"], *words: Words) -> Batch:
        """Filler wherever it may stand, then the pairs and the questions written over it."""
        for_pairs, *for_places, for_filler = words
        for_keys, for_values = np.hsplit(halves(for_pairs), 2)
        vocabulary = self.vocabulary
        keys = vocabulary.key_tokens(distinct(for_keys, self.keys))
        draw = below if self.iid_values else distinct
        values = vocabulary.value_tokens(draw(for_values, self.values))
        places = self.places.place(*for_places)
        tokens = np.empty((len(keys), self.length), np.int32)
        tokens[:, self.places.first_gap :] = vocabulary.fill(for_filler, self.length - self.places.first_gap, keys)
        return write(tokens, places, keys, values, values)

    def questions(self, row: Sequence[int]) -> Iterator[tuple[int, int]]:
        """A key's first occurrence among the cells that may show pairs defines it, the next token is its value, later occurrences ask."""
        vocabulary = self.vocabulary
        context = 2 * self.pairs if self.layout == "packed" else self.length
        value_at: dict[int, int] = {}
        asked = 0
        for at, token in enumerate(row):
            if token in value_at:
                asked += 1
                yield at, value_at[token]
            elif at < context and vocabulary.is_key(token):
                value_at[token] = at + 1
        shown_well = all(at < self.length and vocabulary.is_value(row[at]) for at in value_at.values())
        if len(value_at) != self.pairs or not shown_well or asked < self.answers or (asked > self.answers and self.filler != "zoology"):
            raise ValueError(
                f"tokens must show pairs={self.pairs} and ask {self.answers} times, got {len(value_at)} keys and {asked} questions"
            )

    def controls(self) -> dict[str, float]:
        """Accuracies without the key. With r values seen, m_r = E[largest multiplicity] (1 if they are distinct), means over questions.

        chance and position_only (reads no token): 1/v. values_in_context: m_r / r, the most frequent value seen. most_recent: the value shown
        last. key_blind: the best strategy that knows the values seen and the question's position (`Packed.key_blind`, `Scattered.key_blind`);
        where it has no closed form its mean over values is estimated from a fixed stream.
        """
        top = expected_top_counts(self.pairs, self.values) if self.iid_values else np.ones(self.pairs + 1)
        among_seen = float(self.places.seen_law[1:] @ (top[1:] / np.arange(1, self.pairs + 1)))
        latest = self.places.latest
        return {
            "chance": 1 / self.values,
            "position_only": 1 / self.values,
            "values_in_context": among_seen,
            "most_recent": latest + (1 - latest) / self.values if self.iid_values else latest,
            "key_blind": self._key_blind_iid(among_seen) if self.iid_values else self.places.key_blind,
        }

    def _key_blind_iid(self, among_seen: float) -> float:
        """The key-blind control for independent values."""
        if isinstance(self.places, Packed) and not self.places.in_order:
            return among_seen
        words = philox_words({"control": "key_blind"}, 0, CONTROL_SAMPLES, 3 * self.pairs)
        return self.places.key_blind_among(below(words[:, : self.pairs], self.values), words[:, self.pairs :])
