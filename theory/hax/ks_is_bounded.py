"""b_s + k b_kv >= n R_v(e) for key selection: it depends on what is read, and yet the questions reach k positions of the table, no more.

Position i holds the k positions j <= i of highest score, where the score of j is found when j is read. Let b_kv be the bits of an entry,
which is key, value *and score*, in all layers together, and b_s the bits of all else that is carried over SEP, what scores are computed
from among it (the sum of queries and their number, arXiv:2507.00449). R_v and e are those of `hax.per_query`.

**Permanence.** The order of two positions never changes. So once k positions up to i are before j in it, they are at every later i as well:
membership of j is an interval of i, and what is not held at SEP is never held after it.

**Proof of the wall.** At SEP each layer (each head, if it has several that select) holds min(k, positions) entries; list them from the best
down. This list is all that is needed of the table's entries: whether a newcomer enters, and whom it pushes out, follows from its score and
those of the list, of equal scores the earlier position winning: that is the one on the list, and within the list the upper one. So it need
not be known where the entries stood. By induction, as in `hax.prefix_wall`, what comes after SEP is a function of the tokens since, the
list, and what else is carried, a memory of b_s + k b_kv bits at most, and `hax.per_query` applies. [] It is the wall of a fixed pattern
with u = k. Selection by content chooses what is kept; but it chooses before the question is heard.

An attention that chose the k best *for the query* would not be bounded so: what one question passes over, the next may see. For sets that
depend on the query by a hash see `hax.lsh_wall`. At the paper's sizes this wall does not bind either: 64 entries of 161 scalars, a bit
each, are 10,304 bits, and the answers 1,024.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from ...kernels import causal_topk, pattern_mask
from ..claim import Claim, Evidence, Scale
from .reach import WORD, certified_by_entries, seen


class Size(NamedTuple):
    """Of random rows of scores."""

    length: int
    cut: int
    """positions up to SEP"""
    k: int
    scores: int
    """different scores that are drawn: the fewer, the more ties"""


SIZES = (Size(24, 11, 1, 3), Size(80, 40, 6, 8), Size(72, 50, 16, 1000), Size(40, 12, 20, 1))
"""the second and third longer than a block of the fast body; in the last k exceeds the table, and all scores are equal"""


def returns(held: Bool[Tensor, "rows length length"]) -> int:
    """How often a position (column) that was not held at some i (row) after it came is held at i + 1."""
    came = torch.ones_like(held).tril()[:, :-1]
    return int((came & ~held[:, :-1] & held[:, 1:]).sum())


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on random rows of scores with ties, by both bodies; and on an answer in a state and in each entry within reach."""
    draw = torch.Generator().manual_seed(seed)
    rows = 250 if scale == "quick" else 2500
    back, reached, certified, room = [], [], [], []
    for size in SIZES:
        scores = torch.randint(size.scores, (rows, 1, size.length), generator=draw).float()
        for backend in ("eager", "reference"):
            selection = causal_topk(scores, size.k, backend=backend)
            back.append(returns(pattern_mask(selection, size.length)[:, 0]))
            reached.append(seen(selection, size.length, size.cut).sum(dim=1).numpy())
            room.append(min(size.k, size.cut))
            certified.append([certified_by_entries(entries, 1 + room[-1]) for entries in reached[-1].tolist()])
    most = np.array(room)
    least = most - 1  # the first position after SEP pushes one out, or itself
    return Evidence(
        quantity="positions up to SEP that later ones hold; bits certified by an answer in each and in a state; returns of what was not held",
        measured=np.concatenate([np.ravel(reached), np.ravel(certified), back]),
        at_most=np.concatenate([most.repeat(rows), WORD * (1 + most).repeat(rows), np.zeros(len(back))]),
        at_least=np.concatenate([least.repeat(rows), np.zeros(least.size * rows + len(back))]),
        tolerance=1e-9,
        arrays={"k": most, "reached": np.array(reached)},
    )


KS_IS_BOUNDED = Claim(
    name="hax.ks_is_bounded",
    statement=(
        "Key selection with b_kv bits an entry (key, value, score) over all layers, beside b_s bits of all else, answers n questions over "
        "v values with mean error e <= 1 - 1/v only if b_s + k b_kv >= n (log2 v - h2(e) - e log2(v-1)): a position that is not among the "
        "k best at SEP is not held at any later one."
    ),
    source="new; key selection is that of arXiv:2507.00449; builds on hax.per_query",
    standing="new",
    check=_check,
)
