"""Where pairs are shown and asked: all pairs first and the questions after them, or both interleaved over the whole sequence."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, Int64
from scipy.special import gammaln

from .draws import Words, below, distinct, race
from .information import entropy_without_replacement
from .slots import Order, slot_law, slot_weights
from .task import IGNORE, Batch


class Places(NamedTuple):
    """Pair i is shown in cells `shown_at[:, i]` and the next; question j asks for pair `asked[:, j]` in cell `asked_at[:, j]`."""

    shown_at: Int64[np.ndarray, "count shown"]
    asked_at: Int64[np.ndarray, "count queries"]
    asked: Int64[np.ndarray, "count queries"]


def write(
    tokens: Int32[np.ndarray, "count length"],
    places: Places,
    keys: Int32[np.ndarray, "count shown"],
    values: Int32[np.ndarray, "count shown"],
    answers: Int32[np.ndarray, "count pairs"],
) -> Batch:
    """Samples that show `keys` and `values` at their places in `tokens` (written over) and ask for `answers`.

    Indices count through the whole batch, which is several times as fast as rows and columns.
    """
    targets = np.full_like(tokens, IGNORE)
    cells, labels = tokens.reshape(-1), targets.reshape(-1)
    shown_at, asked_at = _through(places.shown_at, tokens), _through(places.asked_at, tokens)
    cells[shown_at] = keys
    cells[shown_at + 1] = values
    cells[asked_at] = keys.reshape(-1)[_through(places.asked, keys)]
    labels[asked_at] = answers.reshape(-1)[_through(places.asked, answers)]
    return Batch(tokens, targets)


def _through(columns: Int64[np.ndarray, "count columns"], array: np.ndarray) -> Int64[np.ndarray, "count columns"]:
    """Indices of these columns of each row when the rows of `array` stand one after another."""
    return np.asarray(columns + array.shape[1] * np.arange(len(array))[:, None])


STEEPEST = 16.0
"""largest power of the slots' weights"""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Pairs in cells 0 .. 2 shown - 1, then slots of two cells; a question stands in the first cell of its slot.

    Slots are drawn without replacement by `slot_weights`. Under "race" the questions, in the order of their pairs, take the slots in the order
    drawn; under "shuffled" in a uniformly random order. Fewer questions than pairs ask a uniformly random subset; with `repeat` each question
    asks a pair drawn afresh.
    """

    length: int
    """tokens in a sample"""
    shown: int
    """pairs that stand in the context"""
    pairs: int
    """pairs that may be asked, K: the first of those shown"""
    queries: int
    """questions, Q"""
    power: float
    """see `slot_weights`"""
    order: Order
    """how questions take slots"""
    repeat: bool = False
    """whether a pair may be asked twice"""

    def __post_init__(self) -> None:
        if not 0 < self.power <= STEEPEST:
            raise ValueError(f"power must be positive and at most {STEEPEST:g} (beyond that weights leave the floats), got {self.power}")
        if self.queries < 1 or (self.queries > self.pairs and not self.repeat):
            raise ValueError(f"queries must lie in 1..pairs={self.pairs}, beyond it only if they repeat, got {self.queries}")
        if self.queries > self.space:
            needed = 2 * (self.shown + self.queries)
            raise ValueError(f"length must be at least {needed} (two cells for each pair shown and each question), got {self.length}")

    @property
    def space(self) -> int:
        """Slots after the context."""
        return (self.length - 2 * self.shown) // 2

    @property
    def in_order(self) -> bool:
        """Whether the slot of a question tells something about the pair it asks for."""
        return self.order == "race" and not self.repeat

    @property
    def draws(self) -> tuple[int, int]:
        """64-bit words for the slots and for the choice of pairs."""
        return self.space, 0 if self.in_order and self.queries == self.pairs else self.queries

    @property
    def first_gap(self) -> int:
        """First cell that may hold filler."""
        return 2 * self.shown

    def place(self, for_slots: Words, for_asked: Words) -> Places:
        """The cells of pairs and questions."""
        count = len(for_slots)
        slots = race(for_slots, slot_weights(self.space, self.power), self.queries)
        if self.repeat:
            asked = below(for_asked, self.pairs)
        elif self.in_order and self.queries == self.pairs:
            asked = np.broadcast_to(np.arange(self.pairs), (count, self.pairs))
        else:
            chosen = distinct(for_asked, self.pairs)
            asked = np.sort(chosen, axis=1) if self.in_order else chosen
        shown_at = np.broadcast_to(np.arange(0, 2 * self.shown, 2), (count, self.shown))
        return Places(shown_at, 2 * self.shown + 2 * slots, asked)

    @property
    def cut(self) -> int:
        """The end of the context: everything has been shown and nothing asked."""
        return 2 * self.shown

    @property
    def load(self) -> float:
        """Pairs that a memory must hold at the cut: all of them, whatever is asked later."""
        return float(self.pairs)

    def entropy(self, values: int) -> float:
        """Bits in the values of these pairs, drawn without replacement."""
        return entropy_without_replacement(self.pairs, values)

    @cached_property
    def law(self) -> Float64[np.ndarray, "pairs space"]:
        """Probability that pair i is asked in slot s; it sums to the number of questions.

        In order, pair i is asked with probability Q / K, then j of the i pairs before it are too (hypergeometric), and it takes the j-th slot.
        """
        if not self.in_order:
            used = slot_law(self.space, self.queries, self.power).sum(axis=0)
            return np.broadcast_to(used / self.pairs, (self.pairs, self.space))
        of_asked = slot_law(self.space, self.queries, self.power)
        if self.queries == self.pairs:
            return of_asked
        from scipy.stats import hypergeom  # half a second to import, and only laws and controls need it

        i, j = np.ogrid[: self.pairs, : self.queries]
        as_jth = self.queries / self.pairs * hypergeom.pmf(j, self.pairs - 1, self.queries - 1, i)
        return as_jth @ of_asked

    @property
    def seen_law(self) -> Float64[np.ndarray, " pairs_plus_one"]:
        """Probability that r pairs have been shown when a question is asked, r = 0 .. K."""
        return np.asarray(np.arange(self.pairs + 1) == self.pairs, np.float64)

    @property
    def latest(self) -> float:
        """Probability that a question asks for the pair shown last."""
        return 1 / self.pairs

    @property
    def key_blind(self) -> float:
        """(1/Q) sum_s max_i P(i, s), P the law: the best accuracy from the position of the question and all values, which are distinct."""
        return float(self.law.max(axis=0).sum()) / self.queries if self.in_order else 1 / self.pairs

    def key_blind_among(self, values: Int64[np.ndarray, "count pairs"], words: Words) -> float:
        """The same, averaged over these samples of values that may be equal: P is summed over pairs of equal value before the maximum."""
        best = (((row[:, None] == row).astype(np.float64) @ self.law).max(axis=0).sum() for row in values)
        return math.fsum(best) / (len(values) * self.queries)


@dataclass(frozen=True, kw_only=True)
class Scattered:
    """Pairs (two cells) and questions (one) in uniformly random order among filler, each question after its pair.

    2K times are drawn, two for each pair: the earlier is when it is shown, the later when it is asked. The 3K cells so ordered are spread over
    the sequence by a uniformly random choice of gaps.
    """

    length: int
    """tokens in a sample"""
    pairs: int
    """pairs, K; each is asked once"""

    def __post_init__(self) -> None:
        if self.length < 3 * self.pairs:
            raise ValueError(f"length must be at least {3 * self.pairs} (two cells for each pair, one for its question), got {self.length}")

    @property
    def draws(self) -> tuple[int, int]:
        """64-bit words for the times and for the gaps."""
        return 2 * self.pairs, 2 * self.pairs

    @property
    def first_gap(self) -> int:
        """First cell that may hold filler."""
        return 0

    def place(self, for_times: Words, for_gaps: Words) -> Places:
        """The cells of pairs and questions; question j asks for pair j."""
        order = self._order(for_times)
        # a uniformly random set of cells for the events, each one cell wide; then every pair pushes what follows one cell on
        cells = np.sort(distinct(for_gaps, self.length - self.pairs), axis=1)
        shows = order < self.pairs
        cells += np.cumsum(shows, axis=1) - shows
        at = np.empty_like(cells)
        np.put_along_axis(at, order, cells, axis=1)
        asked = np.broadcast_to(np.arange(self.pairs), (len(at), self.pairs))
        return Places(at[:, : self.pairs], at[:, self.pairs :], asked)

    def _order(self, for_times: Words) -> Int64[np.ndarray, "count events"]:
        """Events in order of time: event i < K shows pair i, event K + i asks for it."""
        times = np.sort(for_times.reshape(len(for_times), self.pairs, 2), axis=2)
        return np.argsort(np.hstack([times[..., 0], times[..., 1]]), axis=1, kind="stable")

    @property
    def cut(self) -> int:
        """The middle: no cut separates all pairs from all questions."""
        return self.length // 2

    def crossing_law(self, cut: int) -> Float64[np.ndarray, "pairs_plus_one pairs_plus_one"]:
        """L[o, s]: probability that o pairs lie wholly before cell `cut` and s of these are asked in or after it.

        Squeeze every pair to one cell: the 2K events then take a uniformly random set of the N = length - K cells, in uniformly random order.
        So among the first x cells there are both events of b pairs and one event of s pairs with probability

            K! / (b! s! (K-b-s)!) 2^s (x)_{2b+s} (N-x)_{2K-2b-s} / (N)_{2K},        (m)_k = m!/(m-k)!

        and unsqueezed they take x + o cells, o = b + s. Either some x has x + o = cut, or a pair straddles the cut: then x + o = cut - 1 and
        the next cell shows one of the K - o pairs not yet seen, with probability 2 (K-o) / (N-x).
        """
        K, N = self.pairs, self.length - self.pairs
        o, s = np.ogrid[: K + 1, : K + 1]
        before, after = 2 * o - s, 2 * K - 2 * o + s  # events among the first x cells, and later
        ways = gammaln(K + 1) - gammaln(np.maximum(o - s, 0) + 1) - gammaln(s + 1) - gammaln(K - o + 1) + s * math.log(2)

        def first_cells(x: Int64[np.ndarray, "shown 1"]) -> Float64[np.ndarray, "shown open"]:
            possible = (s <= o) & (before <= x) & (after <= N - x)
            log = ways + _log_falling(x, before) + _log_falling(N - x, after) - _log_falling(N, 2 * K)
            return np.exp(np.where(possible, log, -np.inf))

        next_opens = 2 * (K - o) / np.maximum(N - (cut - 1 - o), 1)
        return np.asarray(first_cells(cut - o) + first_cells(cut - 1 - o) * next_opens)

    @property
    def load(self) -> float:
        """Mean number of pairs shown before the cut and asked in or after it."""
        return float((self.crossing_law(self.cut) @ np.arange(self.pairs + 1)).sum())

    def entropy(self, values: int) -> float:
        """E[log2((v-a)! / (v-a-s)!)]: bits in the s values that cross the cut, drawn without replacement, once the a later ones are known.

        The later values count as known because they are read after the cut and narrow down the earlier ones without any memory.
        """
        law = self.crossing_law(self.cut)
        shown_and_open = zip(*np.nonzero(law), strict=True)
        return math.fsum(law[o, s] * entropy_without_replacement(int(s), values - self.pairs + int(o)) for o, s in shown_and_open)

    @property
    def seen_law(self) -> Float64[np.ndarray, " pairs_plus_one"]:
        """Probability that r pairs have been shown when a question is asked, r = 0 .. K.

        Of the m events to come h ask for pairs already shown, and all m are in random order: h / (m-h+1) of them are expected before the next
        pair is shown, with m - h = 2 (K-r).
        """
        law = np.zeros(self.pairs + 1)
        waiting = 0.0
        for shown in range(1, self.pairs + 1):
            waiting += 1
            law[shown] = waiting / (2 * (self.pairs - shown) + 1)
            waiting -= law[shown]
        return law / self.pairs

    @property
    def latest(self) -> float:
        """Probability that a question asks for the pair shown last: (1 + 1/3 + 1/5 + ... + 1/(2K-1)) / K.

        After the r-th pair h / (m-h+1) questions are expected before the next, m - h = 2 (K-r), and each asks for it with probability 1/h.
        """
        return math.fsum(1 / odd for odd in range(1, 2 * self.pairs, 2)) / self.pairs

    @property
    def key_blind(self) -> float:
        """The best accuracy from all values, which are distinct, and the places of pairs and questions: the pair shown last waits most surely."""
        return self.latest

    def key_blind_among(self, values: Int64[np.ndarray, "count pairs"], words: Words) -> float:
        """The same, averaged over these samples of values that may be equal, in the order shown, and over the order that `words` give.

        A question asks for each of the h waiting pairs alike; so a pair that waits with probability w is the one with w / h, and waits on with
        w (1 - 1/h).
        """
        rows = np.arange(len(values))
        equal = (values[:, :, None] == values[:, None, :]).astype(np.float64)
        waits = np.zeros(values.shape)
        shown = np.zeros(len(values), np.int64)
        right = 0.0
        for shows in (self._order(words) < self.pairs).T:
            share = waits / np.maximum(waits.sum(axis=1, keepdims=True), 1)
            right += float((equal[~shows] @ share[~shows, :, None]).max(axis=1).sum())
            waits[~shows] -= share[~shows]
            waits[rows[shows], shown[shows]] = 1
            shown += shows
        return right / values.size


def _log_falling(n: Int64[np.ndarray, "..."] | int, k: Int64[np.ndarray, "..."] | int) -> Float64[np.ndarray, "..."]:
    """log(n! / (n-k)!) where 0 <= k <= n, anything finite elsewhere."""
    n = np.maximum(n, 0)
    return np.asarray(gammaln(n + 1.0) - gammaln(np.maximum(n - k, 0) + 1.0))
