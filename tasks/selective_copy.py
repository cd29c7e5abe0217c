"""Selective copying: keep what counts, in order, and leave out what does not."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Int32, Int64, Integer

from .draws import Words, below, distinct, halved, halves
from .task import IGNORE, Batch, Task
from .top_count import expected_top_counts

Placement = Literal["scattered", "start", "mad"]


@dataclass(frozen=True, kw_only=True)
class SelectiveCopy(Task):
    """Content tokens among blanks or noise, the copy token, then a blank for each: the j-th of these asks for the j-th content token.

    Token ids: values (the content), noise, blank, copy. Gu & Dao 2023 (arXiv:2312.00752, section 4.1.1) made the task of plain copying.
    """

    name: ClassVar[str] = "selective_copy"

    length: int = 64
    """tokens in a sample, questions included"""
    values: int = 16
    """values 0 .. values-1, of which the content is drawn uniformly with repetition"""
    content: int = 8
    """content tokens in a sample, M"""
    noise: int = 0
    """size of the alphabet from which all other cells before the copy token are drawn; 0 leaves them blank"""
    placement: Placement = "scattered"
    """which of the cells before the copy token hold the content: "scattered", a uniformly random set of them; "start", the first ones (plain
    copying); "mad", those left by putting each other cell before a content token drawn uniformly, so that the last one touches the copy token"""

    def __post_init__(self) -> None:
        if self.placement not in get_args(Placement):
            raise ValueError(f"placement must be one of {', '.join(get_args(Placement))}, got {self.placement!r}")
        if self.values < 2:
            raise ValueError(f"values must be at least 2 for an answer to carry information, got {self.values}")
        if self.noise < 0:
            raise ValueError(f"noise must be at least 0, got {self.noise}")
        most = (self.length - 1) // 2
        if not 1 <= self.content <= most:
            raise ValueError(f"content must lie in 1..(length-1)//2={most} (each is shown, then asked), got {self.content}")

    @classmethod
    def mad(cls, *, vocab_size: int = 16, seq_len: int = 256, num_tokens_to_copy: int = 16) -> "SelectiveCopy":
        """Selective copying of the MAD suite with its token ids, its law and its defaults (Poli et al. 2024, arXiv:2403.17844).

        Departure: all draws are from the task's own stream; the suite draws its gaps from NumPy's global generator.
        """
        return cls(length=seq_len, values=vocab_size - 2, content=num_tokens_to_copy, placement="mad")

    @property
    def blank(self) -> int:
        """Token that asks."""
        return self.values + self.noise

    @property
    def copy(self) -> int:
        """Token that ends the content."""
        return self.blank + 1

    @property
    def vocab_size(self) -> int:
        """Token ids are 0 .. vocab_size-1."""
        return self.copy + 1

    @property
    def prefix(self) -> int:
        """Cells before the copy token."""
        return self.length - self.content - 1

    @property
    def answers(self) -> int:
        """Every content token is asked."""
        return self.content

    @property
    def stored(self) -> float:
        """The content tokens."""
        return float(self.content)

    @property
    def cut(self) -> int:
        """All cells that may hold content."""
        return self.content if self.placement == "start" else self.prefix

    @property
    def draws(self) -> tuple[int, ...]:
        """Words for the content, its places and the noise."""
        places = {"scattered": self.content, "start": 0, "mad": halved(self.prefix - self.content)}[self.placement]
        return halved(self.content), places, halved(self.prefix) if self.noise else 0

    def build(self, index: Int64[np.ndarray, " count"], *words: Words) -> Batch:
        """Blanks, over them the noise, over that the content."""
        for_content, for_places, for_noise = words
        content = below(halves(for_content), self.values)[:, : self.content].astype(np.int32)
        tokens = np.full((len(index), self.length), self.blank, np.int32)
        if self.noise:
            tokens[:, : self.prefix] = self.values + below(halves(for_noise), self.noise)[:, : self.prefix]
        np.put_along_axis(tokens, self._places(for_places), content, axis=1)
        tokens[:, self.prefix] = self.copy
        targets = np.full_like(tokens, IGNORE)
        targets[:, self.prefix + 1 :] = content
        return Batch(tokens, targets)

    def _places(self, words: Words) -> Int64[np.ndarray, "count content"]:
        """Cells of the content tokens, ascending."""
        order = np.arange(self.content)
        if self.placement == "start":
            return np.tile(order, (len(words), 1))
        if self.placement == "scattered":
            return np.sort(distinct(words, self.prefix), axis=1)
        gap = below(halves(words), self.content)[:, : self.prefix - self.content]  # the content token that another cell is put before
        sample = np.arange(len(words))[:, None]
        in_gap = np.bincount((sample * self.content + gap).ravel(), minlength=len(words) * self.content)
        places: Int64[np.ndarray, "count content"] = order + in_gap.reshape(len(words), self.content).cumsum(axis=1)
        return places

    def solve(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """Targets by a list of the values seen before the copy token.

        Raises ValueError for tokens of another length, without exactly one copy token, or where it is not followed by one blank for each value
        seen.
        """
        if tokens.shape[1] != self.length:
            raise ValueError(f"tokens must have length={self.length} columns, got {tokens.shape[1]}")
        targets = np.full(tokens.shape, IGNORE, np.int32)
        for row, answers in zip(tokens.tolist(), targets, strict=True):
            if row.count(self.copy) != 1:
                raise ValueError(f"a sample must hold one copy token ({self.copy}), got {row.count(self.copy)}")
            copy_at = row.index(self.copy)
            seen = [token for token in row[:copy_at] if token < self.values]
            if row[copy_at + 1 :] != [self.blank] * len(seen):
                raise ValueError(f"{len(seen)} blanks ({self.blank}) must follow as many content tokens, got {row[copy_at + 1 :]}")
            answers[copy_at + 1 :] = seen
        return targets

    def controls(self) -> dict[str, float]:
        """Guessing; without the order, the most frequent content token for every answer, or a random one of them for every answer."""
        return {
            "chance": 1 / self.values,
            "order_blind": float(expected_top_counts(self.content, self.values)[self.content]) / self.content,
            "any_content": (1 + (self.content - 1) / self.values) / self.content,
        }

    def stratum(self, tokens: Integer[np.ndarray, "batch length"]) -> Int32[np.ndarray, "batch length"]:
        """Which of the content tokens is asked for, from 0."""
        return np.tile(np.maximum(np.arange(self.length, dtype=np.int32) - self.prefix - 1, 0), (len(tokens), 1))

    def token_name(self, token: int) -> str:
        """`v7` a value, `n3` noise, `.` the blank, `COPY`."""
        if token < self.values:
            return f"v{token}"
        return {self.blank: ".", self.copy: "COPY"}.get(token, f"n{token - self.values}")

    def collision_bound(self, first: int, second: int) -> float:
        """Union bound on the probability that any of `first` samples equals any of `second` samples of another stream.

        Scattered content has to agree in its places too, which are uniform.
        """
        places = math.comb(self.prefix, self.content) if self.placement == "scattered" else 1
        return min(1.0, first * second * math.exp2(-self.answer_bits) / places)
