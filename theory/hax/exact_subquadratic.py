"""Key selection, hashing and their union are computed without a matrix of length x length, exactly, with a number of scores linear in the length.

**Exact.** Both sets are intervals. Of any two keys the better one is the same at all times, so a key that is pushed out of the k best does not come
back: i holds j <= i iff rank_j is at least a threshold that never falls. Sorted by bin and position, the keys j <= i of a query's bin stand side by
side, and the last B of them are a run. Queries that see nearly the same keys, side by side, make a tile, whose scores are dense; a key that both
parts hold is masked in the second, and the parts are joined by the logs of their sums of exponentials.

**Linear.** Key selection has a tile for 64 queries with the k keys held before them and themselves: k + 64 scores a query. Hashing begins a new tile
at every 32nd query, and where the run ends in another stretch of 32 keys. Along the sorted order ends never fall, so T queries have at most 2 T / 32
tiles, each of 32 places for queries and fewer than B + 32 keys: at most 2 (B + 32) scores a query, however crowded a bin is. Keys and values are
gathered once a tile. What makes the sets takes sorts, and besides a number of operations linear in the length.

What the clock says is the affair of benchmarks; here the scores are counted, and the operations of the selection as well.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from ...kernels import Backend, Pattern, Union, bin_ranges, causal_topk, sparse_attention
from ...kernels.sparse_attention.tiles import SELECTED, SORTED, packed, tiles
from ..claim import Claim, Evidence, Scale
from ..mamba.linear_cost import Counting

WIDTH, VALUE_WIDTH = 8, 16
KEPT = 32
"""k and B where the work is counted, as in the paper"""
BINS = (256, 16, 1)
"""random bins where it is counted, the paper's number of them first"""


class Case(NamedTuple):
    """What is selected from: random scores of so many levels, few of which make ties, and random bins. Eager is dense up to 256 positions."""

    length: int
    levels: int
    bins: int
    k: int
    per_bin: int


CASES = [
    Case(300, 10_000, 16, 32, 32),
    Case(300, 3, 1, 5, 40),  # ties, and all keys in a bin
    Case(333, 1, 4, 64, 64),  # nothing but ties: the earliest are kept, and in few bins overlap with the last of theirs
    Case(333, 50, 256, 400, 400),  # more than there are
    Case(450, 7, 3, 1, 1),
]


def selected_by(scores: Tensor, bins: tuple[Tensor, Tensor], case: Case, backend: Backend) -> list[Pattern]:
    """Key selection, hashing and their union, made by one body."""
    best, same = causal_topk(scores, case.k, backend=backend), bin_ranges(*bins, case.per_bin, backend=backend)
    return [best, same, Union(best, same)]


def differences(case: Case, draw: torch.Generator) -> Float64[np.ndarray, "patterns quantities"]:
    """The largest differences between eager and reference, selection included: output, then the gradients in query, key and value."""
    shape = (1, 2, case.length)
    scores = torch.randint(case.levels, shape, generator=draw).double()
    bins = torch.randint(case.bins, shape, generator=draw), torch.randint(case.bins, shape, generator=draw)
    q, k, v, grad = (torch.randn(*shape, width, generator=draw, dtype=torch.float64) for width in (WIDTH, WIDTH, VALUE_WIDTH, VALUE_WIDTH))

    def outcomes(backend: Backend) -> list[list[Tensor]]:
        found = []
        for pattern in selected_by(scores, bins, case, backend):
            query, key, value = leaves = [x.clone().requires_grad_() for x in (q, k, v)]
            out = sparse_attention(query, key, value, pattern, backend=backend)
            found.append([out.detach(), *torch.autograd.grad(out, leaves, grad)])
        return found

    pairs = zip(outcomes("eager"), outcomes("reference"), strict=True)
    return np.array([[float((one - other).abs().max()) for one, other in zip(*pair, strict=True)] for pair in pairs])


def operations(select: Callable[[], Pattern]) -> tuple[int, Pattern]:
    """How many operations a selection takes, in which a sort is one for every number, and what it selects."""
    counting = Counting()
    with counting:
        selected = select()
    return counting.operations, selected


def scores(pattern: Pattern, length: int) -> int:
    """How many scores the tiles of a pattern of one row take, those in vain as well: tiles not full, keys masked."""
    parts = packed(pattern, (1, 1, length), torch.device("cpu"))
    return sum(tile.seen.numel() for tile in tiles(*parts, WIDTH + VALUE_WIDTH))


def work(length: int, bins: int, draw: torch.Generator) -> tuple[list[int], list[int]]:
    """Scores of key selection, of hashing and of their union; then operations of both selections."""
    importance = torch.rand(1, 1, length, generator=draw)
    query_bins, key_bins = (torch.randint(bins, (1, 1, length), generator=draw) for _ in range(2))
    on_best, best = operations(lambda: causal_topk(importance, KEPT))
    on_same, same = operations(lambda: bin_ranges(query_bins, key_bins, KEPT))
    return [scores(pattern, length) for pattern in (best, same, Union(best, same))], [on_best, on_same]


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on cases with ties, crowded bins and overlap, against all scores; then by counting at lengths of 1024 to 65536."""
    draw = torch.Generator().manual_seed(seed)
    apart = np.array([differences(case, draw) for case in CASES * (1 if scale == "quick" else 10)])
    lengths = 1024 * (np.array([1, 4, 16, 64]) if scale == "quick" else 2 ** np.arange(9))
    counted = [[work(int(length), bins, draw) for length in lengths] for bins in BINS]
    computed, selecting = (np.array([[one[part] for one in row] for row in counted]).swapaxes(1, 2) for part in (0, 1))
    by_part = np.array([KEPT + SELECTED, 2 * (KEPT + SORTED)])
    bound = np.append(by_part, by_part.sum())[:, None]
    growing = np.concatenate([computed[:, 2:], selecting], axis=1)
    exponents = np.polyfit(np.log(lengths), np.log(growing.reshape(-1, len(lengths))).T, 1)[0]
    return Evidence(
        quantity="difference from all scores, of outputs and gradients; scores a query, by length; exponents of scores and of selection",
        measured=np.concatenate([apart.ravel(), (computed / lengths).ravel(), exponents]),
        at_most=np.concatenate(
            [
                np.broadcast_to([1e-12, 1e-10, 1e-10, 1e-10], apart.shape).ravel(),
                np.broadcast_to(bound, computed.shape).ravel(),
                np.full(len(exponents), 1.15),
            ]
        ),
        arrays={"lengths": lengths, "scores": computed, "selecting": selecting, "exponents": exponents},
    )


EXACT_SUBQUADRATIC = Claim(
    name="hax.exact_subquadratic",
    statement=(
        "In tiles, key selection, hashing and their union equal softmax over the same sets by all scores, to 1e-12 in float64, gradients to "
        "1e-10, also with ties, overlaps and crowded bins. At lengths that are multiples of 64 they take at most k + 64 scores a query for the k "
        "best, 2 (B + 32) for the last B of a bin, the sum of both for the union. With k = B = 32, from 1024 to 65536 positions, the scores of the "
        "union, and the operations that select, a sort being one for every number, grow by a power of the length of at most 1.15."
    ),
    source="new; the sets are those of arXiv:2507.00449",
    standing="new",
    check=_check,
)
