"""b_s + min(T, 2^h B) b_kv >= n R_v(e) for hashing into 2^h bins: of T positions of the table the questions reach the last B of every bin.

Position i sees the last B positions j <= i whose key is in the bin of its query. Let b_kv be the bits of an entry (key, value) in all
layers together, and b_s the bits of all else that is carried over SEP; R_v and e are those of `hax.per_query`. The bin of a key is a
function of the key alone.

**Proof.** A key that B later ones of its bin have pushed out is never seen again, whatever is asked; so what comes after SEP is a function,
by induction as in `hax.prefix_wall`, of the tokens since, the state, and, for each layer, the last B entries of every bin in their order.
If T <= 2^h B, T entries are that or more. Else give each bin in which keys can fall B places. Places that stay empty need no mark: write an
entry there that belongs to another bin, as its key tells. (If keys can fall into one bin only, all its places are taken, for T > B.) So b_s
+ 2^h B b_kv bits are enough, and `hax.per_query` applies. []

Unlike a window, a budget of keys or a state, what is kept may grow with the table, up to 2^h B entries, though a query sees only B: the set
depends on the query. It is the cache that grows, and what hashing buys is time. The wall is met only by a hash that fills all bins: with
n_b keys of the table in bin b there are sum_b min(B, n_b) entries to be read. At the paper's sizes, 2^8 bins of 64 for 530 positions,
nothing is lost unless a bin is crowded, and this wall does not bind: it is that of full attention. What HAX carries is this and a list of k
keys (`hax.ks_is_bounded`), so its wall is b_s + (min(T, 2^h B) + k) b_kv.
"""

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ...kernels import bin_ranges
from ..claim import Claim, Evidence, Scale
from .reach import TASK, UP_TO_SEP, WORD, certified_by_entries, seen

HASHES = ((8, 64), (8, 32), (8, 2), (8, 1), (5, 8), (3, 16), (1, 64))
"""(bits, keys a bin); the first is the paper's"""


def hashed_tables(bits: int, draw: torch.Generator) -> Int64[Tensor, "hashes length"]:
    """Bins of the table's keys by four hashes: in turn; drawn uniformly; mostly in low bins; all in one."""
    bins, positions = 2**bits, torch.arange(UP_TO_SEP)
    uniform, crowded = torch.rand(2, UP_TO_SEP, generator=draw)
    return torch.stack([positions % bins, (bins * uniform).long(), (bins * crowded**4).long(), torch.zeros_like(positions)])


def reached(table: Int64[Tensor, "hashes length"], bits: int, per_bin: int) -> Bool[Tensor, "hashes length"]:
    """Which keys of the table are reached by questions that ask in every bin in turn, and whose own keys, in a bin apart, push nothing out."""
    after = TASK.length - UP_TO_SEP
    asked = (torch.arange(after) % 2**bits).expand(len(table), -1)
    keys = torch.cat([table, torch.full_like(asked, 2**bits)], dim=1)
    queries = torch.cat([table, asked], dim=1)
    return seen(bin_ranges(queries[:, None], keys[:, None], per_bin), TASK.length, UP_TO_SEP)


def occupied(table: Int64[Tensor, "hashes length"], bits: int, per_bin: int) -> Int64[np.ndarray, " hashes"]:
    """sum_b min(B, n_b)."""
    counts = np.stack([np.bincount(row, minlength=2**bits) for row in table.numpy()])
    places: Int64[np.ndarray, " hashes"] = np.minimum(counts, per_bin).sum(axis=1)
    return places


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence at the paper's length, with hashes that spread keys well and badly: entries reached; an answer in a state and in each of them."""
    draw = torch.Generator().manual_seed(seed)
    entries, places, wall, certified = [], [], [], []
    for bits, per_bin in HASHES:
        for _ in range(1 if scale == "quick" else 20):
            table = hashed_tables(bits, draw)
            entries.append(reached(table, bits, per_bin).sum(dim=1).numpy())
            places.append(occupied(table, bits, per_bin))
            wall.append(np.full(len(table), min(UP_TO_SEP, 2**bits * per_bin)))
            certified.append([certified_by_entries(kept, 1 + int(most)) for kept, most in zip(entries[-1].tolist(), wall[-1], strict=True)])
    room = np.array(wall)
    return Evidence(
        quantity="entries of the table that questions reach, by hash; then bits certified by an answer in each and in a state",
        measured=np.stack([entries, certified]),
        at_most=np.stack([np.minimum(room, places), WORD * (1 + room)]),
        at_least=np.stack([places, np.where(np.array(places) == room, WORD * (1 + room), 0)]),
        tolerance=1e-9,
        arrays={"reached": np.array(entries), "wall": room},
    )


LSH_WALL = Claim(
    name="hax.lsh_wall",
    statement=(
        "Attention to the last B keys of the query's own of 2^h bins, the bin of a key a function of the key, with b_kv bits an entry "
        "over all layers, beside b_s bits of all else, answers n questions over v values with mean error e <= 1 - 1/v only if b_s + "
        "min(T, 2^h B) b_kv >= n (log2 v - h2(e) - e log2(v-1)), T the positions up to SEP. With n_b keys in bin b, sum_b min(B, n_b) "
        "entries are within reach: min(T, 2^h B) for a hash that fills the bins evenly."
    ),
    source="new; the hash is that of arXiv:2507.00449; builds on hax.per_query",
    standing="new",
    check=_check,
)
