"""Of M content tokens scattered over many cells, a layer whose mixing ignores its input can copy the first and the last, and no other.

The layer is that of `fixed_mixing.py`: any LTI state space model or convolution, behind windows of w tokens, with a gate, a skip and a norm
that see none of the content. There are v >= 2 symbols; L >= M cells, blank where there is no content; the question, at a place of its own,
asks for the j-th content token. **Claim**: possible for j = 1 and j = M, and otherwise iff L <= 1 + max(w, j-1) + max(w, M-j): for w = 1 iff
L = M, plain copying; for the middle one of three iff L <= 2w + 1.

**Proof that it is impossible beyond.** There is room for cells p_1 < ... < p_(M+1) with p_j >= p_1 + w and p_(M+1) >= p_(j+1) + w: from 1 it is
max(w, j-1) to p_j, 1 to p_(j+1) and max(w, M-j) to p_(M+1). Take two families of inputs, one of each for every pair of symbols a != b at p_j
and p_(j+1) and all contents of the M - 2 other places:

    X: content at p_1 .. p_M;      a at p_j is the j-th and has to beat b,      sum_i f_i(W_i, a) - f_i(W_i, b) > 0
    Y: content at p_2 .. p_(M+1);  b at p_(j+1) is the j-th and has to beat a,  sum_i f_i(W_i, b) - f_i(W_i, a) > 0

Add them all up. A window that holds p_j or p_(j+1) holds neither p_1 nor p_(M+1), where alone X and Y differ, and gives opposite terms in the
two. What any other window holds does not depend on a and b, and f_i(W, a) - f_i(W, b), summed over all a != b, is 0. So the sum reads 0 > 0. []

**Proof that it is possible else.** Let f_i(W, c) be a weight if W shows c at a certain place, else 0. For the first content token take
2^-i, which outweighs all later ones together; for the last 2^i, a state that fades. For others: in the first w cells the window that ends with
a token shows how many content tokens are before it, in the last w cells the one that begins with it how many are after: weight 2 if it is the
j-th, else 0. In the first j-1 and the last M-j cells it never is. One cell at most remains: weight 1. It beats those that are known not to be
the j-th, and is beaten by one that is. []

In words: averaged over all ways to rename the symbols, the score of a symbol is a sum of weights of the windows that show it, and in the middle
a window does not tell how many content tokens came before it. This is about one layer: two of them with a product in between are not covered,
and selection makes of it plain copying, L = M (`mamba.skipping`).
"""

from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from ..claim import Claim, Evidence, Scale
from .fixed_mixing import Comparisons, evidence


class Copying(NamedTuple):
    """An instance: which of the content tokens is asked, how they are scattered, and how far a window sees."""

    cells: int
    content: int
    asked: int
    """j, from 1"""
    symbols: int
    window: int = 1

    @property
    def margins(self) -> tuple[int, int]:
        """max(w, j-1) and max(w, M-j): cells at either end where it is known of a token whether it is the j-th."""
        return max(self.window, self.asked - 1), max(self.window, self.content - self.asked)

    @property
    def possible(self) -> bool:
        """Whether the theorem says that a fixed mixing can."""
        return self.asked in (1, self.content) or self.cells <= 1 + sum(self.margins)

    def inputs(self) -> tuple[Int64[np.ndarray, "inputs cells"], Int64[np.ndarray, " inputs"]]:
        """All inputs, blanks being the token after the symbols, and their answers."""
        tokens, answers = [], []
        for places in combinations(range(self.cells), self.content):
            for content in product(range(self.symbols), repeat=self.content):
                row = np.full(self.cells, self.symbols)
                row[list(places)] = content
                tokens.append(row)
                answers.append(content[self.asked - 1])
        return np.array(tokens), np.array(answers)

    def score(self, place: int, view: tuple[int, ...], symbol: int) -> int:
        """The proof's f_i(W, c), of a window whose last token stands at `place`; a solution where there is one."""
        if self.asked in (1, self.content):
            weight = 2 ** (self.cells - place if self.asked == 1 < self.content else place) if place < self.cells else 0
            return weight * (view[-1] == symbol)
        begin, (before, after) = place - self.window + 1, self.margins
        by_those_before = place < self.window and view[-1] == symbol and self._shown(view[:-1]) == self.asked - 1
        by_those_after = (
            max(0, self.cells - self.window) <= begin < self.cells
            and view[0] == symbol
            and self._shown(view[1:]) == self.content - self.asked
        )
        unknown = before <= place < self.cells - after and view[-1] == symbol
        return 2 * by_those_before + 2 * by_those_after + unknown

    def _shown(self, view: tuple[int, ...]) -> int:
        return sum(0 <= token < self.symbols for token in view)

    def certificate(self, asked: Comparisons) -> Bool[np.ndarray, " rows"]:
        """The rows of X and Y of the proof; none where there is no room for them."""
        before, after = self.margins
        p, q = before, before + 1
        inner = range(p - self.asked + 2, q + self.content - self.asked)  # p_2 .. p_M: as near to p_j and p_(j+1) as can be
        shown = asked.tokens < self.symbols
        chosen = np.zeros(len(asked.answer), np.bool_)
        if not self.possible:
            for outer, rival_at in ((0, q), (q + after, p)):
                here = np.isin(np.arange(self.cells), [outer, *inner])
                chosen |= (shown == here).all(axis=1) & (asked.rival == asked.tokens[:, rival_at])
        return chosen


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on small instances, whole."""
    del seed  # nothing is drawn
    instances = [Copying(4, 3, asked, symbols) for asked in (1, 2, 3) for symbols in (2, 3)]
    instances += [Copying(cells, 4, asked, 2) for cells in (4, 5) for asked in (1, 2, 3, 4)]
    instances += [Copying(4, 2, asked, 3) for asked in (1, 2)] + [Copying(5, 1, 1, 3)]
    instances += [Copying(cells, 3, 2, 2, window) for window, cells in ((1, 3), (2, 5), (2, 6), (3, 7), (3, 8))]
    if scale == "full":
        instances += [Copying(cells, 5, asked, 2, window) for window in (1, 2) for cells in (5, 6, 7) for asked in range(1, 6)]
        instances += [Copying(5, 3, 2, 4), Copying(4, 4, 3, 3), Copying(6, 3, 2, 3, 2), Copying(9, 3, 2, 2, 4), Copying(10, 3, 2, 2, 4)]
    return evidence(instances)


LTI_SELECTIVE_COPY = Claim(
    name="mamba.lti_selective_copy",
    statement=(
        "A layer whose mixing along the sequence ignores its input, behind windows of w tokens and with a gate that sees none of the content, "
        "can copy the first and the last of M content tokens that lie anywhere in L cells, and the j-th of them, 1 < j < M, iff "
        "L <= 1 + max(w, j-1) + max(w, M-j)."
    ),
    source="new; arXiv:2312.00752, section 3.1, says so of LTI models in words and measures it in table 1",
    standing="new",
    check=_check,
)
