"""b_s + u b_kv >= n R_v(e) for attention whose sets ignore what is read, u the positions of the table that the questions can see at all.

Setting. Position i sees the positions S_i, a function of i alone (context-independent sparse attention: a window, sinks, a dilated or
strided pattern, unions). After a table of n answers come the questions. Let u be the number of positions up to SEP that lie in S_i for some
i after it, b_kv the bits of the entry (key, value) of one position in all layers together, and b_s the bits of all else that is carried
over SEP (states of a recurrence, tails of convolutions). R_v and the error e are those of `hax.per_query`.

**Proof.** Let U be all that is carried beside entries, and the entries of the u positions. What a layer has at a position after SEP is a
function of the tokens since, of the states, and of the entries that are seen: by induction over positions, and over layers at each, a
function of U and these tokens. Which u positions they are is known beforehand and need not be stored. So U is a memory of b_s + u b_kv
bits, and `hax.per_query` applies. []

For exact recall with one word of b bits as the state and as each entry, and u <= k: (k + 1) b >= n log2 v.

**What is wrong with a plain "CISA cannot".** Proposition 3.3 counts the k positions that each query sees. But k entries hold any table
whose n log2 v bits they have room for: one entry of n log2 v bits is enough, and no pattern that sees it is too weak. And k positions a
query are not k positions: where the sets move with the query, all of the questions together can see the whole table (strided, u = all; what
holds then is `hax.strided`). It has to be said in bits, and of what is reached. At the paper's sizes **no wall binds**: Mamba-2's states
alone are 2 x 4,096 scalars, more than the 1,024 bits of the answers at a single bit each, and so are 16 entries of 160 scalars. The wall is
no reason why a row of the paper's table is low.

What u is, of T = 1,058 positions, 530 of them up to SEP: a window of w sees w - 1 (the first position after SEP takes a place itself), a
sinks are a more, dilation d sees floor(530 / d), and every stride up to 528, the positions after SEP, sees all 530.
"""

import numpy as np

from ...kernels import Dilated, Pattern, Sink, Strided, Union, Window
from ..claim import Claim, Evidence, Scale
from .reach import TASK, UP_TO_SEP, WORD, certified_by_entries, read, seen

PATTERNS: tuple[tuple[Pattern, int], ...] = (
    (Window(64), 63),
    (Union(Sink(32), Window(32)), 32 + 31),
    (Dilated(32), 16),
    (Union(Window(32), Dilated(64)), 31 + 8 - 1),  # position 511 is in both
    (Strided(32), 530),
)
"""the paper's patterns with its budget of 64, and a stride; u of each"""
LOADS = (1, 2, 8)
"""answers of a table, in multiples of those that a state and the entries have room for"""


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on the paper's patterns at its length: positions that the operator reads, and an answer in a state and in each of them.

    The code is an attack on the inequality, not a model: an entry is given its answer even if that is shown later.
    """
    del scale, seed  # one size, and nothing is drawn
    by_operator = [int(read(pattern, TASK.length, UP_TO_SEP).sum()) for pattern, _ in PATTERNS]
    by_mask = [int(seen(pattern, TASK.length, UP_TO_SEP).sum()) for pattern, _ in PATTERNS]
    certified = [[certified_by_entries(u, load * (1 + at_most)) for load in LOADS] for u, at_most in zip(by_operator, by_mask, strict=True)]
    wall = np.repeat(WORD * (1 + np.array(by_mask)[:, None]), len(LOADS), axis=1)
    tight = np.array(LOADS) == 1
    return Evidence(
        quantity="positions of the table that the questions read, by pattern; then bits certified by an answer in each and in a state",
        measured=np.append(by_operator, certified),
        at_most=np.append(by_mask, wall),
        at_least=np.append([u for _, u in PATTERNS], np.where(tight, wall, 0)),
        tolerance=1e-9,
        arrays={"positions": np.array(by_mask), "certified": np.array(certified), "wall": wall},
    )


PREFIX_WALL = Claim(
    name="hax.prefix_wall",
    statement=(
        "Attention whose sets are a function of the position alone, b_kv bits an entry over all layers, beside a state of b_s bits, "
        "answers n questions over v values with mean error e <= 1 - 1/v only if b_s + u b_kv >= n (log2 v - h2(e) - e log2(v-1)), u the "
        "positions up to SEP that any later position sees. At T = 1,058 u is 63 (window 64), 32 + 31 (sink 32, window 32), 16 (dilated "
        "32), and all 530 for a stride of 32."
    ),
    source=(
        "corrects arXiv:2507.00449, proposition 3.3, known to us at second hand: positions a query sees bound nothing, bits that all "
        "queries reach do; builds on hax.per_query"
    ),
    standing="corrected",
    check=_check,
)
