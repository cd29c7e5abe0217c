"""Queries that see nearly the same keys, side by side: the work of the fast body, as integers.

Rows (entries of a batch x heads) lie one after the other, so that a position is a number in 0 .. rows x length - 1 and a tile may be of any
row. Whatever part a pattern has, i holds j <= i iff low_i <= code_j < high_i: for `TopK` the code is the rank, for `Ranges` the place in the
sorted keys. Every other part is a `Ranges` as well: a window is a single bin, a stride as many bins as steps, and of the rest the run of keys
begins at the first.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int64
from torch import Tensor

from ..bin_ranges.eager import bin_ranges
from ..bin_ranges.ranges import Ranges
from ..causal_topk.eager import held_before
from ..causal_topk.topk import TopK
from .patterns import Dilated, Pattern, Sink, Strided, Window, parts_of

PerRow = Int64[Tensor, "rows length"]

SELECTED = 64
"""queries in a tile of key selection, which share the k best before them and see one another"""
SORTED = 32
"""queries in a tile of a sorted run, and how far their runs may end apart: so many keys are in a tile beside those that all may see"""
MOST = 1 << 18
"""numbers of keys and values gathered at a time, 1 MB in float32, which stays in a cache; a quarter of it or four times took as long"""


class Tiles(NamedTuple):
    """A few tiles. A place among the queries that stands for none has the number of all positions, and sees nothing."""

    queries: Int64[Tensor, "tiles queries"]
    keys: Int64[Tensor, "tiles keys"]
    seen: Bool[Tensor, "tiles queries keys"]


class _Codes(NamedTuple):
    """Query i holds key j <= i iff low_i <= code_j < high_i. The last of `low` is for places that stand for no query."""

    code: Int64[Tensor, " positions"]
    low: Int64[Tensor, " positions+1"]
    high: Int64[Tensor, " positions+1"]

    @classmethod
    def of(cls, code: PerRow, low: PerRow, high: PerRow) -> "_Codes":
        return cls(code.flatten(), F.pad(low.flatten(), (0, 1), value=code.numel()), F.pad(high.flatten(), (0, 1)))

    def hold(self, queries: Int64[Tensor, "tiles queries"], codes: Int64[Tensor, "tiles keys"]) -> Bool[Tensor, "tiles queries keys"]:
        """Whether every query of a tile holds keys of these codes, if none comes after it."""
        codes = codes[:, None]
        return (self.low[queries, None] <= codes) & (codes < self.high[queries, None])


def packed(
    pattern: Pattern, shape: tuple[int, int, int], device: torch.device
) -> tuple[Int64[Tensor, "selections 2 rows length"], Int64[Tensor, "runs 4 rows length"]]:
    """The parts of a pattern for batch, heads and length: rank and threshold of each `TopK`; the tensors of `Ranges` of everything else."""
    selections, runs = [], []
    for part in parts_of(pattern):
        if isinstance(part, TopK):
            selections.append(torch.stack([part.rank, part.threshold]))
        else:
            found = _as_ranges(part, shape[2], device)
            tensors = (found.key_order, found.query_order, found.start, found.end)
            runs.append(torch.stack([tensor.expand(shape) for tensor in tensors]))
    none = torch.empty(0, 4, *shape, dtype=torch.int64, device=device)
    return (
        (torch.stack(selections) if selections else none[:, :2]).flatten(2, 3),
        (torch.stack(runs) if runs else none).flatten(2, 3),
    )


def _as_ranges(part: Window | Sink | Dilated | Strided | Ranges, length: int, device: torch.device) -> Ranges:
    """Window: one bin. Strided: a bin for every residue. Sink and Dilated: the keys ever seen come first, and a run starts with them."""
    if isinstance(part, Ranges):
        return part
    position = torch.arange(length, device=device).expand(1, 1, length)
    match part:
        case Window(size):
            return bin_ranges(torch.zeros_like(position), torch.zeros_like(position), size)
        case Strided(step):
            return bin_ranges(position % step, position % step, max(1, length))
        case Sink(size):
            order, end = position, (position + 1).clamp(max=size)
        case Dilated(step):
            order, end = (position % step != step - 1).to(torch.int8).argsort(dim=-1, stable=True), (position + 1) // step
    return Ranges(key_order=order, query_order=position, start=torch.zeros_like(position), end=end)


def tiles(
    selections: Int64[Tensor, "selections 2 rows length"], runs: Int64[Tensor, "runs 4 rows length"], numbers: int
) -> Iterator[Tiles]:
    """Tiles in which every query meets every key it sees exactly once; `numbers` of a key and its value tell how many come at a time.

    A part leaves out what the parts before it hold.
    """
    if 0 in runs.shape[2:]:  # no positions
        return
    before: list[_Codes] = []
    for rank, threshold in selections:
        codes = _Codes.of(rank, threshold, torch.full_like(rank, rank.shape[1]))
        yield from (_without(before, found) for found in _selected(rank, codes, threshold, numbers))
        before.append(codes)
    for key_order, query_order, start, end in runs:
        codes = _Codes.of(_inverse(key_order), start, end)
        yield from (_without(before, found) for found in _sorted(key_order, query_order, codes, numbers))
        before.append(codes)


def _without(before: list[_Codes], found: Tiles) -> Tiles:
    seen = found.seen
    for codes in before:
        seen = seen & ~codes.hold(found.queries, codes.code[found.keys])
    return found._replace(seen=seen)


def _selected(rank: PerRow, codes: _Codes, threshold: PerRow, numbers: int) -> Iterator[Tiles]:
    """Tiles of key selection: a block of queries, and as keys those held before the block, then the block itself."""
    rows, length = rank.shape
    k = int((rank >= threshold[:, -1:]).sum(dim=1).amax())
    held = held_before(rank, k, SELECTED)
    blocks = held.shape[1]
    held_at = _inverse(rank).gather(1, held.clamp(min=0).flatten(1)).view_as(held).masked_fill(held < 0, length)  # "after" every query
    block = torch.arange(blocks * SELECTED, device=rank.device).view(blocks, SELECTED).expand(rows, -1, -1)
    row = torch.arange(rows, device=rank.device)[:, None, None] * length
    keys = torch.cat([held_at, block], dim=2)
    queries, at = (block + row).masked_fill(block >= length, rows * length), keys.clamp(max=length - 1) + row
    queries, block, keys, at = (x.flatten(0, 1) for x in (queries, block, keys, at))
    several = max(1, MOST // (numbers * keys.shape[1]))
    for q, i, j, where in zip(*(torch.split(x, several) for x in (queries, block, keys, at)), strict=True):
        yield Tiles(q, where, codes.hold(q, codes.code[where]) & (j[:, None] <= i[..., None]))


def _sorted(key_order: PerRow, query_order: PerRow, codes: _Codes, numbers: int) -> Iterator[Tiles]:
    """Tiles of runs: queries that follow one another in their order, and the keys from the first's start to the last's end.

    A new tile begins at every SORTED-th query, and where the run ends in another SORTED-th of the keys. So a tile has at most as many keys
    as the longest run and SORTED more, and there are at most 2 length / SORTED tiles a row, however crowded a bin is.
    """
    rows, length = key_order.shape
    row = torch.arange(rows, device=key_order.device)[:, None] * length
    query_order, key_order = query_order + row, (key_order + row).flatten()
    start, end = codes.low[query_order], codes.high[query_order]
    stretch = (end - 1) // SORTED
    new = F.pad(stretch[:, 1:] != stretch[:, :-1], (1, 0))
    new[:, ::SORTED] = True
    first = new.flatten().nonzero()[:, 0]
    count = torch.diff(first, append=first.new_tensor([rows * length]))
    low, high = start.flatten()[first], end.flatten()[first + count - 1]
    slot = torch.arange(SORTED, device=first.device)
    queries = query_order.flatten()[(first[:, None] + slot).clamp(max=rows * length - 1)].masked_fill(slot >= count[:, None], rows * length)
    several = max(1, MOST // (numbers * max(1, int((high - low).amax()))))
    for q, at, begin, keys in zip(*(torch.split(x, several) for x in (queries, first // length * length, low, high - low)), strict=True):
        if not (most := int(keys.amax())):
            continue
        place = begin[:, None] + torch.arange(most, device=first.device)
        yield Tiles(q, key_order[at[:, None] + place.clamp(max=length - 1)], codes.hold(q, place))


def _inverse(order: PerRow) -> PerRow:
    """Where in each row's order a number stands."""
    return torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
