"""Joint recall with contexts inside contexts: a key means another value under every pair of an outer and an inner one (arXiv:2507.00449)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int32, Int64, Integer, UInt32

from .draws import Words, below, distinct, halved, halves
from .joint_recall import BLANK, BOS, FIRST_VALUE, SEP
from .joint_recall_controls import mode_accuracy
from .task import IGNORE, Batch, Task


@dataclass(frozen=True, kw_only=True)
class NestedRecall(Task):
    """A table value[outer, inner, key] is shown, then each of its entries is asked once in a fresh order: BOS, table, SEP, questions.

    Both halves are blocks in blocks, `outer (inner (key value)*)*`, each level in a random order of its own within every block above it. BLANK
    follows a question: answers revealed there would give away both blocks, as in `JointRecall` they give away the context. The paper's nested task
    is known to us from accounts of it only; token ids are ours: those of `JointRecall`, then outer and inner contexts.
    """

    name: ClassVar[str] = "nested_recall"

    levels: tuple[int, int] = (4, 4)
    """outer contexts, a, and inner contexts in each of them, b"""
    keys: int = 4
    """keys under each pair of contexts, k"""
    values: int = 16
    """values, of which the entries of the table are drawn uniformly with repetition"""

    def __post_init__(self) -> None:
        if self.values < 2:
            raise ValueError(f"values must be at least 2 for an answer to carry information, got {self.values}")
        if len(self.levels) != 2 or min(self.levels) < 1:
            raise ValueError(f"levels must be two numbers from 1 up (outer and inner contexts), got {self.levels}")
        if self.keys < 1:
            raise ValueError(f"keys must be at least 1, got {self.keys}")

    @property
    def first_key(self) -> int:
        """Id of key 0."""
        return FIRST_VALUE + self.values

    @property
    def first_outer(self) -> int:
        """Id of outer context 0."""
        return self.first_key + self.keys

    @property
    def first_inner(self) -> int:
        """Id of inner context 0."""
        return self.first_outer + self.levels[0]

    @property
    def vocab_size(self) -> int:
        """Token ids are 0 .. vocab_size-1."""
        return self.first_inner + self.levels[1]

    @property
    def length(self) -> int:
        """2 + 2 a (1 + b (1 + 2 k))."""
        outer, inner = self.levels
        return 2 + 2 * outer * (1 + inner * (1 + 2 * self.keys))

    @property
    def answers(self) -> int:
        """a b k, every entry of the table."""
        return math.prod(self.levels) * self.keys

    @property
    def stored(self) -> float:
        """All entries: they are independent, and each is asked."""
        return float(self.answers)

    @property
    def cut(self) -> int:
        """Tokens before SEP."""
        return self.length // 2

    @property
    def draws(self) -> tuple[int, ...]:
        """Words for the table, then for the orders of both halves: outer contexts, inner ones, keys."""
        outer, inner = self.levels
        return halved(self.answers), halved(2 * outer), halved(2 * outer * inner), halved(2 * self.answers)

    def build(self, index: Int64[np.ndarray, " count"], *words: Words) -> Batch:
        """Orders first, [count, 2 halves, outer, inner, key] as far as each goes; then the table is read in them."""
        for_table, *for_orders = (halves(part) for part in words)
        sizes = (*self.levels, self.keys)
        outer, inner, key = (_orders(part, (2, *sizes[: depth + 1])) for depth, part in enumerate(for_orders))
        entry = (outer[..., None, None] * sizes[1] + inner[..., None]) * sizes[2] + key
        table = (FIRST_VALUE + below(for_table, self.values)[:, : self.answers]).astype(np.int32)
        answer = np.take_along_axis(table, entry.reshape(len(index), -1), axis=1).reshape(entry.shape)

        tokens = np.empty((len(index), 2, self.cut), np.int32)  # the table and the questions, each after its head
        tokens[..., 0] = BOS, SEP
        targets = np.full_like(tokens, IGNORE)
        of_outer, of_inner = self._by_block(tokens)
        of_outer[..., 0] = self.first_outer + outer
        of_inner[..., 0] = self.first_inner + inner
        of_inner[..., 1::2] = self.first_key + key
        of_inner[:, 0, ..., 2::2] = answer[:, 0]
        of_inner[:, 1, ..., 2::2] = BLANK
        self._by_block(targets)[1][:, 1, ..., 1::2] = answer[:, 1]
        return Batch(tokens.reshape(-1, self.length), targets.reshape(-1, self.length))

    def _by_block(
        self, cells: Int32[np.ndarray, "count 2 half"]
    ) -> tuple[Int32[np.ndarray, "count 2 outer in_outer"], Int32[np.ndarray, "count 2 outer inner in_inner"]]:
        """The cells of each outer block and of each inner one, as views: only the last axis is split."""
        outer, inner = self.levels
        in_inner = 1 + 2 * self.keys
        of_outer = cells[..., 1:].reshape(len(cells), 2, outer, 1 + inner * in_inner)
        return of_outer, of_outer[..., 1:].reshape(len(cells), 2, outer, inner, in_inner)

    def solve(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """Targets by a dictionary of what the first half shows; what follows a question is not read.

        Raises ValueError for tokens of another length, and where a context or key stands in no context of the level above, an entry is shown
        twice, or what is asked is not each entry once.
        """
        if tokens.shape[1] != self.length:
            raise ValueError(f"tokens must have length={self.length} columns, got {tokens.shape[1]}")
        targets = np.full(tokens.shape, IGNORE, np.int32)
        for row, answers in zip(tokens.tolist(), targets, strict=True):
            if row[0] != BOS or row[self.cut] != SEP:
                raise ValueError(f"a sample must hold BOS ({BOS}) at 0 and SEP ({SEP}) at {self.cut}, got {row}")
            shown: dict[tuple[int, int, int], int] = {}
            for position, entry in self._entries(row, 0):
                if entry in shown:
                    raise ValueError(f"{self._entry_name(entry)} is shown twice")
                shown[entry] = row[position + 1]
            for position, entry in self._entries(row, self.cut):
                if entry not in shown:
                    raise ValueError(f"{self._entry_name(entry)} is asked at position {position}, but it is not shown or was asked before")
                answers[position] = shown.pop(entry)
            if shown:
                raise ValueError(f"{self._entry_name(next(iter(shown)))} is shown but not asked")
        return targets

    def _entries(self, row: Sequence[int], head: int) -> Iterator[tuple[int, tuple[int, int, int]]]:
        """(position of the key, (outer, inner, key)) of all that is shown or asked in the half after `head`."""
        outer = inner = None
        position, stop = head + 1, head + self.cut
        while position < stop:
            token = row[position]
            if self.first_outer <= token < self.first_inner:
                outer, inner = token, None
            elif token >= self.first_inner and outer is not None:
                inner = token
            elif token >= self.first_key and outer is not None and inner is not None and position + 1 < stop:
                yield position, (outer, inner, token)
                position += 1
            else:
                raise ValueError(f"a context, or a key and its value within two, must stand at position {position}, got {token}")
            position += 1

    def _entry_name(self, entry: tuple[int, int, int]) -> str:
        return " ".join(self.token_name(token) for token in entry)

    def controls(self) -> dict[str, float]:
        """Accuracy of guessing and of the best strategies that ignore contexts and keys, contexts, one level of them, or keys.

        Each is m_r / r for r entries that cannot be told apart: where no answer is revealed, blocks tell nothing.
        """
        outer, inner = self.levels
        mode = mode_accuracy(self.answers, self.values)
        apart = {
            "bag": self.answers,
            "context_blind": outer * inner,
            "outer_blind": outer,
            "inner_blind": inner,
            "key_blind": self.keys,
        }
        return {"chance": 1 / self.values} | {name: float(mode[candidates - 1]) for name, candidates in apart.items()}

    def stratum(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """Which inner block of its outer one a question stands in, from 0: the later, the farther back is the outer context."""
        outer, inner = self.levels
        in_inner = 1 + 2 * self.keys
        of_half = np.zeros(self.cut, np.int32)
        of_half[1:].reshape(outer, -1)[:, 1:] = np.repeat(np.arange(inner), in_inner)
        return np.broadcast_to(np.tile(of_half, 2), tokens.shape)

    def token_name(self, token: int) -> str:
        """`c2` an outer context, `d1` an inner one, `k3` a key, `v7` a value, special tokens by name."""
        for letter, first in (("d", self.first_inner), ("c", self.first_outer), ("k", self.first_key), ("v", FIRST_VALUE)):
            if token >= first:
                return f"{letter}{token - first}"
        return {BOS: "BOS", SEP: "SEP", BLANK: "BLANK"}.get(token, str(token))


def _orders(words: UInt32[np.ndarray, "count _"], shape: tuple[int, ...]) -> Int64[np.ndarray, "count *shape"]:
    """Independent random orders of 0 .. n-1 along the last axis, n = shape[-1], one word a cell."""
    cells = words[:, : math.prod(shape)].reshape(-1, shape[-1])
    return distinct(cells, shape[-1]).reshape(-1, *shape)
