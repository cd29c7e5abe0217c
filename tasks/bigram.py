"""Induction without trigger tokens: every token that has been followed by another may be the one that asks."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int64

from .draws import Words, below, distinct
from .induction import LastTokenAsks
from .information import entropy_without_replacement
from .task import IGNORE, Batch


@dataclass(frozen=True, kw_only=True)
class Bigram(LastTokenAsks):
    """A sequence of distinct tokens, then one of them again, except the last: the token that followed it is the answer.

    The induction heads of Olsson et al. 2022 (arXiv:2209.11895) complete such pairs [A][B] ... [A] -> [B].
    """

    name: ClassVar[str] = "bigram"

    values: int = 128
    """all tokens 0 .. values-1; each may be shown, ask and be an answer"""

    def __post_init__(self) -> None:
        if self.length < 3:
            raise ValueError(f"length must be at least 3 (a pair and a question), got {self.length}")
        if self.values < self.length - 1:
            raise ValueError(f"values must be at least length-1={self.length - 1} (no token is shown twice), got {self.values}")

    @property
    def keys(self) -> range:
        """Every token."""
        return range(self.values)

    @property
    def vocab_size(self) -> int:
        """Token ids are 0 .. vocab_size-1."""
        return self.values

    @property
    def stored(self) -> float:
        """The follower of every token shown but the last."""
        return float(self.length - 2)

    @property
    def answer_bits(self) -> float:
        """log2((v-1)! / (v-1-n)!): entropy of the tokens shown, given the first.

        A memory that answers for each key also answers for each token given all those before it, so Fano's inequality per answer applies to the
        chain H(x_1 | x_0) + H(x_2 | x_0, x_1) + ... though keys and answers are the same tokens.
        """
        return entropy_without_replacement(self.length - 2, self.values - 1)

    @property
    def draws(self) -> tuple[int, ...]:
        """Words for the tokens shown and the one that is asked."""
        return self.length - 1, 1

    def build(self, index: Int64[np.ndarray, " count"], *words: Words) -> Batch:
        """An ordered draw of all tokens but the last, then one of them."""
        for_shown, for_asked = words
        shown = distinct(for_shown, self.values)
        asked = below(for_asked, self.length - 2)
        tokens = np.hstack([shown, np.take_along_axis(shown, asked, axis=1)]).astype(np.int32)
        targets = np.full_like(tokens, IGNORE)
        targets[:, -1:] = np.take_along_axis(shown, asked + 1, axis=1)
        return Batch(tokens, targets)

    def controls(self) -> dict[str, float]:
        """Guessing; any token shown but the asked one, for a reader who ignores the order."""
        return {"chance": 1 / self.values, "values_in_context": 1 / (self.length - 2)}

    def token_name(self, token: int) -> str:
        """`v7` for token 7."""
        return f"v{token}"
