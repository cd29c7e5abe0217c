"""v^n states at least, n log2 v bits, are behind n answers that are never wrong: so many tables there are.

**Proof.** Take two tables in one state, and the first question, in the order asked, whose answer differs in them. Nothing that the guess to
it can depend on tells them apart: neither the state nor the answers revealed before, which agree. So one of the two gets a wrong answer. []

The order may be known from the start, and answers revealed: it does not help. It is said of what is carried as a whole. An attention's
cache is a part of it, so no kind of attention is below this count; they differ in how much of the cache the questions can reach
(`hax.prefix_wall`, `hax.ks_is_bounded`, `hax.lsh_wall`).
"""

import numpy as np

from ..claim import Claim, Evidence, Scale
from .encoders import best_memories, strategies

SIZES = ((2, 2), (2, 3))
"""(n, v)"""


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on all memories of a size, whether answers are revealed or not."""
    del seed  # nothing is drawn
    wrong, exact = [], []
    for questions, values in SIZES + (((3, 2),) if scale == "full" else ()):
        count = values**questions
        for revealed in (False, True):
            right = strategies(questions, values, revealed=revealed).sum(axis=2)
            wrong.append(questions * count - best_memories(right, count))
            exact.append(np.arange(1, count + 1) == count)
    possible = np.concatenate(exact)
    return Evidence(
        quantity="wrong answers over all tables of the best memory of 1 .. v^n states",
        measured=np.concatenate(wrong),
        at_least=np.where(possible, 0, 1),
        at_most=np.where(possible, 0, np.inf),
    )


COUNTING = Claim(
    name="hax.counting",
    statement=(
        "A memory after which n questions over v values are answered without error, whatever the table, has at least v^n states, so n "
        "log2 v bits, also where each answer is revealed before the next question; v^n states suffice."
    ),
    source="arXiv:2507.00449, corollary 3.1; that revealed answers do not help is ours",
    standing="proved in the source",
    check=_check,
)
