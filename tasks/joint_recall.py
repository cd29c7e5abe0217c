"""Joint recall: the same key means another value in every context (Zhan et al. 2025, arXiv:2507.00449)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, Integer, UInt32

from .draws import Words, below, halved, halves
from .joint_recall_controls import block_accuracy, mode_accuracy, until_used_up
from .task import IGNORE, Batch, Task

BOS, PAD, SEP, BLANK = 1, 3, 4, 5
FIRST_VALUE = 10
"""ids of the paper's generator: special tokens below this one, then values, keys, contexts"""

Layout = Literal["paper", "triples"]
Range = int | tuple[int, int]
Sizes = Int64[np.ndarray, " count"]


@dataclass(frozen=True, kw_only=True)
class JointRecall(Task):
    """A table value[context, key] is shown, then each of its entries is asked once in a fresh order: BOS, table, SEP, questions, PAD.

    A key in the second half asks for its value in the context before it; the answer, or BLANK, follows. A table of n_c contexts and n_k keys uses
    the first n_c context ids and n_k key ids. Sample i has the size `cells[i mod len(cells)]`, so len(cells) samples in a row are balanced, and
    a batch of fewer nearly is. The public data goes through the sizes row by row, unshuffled.

    The layout "paper" with `reveal` is the paper's. The others are ours: where revealed answers come in blocks, a block can be recognised by them
    without reading a context token, and 92 % of the paper's questions answered (control "context_token_blind").
    """

    name: ClassVar[str] = "joint_recall"
    version: ClassVar[int] = 2

    contexts: Range = (5, 16)
    """contexts of a table, or an inclusive range of them"""
    keys: Range = (5, 16)
    """keys of a table, or an inclusive range of them"""
    values: int = 16
    """values, of which the entries of a table are drawn uniformly with repetition"""
    layout: Layout = "paper"
    """"paper": `context (key value)*` for each context, contexts and keys in random order; "triples": `context key value` for each entry, in one
    random order"""
    reveal: bool = True
    """whether its answer follows a question, as in the paper, or BLANK does"""

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise ValueError(f"layout must be one of {', '.join(get_args(Layout))}, got {self.layout!r}")
        if self.values < 2:
            raise ValueError(f"values must be at least 2 for an answer to carry information, got {self.values}")
        for field, given in (("contexts", self.contexts), ("keys", self.keys)):
            ends = _ends(given)
            if len(ends) != 2 or not 1 <= ends[0] <= ends[1]:
                raise ValueError(f"{field} must be a number from 1 up or a pair (low, high) with 1 <= low <= high, got {given}")

    @property
    def cells(self) -> tuple[tuple[int, int], ...]:
        """Sizes (contexts, keys) of the tables, in the order in which samples have them.

        From one to the next it is a golden section of all sizes, so that the samples of a batch spread over them: in rows, batches would be of small
        tables and of large ones in turn.
        """
        (least_contexts, most_contexts), (least_keys, most_keys) = _ends(self.contexts), _ends(self.keys)
        sizes = [(c, k) for c in range(least_contexts, most_contexts + 1) for k in range(least_keys, most_keys + 1)]
        golden = round(len(sizes) * (math.sqrt(5) - 1) / 2)
        stride = next(step for step in count(golden) if math.gcd(step, len(sizes)) == 1)  # so that every size is met
        return tuple(sizes[i * stride % len(sizes)] for i in range(len(sizes)))

    @property
    def most_contexts(self) -> int:
        """Contexts of the largest table."""
        return _ends(self.contexts)[1]

    @property
    def most_keys(self) -> int:
        """Keys of the largest table."""
        return _ends(self.keys)[1]

    @property
    def first_key(self) -> int:
        """Id of key 0."""
        return FIRST_VALUE + self.values

    @property
    def first_context(self) -> int:
        """Id of context 0: the keys of the largest table come before, whatever the size of the sample's own."""
        return self.first_key + self.most_keys

    @property
    def vocab_size(self) -> int:
        """Token ids are 0 .. vocab_size-1."""
        return self.first_context + self.most_contexts

    @property
    def length(self) -> int:
        """2 n_c (2 n_k + 1) + 2 for the largest table in the paper's layout, 6 n_c n_k + 2 in triples; shorter samples are padded."""
        half = self.most_contexts * (2 * self.most_keys + 1) if self.layout == "paper" else 3 * self.answers
        return 2 * (1 + half)

    @property
    def answers(self) -> int:
        """Entries of the largest table."""
        return self.most_contexts * self.most_keys

    @property
    def stored(self) -> float:
        """Entries of a table, on average over its sizes: what is certified holds for the accuracy over all questions, not over samples."""
        return float(np.mean([contexts * keys for contexts, keys in self.cells]))

    @property
    def cut(self) -> int:
        """Tokens before SEP in the largest table. A smaller table is cut before its own SEP, so its state is no larger than here."""
        return self.length // 2

    @property
    def draws(self) -> tuple[int, ...]:
        """Words for the table, then for the orders of both halves: contexts and keys, or entries."""
        orders = (2 * self.most_contexts, 2 * self.answers) if self.layout == "paper" else (2 * self.answers,)
        return halved(self.answers), *(halved(order) for order in orders)

    def build(self, index: Int64[np.ndarray, " count"], *words: Words) -> Batch:
        """Orders are drawn for the largest table; what a smaller one lacks is left out of them, and the rest put where it belongs."""
        for_table, *for_orders = words
        contexts, keys = np.asarray(self.cells)[index % len(self.cells)].T
        paper = self.layout == "paper"
        arrange, blocks, slots = (self._blocks, contexts, keys) if paper else (self._triples, contexts * keys, np.ones_like(keys))
        sample = np.repeat(np.arange(len(index)), blocks)
        held = slots[sample]
        table = (FIRST_VALUE + below(halves(for_table), self.values)[:, : self.answers]).astype(np.int32)
        by_half = [halves(part).reshape(-1, 2, part.shape[1]) for part in for_orders]

        tokens = np.full(len(index) * self.length, PAD, np.int32)
        targets = np.full_like(tokens, IGNORE)
        begins = np.arange(0, len(tokens), self.length)
        for half, head in enumerate((BOS, SEP)):
            context, key = arrange(contexts, keys, *(part[:, half] for part in by_half))
            answer = table.take(np.repeat(sample * self.answers + context * self.most_keys, held) + key)
            opened_at = _runs(begins + 1, 1 + 2 * slots, blocks)
            asked_at = _runs(opened_at + 1, 2, held)
            tokens[begins] = head
            tokens[opened_at] = self.first_context + context
            key += self.first_key
            tokens[asked_at] = key.astype(np.int32)  # cast within the assignment it would take twice as long
            tokens[1:][asked_at] = answer if self.reveal or head == BOS else BLANK
            begins += 1 + blocks * (1 + 2 * slots)
        targets[asked_at] = answer
        return Batch(tokens.reshape(-1, self.length), targets.reshape(-1, self.length))

    def _blocks(
        self,
        contexts: Sizes,
        keys: Sizes,
        for_contexts: UInt32[np.ndarray, "count contexts"],
        for_keys: UInt32[np.ndarray, "count answers"],
    ) -> tuple[Int64[np.ndarray, " blocks"], Int64[np.ndarray, " entries"]]:
        """Context of each block of a half and key of each of its slots, one sample after another."""
        order = _order(for_contexts)
        exists = np.arange(self.most_contexts) < contexts[:, None]
        within = _order(for_keys.reshape(-1, self.most_contexts, self.most_keys)[exists])
        return _kept(order, order < contexts[:, None]), _kept(within, within < np.repeat(keys, contexts)[:, None])

    def _triples(
        self, contexts: Sizes, keys: Sizes, for_entries: UInt32[np.ndarray, "count answers"]
    ) -> tuple[Int64[np.ndarray, " blocks"], Int64[np.ndarray, " entries"]]:
        """The same where each entry of the table is a block of one slot."""
        order = _order(for_entries)
        context, key = (of_entry[order] for of_entry in np.divmod(np.arange(self.answers), self.most_keys))
        exists = (context < contexts[:, None]) & (key < keys[:, None])
        return _kept(context, exists), _kept(key, exists)

    def solve(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """Targets by a dictionary of what the first half shows; what follows a question is not read, so it may have been changed.

        Raises ValueError for tokens of another length, and where a key stands in no context, an entry is shown twice, what is asked is not each
        entry once, or anything but PAD follows PAD.
        """
        if tokens.shape[1] != self.length:
            raise ValueError(f"tokens must have length={self.length} columns, got {tokens.shape[1]}")
        targets = np.full(tokens.shape, IGNORE, np.int32)
        for row, answers in zip(tokens.tolist(), targets, strict=True):
            if row[0] != BOS or row.count(SEP) != 1:
                raise ValueError(f"a sample must begin with BOS ({BOS}) and hold one SEP ({SEP}), got {row}")
            middle, end = row.index(SEP), row.index(PAD) if PAD in row else len(row)
            if row[end:] != [PAD] * (self.length - end):
                raise ValueError(f"only PAD ({PAD}) may follow PAD, got {row[end:]}")
            shown: dict[tuple[int, int], int] = {}
            for position, entry in self._entries(row, 1, middle):
                if entry in shown:
                    raise ValueError(f"{self._entry_name(entry)} is shown twice")
                shown[entry] = row[position + 1]
            for position, entry in self._entries(row, middle + 1, end):
                if entry not in shown:
                    raise ValueError(f"{self._entry_name(entry)} is asked at position {position}, but it is not shown or was asked before")
                answers[position] = shown.pop(entry)
            if shown:
                raise ValueError(f"{self._entry_name(next(iter(shown)))} is shown but not asked")
        return targets

    def _entries(self, row: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """(position of the key, (context, key)) of all that is shown or asked in start .. stop-1."""
        first_key, first_context = self.first_key, self.first_context
        context = None
        position = start
        while position < stop:
            token = row[position]
            if token >= first_context:
                context = token
                position += 1
                continue
            if context is None or token < first_key or position + 1 == stop:
                raise ValueError(f"a context, or a key and its value within a context, must stand at position {position}, got {token}")
            yield position, (context, token)
            position += 2

    def _entry_name(self, entry: tuple[int, int]) -> str:
        return " ".join(self.token_name(token) for token in entry)

    def controls(self) -> dict[str, float]:
        """Accuracy of guessing and of the best strategies that ignore contexts and keys, contexts, keys, or only the context tokens.

        Each is exact, and a mean over the sizes of the accuracy in a sample (macro). The last differs from "context_blind" where revealed answers
        come in blocks. Their players are in `joint_recall_strategies`.
        """
        by_candidates, matched = self._guessed(self.answers), self._matched()
        by_size = [
            (
                by_candidates[contexts * keys - 1],
                by_candidates[contexts - 1],
                by_candidates[keys - 1],
                matched[contexts - 1, :keys].mean(),
            )
            for contexts, keys in self.cells
        ]
        bag, context_blind, key_blind, context_token_blind = np.mean(by_size, axis=0).tolist()
        return {
            "chance": 1 / self.values,
            "bag": bag,
            "context_blind": context_blind,
            "key_blind": key_blind,
            "context_token_blind": context_token_blind,
        }

    def matcher_by_slot(self) -> Float64[np.ndarray, " slots"]:
        """The control "context_token_blind" by `stratum`, the slot of the block: an accuracy over all questions of a slot (micro).

        A true recaller is as good in every slot, a matcher of blocks climbs: what shows joint recall is the first, where it knows no more than
        the key.
        """
        matched = self._matched()
        contexts, keys = np.asarray(self.cells).T
        slots = np.minimum(keys, matched.shape[1])
        asked = (contexts * keys // slots)[:, None] * (np.arange(matched.shape[1]) < slots[:, None])
        accuracy: Float64[np.ndarray, " slots"] = (asked * matched[contexts - 1]).sum(axis=0) / asked.sum(axis=0)
        return accuracy

    def _guessed(self, candidates: int) -> Float64[np.ndarray, " candidates"]:
        """Accuracy of the most frequent of r candidates at [r-1], all of which are asked, and struck out where answers are revealed."""
        mode = mode_accuracy(candidates, self.values)
        return until_used_up(mode) if self.reveal else mode

    def _matched(self) -> Float64[np.ndarray, "contexts slots"]:
        """Accuracy of a reader of all but the context tokens by slot, at [c-1] in a table of c contexts."""
        if self.layout == "paper" and self.reveal:
            return until_used_up(block_accuracy(self.most_contexts, self.most_keys, self.values))
        slots = self.most_keys if self.layout == "paper" else 1
        return np.repeat(self._guessed(self.most_contexts)[:, None], slots, axis=1)

    def stratum(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """Which slot of its block a key stands in, from 0: a true recaller is as good in the first as in the last, a matcher of blocks is not."""
        position = np.arange(tokens.shape[1], dtype=np.int32)
        block = np.maximum.accumulate(np.where(tokens >= self.first_context, position, 0), axis=1)
        slot: Int32[np.ndarray, "batch length"] = (position - block) // 2  # the s-th key stands 2s + 1 after its context
        return slot

    def probes(self, tokens: Integer[np.ndarray, "batch length"]) -> dict[str, Batch]:
        """One, "swap": two contexts exchanged among the questions (`swapped_contexts`), where that changes an answer."""
        from .swap_probe import swapped_contexts  # which is made of this module

        if _ends(self.contexts)[0] < 2:
            return {}
        probe = swapped_contexts(self, tokens)
        return {"swap": probe} if (probe.targets != IGNORE).any() else {}

    def token_name(self, token: int) -> str:
        """`c2` a context, `k3` a key, `v7` a value, special tokens by name."""
        for letter, first in (("c", self.first_context), ("k", self.first_key), ("v", FIRST_VALUE)):
            if token >= first:
                return f"{letter}{token - first}"
        return {BOS: "BOS", PAD: "PAD", SEP: "SEP", BLANK: "BLANK"}.get(token, str(token))

    def collision_bound(self, first: int, second: int) -> float:
        """Union bound on the probability that any of `first` samples equals any of `second` samples of another stream.

        Only samples of one size can be equal, with probability at most v^-(n_c n_k); a run of samples has at most a len(cells)-th of each size.
        """
        pairs = -(-first // len(self.cells)) * -(-second // len(self.cells))
        return min(1.0, sum(pairs * float(self.values) ** -(contexts * keys) for contexts, keys in self.cells))


def _order(words: UInt32[np.ndarray, "rows entries"]) -> Int64[np.ndarray, "rows entries"]:
    """In each row the numbers of the entries in random order: the stable argsort of one word each.

    Uniform but for equal words, which keep their order: for any two entries that has probability 2^-32.
    """
    bits = words.shape[1].bit_length()
    keyed = words.astype(np.int64)
    keyed <<= bits
    keyed |= np.arange(words.shape[1])
    keyed.sort(axis=1)
    keyed &= (1 << bits) - 1
    return keyed


def _kept(numbers: Int64[np.ndarray, "rows entries"], which: Bool[np.ndarray, "rows entries"]) -> Int64[np.ndarray, " kept"]:
    """`numbers[which]` in a third of the time, where gaps are many: a mask is followed from gap to gap."""
    kept: Int64[np.ndarray, " kept"] = numbers.ravel().take(np.flatnonzero(which))
    return kept


def _runs(
    start: Int64[np.ndarray, " runs"], step: Int64[np.ndarray, " runs"] | int, count: Int64[np.ndarray, " runs"]
) -> Int64[np.ndarray, " total"]:
    """start_r, start_r + step_r, ..., count_r numbers of each run r, one run after another."""
    first = np.cumsum(count) - count
    numbers = np.arange(count.sum())
    numbers *= np.repeat(np.broadcast_to(step, count.shape), count)
    numbers += np.repeat(start - step * first, count)
    return numbers


def _ends(given: Range) -> tuple[int, int]:
    """The least and the most of a range."""
    return (given, given) if isinstance(given, int) else given
