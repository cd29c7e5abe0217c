"""Told single tokens, a layer whose mixing ignores its input cannot do induction heads; told pairs of neighbours, it can.

The layer is that of `fixed_mixing.py`. L cells hold one trigger, not in the last of them, and values (v >= 2) elsewhere; then the trigger stands
again and asks for the value that followed it. **Claim**: with windows of one token possible iff L <= 3, with windows of two always.

**Proof.** Let L >= 4. Take two families of inputs, one of each for every pair of values a != b, in cells 2 and 4, and all values elsewhere:

    X: trigger in cell 1, so that a has to beat b,   sum_i f_i(x_i, a) - f_i(x_i, b) > 0
    Y: trigger in cell 3, so that b has to beat a,   sum_i f_i(x_i, b) - f_i(x_i, a) > 0

Add them all up. Cells 2 and 4 are the same in X and in Y and give opposite terms. What other cells hold does not depend on a and b, and
f_i(x, a) - f_i(x, b), summed over all a != b, is 0. The sum reads 0 > 0. With L = 3 the cells weighed 1, 4, 2 answer: cell 2 beats cell 3 after
a trigger in 1, cell 3 beats cell 1 after one in 2. With windows of two f_i((trigger, c), c) = 1, else 0, is right. []

So it is not true that LTI models cannot do this task: a Mamba block without selection keeps its short convolution and the nonlinearity behind
it, which see the pair. Even where the trigger occurs more than once and the last counts, f_i((trigger, c), c) = 2^i is right: a state that
fades, as far as floats reach. Weights of such a block, and how far that is, are in `constructions/induction.py`
(`mamba.induction_without_selection`).
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from ..claim import Claim, Evidence, Scale
from .fixed_mixing import Comparisons, evidence


class InductionHeads(NamedTuple):
    """An instance; values are 0 .. symbols-1, and the trigger is the token after them."""

    cells: int
    symbols: int
    window: int

    @property
    def possible(self) -> bool:
        """Whether the theorem says that a fixed mixing can."""
        return self.window >= 2 or self.cells <= 3

    def inputs(self) -> tuple[Int64[np.ndarray, "inputs cells"], Int64[np.ndarray, " inputs"]]:
        """All inputs, without the trigger that asks, and their answers."""
        tokens, answers = [], []
        for place in range(self.cells - 1):
            for shown in product(range(self.symbols), repeat=self.cells - 1):
                tokens.append([*shown[:place], self.symbols, *shown[place:]])
                answers.append(shown[place])
        return np.array(tokens), np.array(answers)

    def score(self, place: int, view: tuple[int, ...], symbol: int) -> int:
        """The proof's f_i(W, c), of a window whose last token stands at `place`; a solution where there is one."""
        if self.window >= 2:
            return int(view[-2:] == (self.symbols, symbol))
        return (1, 4, 2)[place % 3] * (view[-1] == symbol)

    def certificate(self, asked: Comparisons) -> Bool[np.ndarray, " rows"]:
        """The rows of X and Y of the proof; none for fewer than 4 cells."""
        chosen = np.zeros(len(asked.answer), np.bool_)
        if self.cells >= 4:
            for trigger_at, rival_at in ((0, 3), (2, 1)):
                chosen |= (asked.tokens[:, trigger_at] == self.symbols) & (asked.rival == asked.tokens[:, rival_at])
        return chosen


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on small instances, whole."""
    del seed  # nothing is drawn
    instances = [InductionHeads(cells, 2, 1) for cells in (2, 3, 4, 5, 6)] + [InductionHeads(cells, 3, 1) for cells in (3, 4)]
    instances += [InductionHeads(cells, 2, 2) for cells in (3, 4, 6)]
    if scale == "full":
        instances += [InductionHeads(5, 3, 1), InductionHeads(4, 4, 1), InductionHeads(5, 3, 2), InductionHeads(6, 2, 3)]
    return evidence(instances)


LTI_INDUCTION = Claim(
    name="mamba.lti_induction",
    statement=(
        "A layer whose mixing along the sequence ignores its input and is told single tokens does induction heads with one trigger, among the L "
        "tokens before the question, iff L <= 3; told every token with the one before it, as by a short convolution, it does so for every L."
    ),
    source="corrects arXiv:2312.00752, sections 3.1 and 4.1.2: that time-invariant models cannot do induction heads; proof ours",
    standing="corrected",
    check=_check,
)
