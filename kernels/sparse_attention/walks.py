"""Which keys a program of the Triton body meets, and which queries: the work, as integers.

A program owns S queries, or S keys, and walks along a list of the other kind, W at a time, from the first place that an owner needs to the
last. So many pairs does a row of T positions come to at most, every owner of a program with all that it walks:

    `Ranges` of B keys    over keys  T (B + S + W),        over queries  T (B + 2 S + W)
    `TopK` of k keys      over keys  T (k + BLOCK + W),    over queries  T (k + 2 BLOCK)

Ranges: neither end of a run falls along the order of queries, so one walk and the next have no more in common than a run, however crowded a
bin is; and a run is owned by at most B / S + 2 programs. Its queries are a run as well: from the first that ends after the key to the last
that does not start after it.

TopK: a block of queries has a list of its own, of the keys that any of them holds: at most k from before and BLOCK of its own. The gradient
of a key is a sum over such lists, and has a share for each: the queries of a key are a run here too, but a long one may lie beside short ones
in any order, so to walk along it would be to meet up to log T times BLOCK queries for every one.

Rows (entries of a batch x heads) and codes are those of `tiles.py`; places count through all rows.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Int32, Int64
from torch import Tensor

from .tiles import PerRow

Selections = Int64[Tensor, "selections 2 rows length"]
Runs = Int64[Tensor, "runs 4 rows length"]

BLOCK = 64
"""queries that share a list; a program owns this many positions or a divisor of it, so that all its owners are of one block"""


class Walk(NamedTuple):
    """The owner at place p of a row is own[p], the length standing for none, and needs begin[p] .. end[p] - 1 of `along`."""

    own: Int32[Tensor, "rows places"]
    begin: Int64[Tensor, "rows places"]
    end: Int64[Tensor, "rows places"]
    along: Int32[Tensor, " places"]
    """positions of the other kind, within their row; none twice where a program walks"""


class Sums(NamedTuple):
    """Where the owners of a walk put what they sum."""

    into: Int64[Tensor, "rows places"]
    """number of a key, or of its share where a key has several; -1 for none"""
    shares: Int64[Tensor, " positions"] | None
    """how many each key has, those of one side by side; None where the key itself is meant"""


class _Lists(NamedTuple):
    """The keys that any query of a block holds, block by block."""

    key: Int32[Tensor, " entries"]
    share: Int64[Tensor, " entries"]
    """its number where all entries of a key stand side by side, in the order of blocks"""
    shares: Int64[Tensor, " positions"]
    """entries of each key"""
    bounds: Int64[Tensor, " blocks+1"]
    """where the list of each block begins, and where the last ends"""


def codes(selections: Selections, runs: Runs) -> Int32[Tensor, "parts 3 rows length"]:
    """Code, low and high of every part, `TopK` first: query i holds key j <= i iff low_i <= code_j < high_i."""
    of_selections = (torch.stack([rank, threshold, torch.full_like(rank, rank.shape[1])]) for rank, threshold in selections)
    of_runs = (torch.stack([key_order.argsort(dim=1), start, end]) for key_order, _, start, end in runs)
    return torch.stack([*of_selections, *of_runs]).to(torch.int32)


def over_keys(selections: Selections, runs: Runs) -> Iterator[Walk]:
    """A walk for every part, in which queries own."""
    for rank, threshold in selections:
        lists, block = _listed(rank, threshold), _blocks(rank)
        yield Walk(_positions(rank).to(torch.int32), lists.bounds[block], lists.bounds[block + 1], lists.key)
    for key_order, query_order, start, end in runs:
        yield _placed(query_order, start.gather(1, query_order), end.gather(1, query_order), key_order)


def over_queries(selections: Selections, runs: Runs) -> Iterator[tuple[Walk, Sums]]:
    """A walk for every part, in which keys own."""
    for rank, threshold in selections:
        yield _over_blocks(_listed(rank, threshold), *rank.shape)
    for key_order, query_order, start, end in runs:
        first, last = (torch.searchsorted(side.gather(1, query_order), _positions(key_order), right=True) for side in (end, start))
        yield _placed(key_order, first, last, query_order), Sums(key_order + _firsts(key_order), None)


def _listed(rank: PerRow, threshold: PerRow) -> _Lists:
    """A key is held without a break, because thresholds never fall: by the blocks from its own to the last before its eviction."""
    position, block = _positions(rank), _blocks(rank)
    until = torch.searchsorted(threshold, rank, right=True)
    further = (until - 1).div(BLOCK, rounding_mode="floor") - position // BLOCK
    shares = torch.where(until > position, further + 1, 0).flatten()
    number = torch.repeat_interleave(shares)  # of the key, for each of its shares
    nth = torch.arange(len(number), device=rank.device) - (shares.cumsum(dim=0) - shares)[number]
    held_by, share = (block.flatten()[number] + nth).sort(stable=True)
    blocks = torch.arange(len(rank) * -(-rank.shape[1] // BLOCK) + 1, device=rank.device)
    return _Lists((number[share] % rank.shape[1]).to(torch.int32), share, shares, torch.searchsorted(held_by, blocks))


def _over_blocks(lists: _Lists, rows: int, length: int) -> tuple[Walk, Sums]:
    """The keys of a list own, filled up to whole blocks, and walk along the queries of its block."""
    first, last = lists.bounds[:-1, None], lists.bounds[1:, None]
    most = BLOCK * max(1, -(-int((last - first).amax()) // BLOCK))
    place = first + torch.arange(most, device=first.device)
    place = place.masked_fill(place >= last, len(lists.key))
    own, into = F.pad(lists.key, (0, 1), value=length)[place], F.pad(lists.share, (0, 1), value=-1)[place]
    position = torch.arange(rows * length, device=first.device)
    begin = position.view(rows, length)[:, ::BLOCK].reshape(-1, 1)
    end = torch.minimum(begin + BLOCK, (begin // length + 1) * length).masked_fill(own == length, 0)
    own, begin, end, into = (x.expand_as(own).contiguous().view(rows, -1) for x in (own, begin, end, into))
    return Walk(own, begin, end, (position % length).to(torch.int32)), Sums(into, lists.shares)


def _positions(like: PerRow) -> PerRow:
    """0 .. length - 1 in every row."""
    return torch.arange(like.shape[1], device=like.device).repeat(len(like), 1)


def _firsts(like: PerRow) -> Int64[Tensor, "rows 1"]:
    """The place of every row's first position, through all rows."""
    return torch.arange(len(like), device=like.device)[:, None] * like.shape[1]


def _blocks(like: PerRow) -> PerRow:
    """The number of every position's block, through all rows."""
    position = _positions(like)
    return position // BLOCK + torch.arange(len(like), device=like.device)[:, None] * -(-like.shape[1] // BLOCK)


def _placed(own: PerRow, begin: PerRow, end: PerRow, along: PerRow) -> Walk:
    """A walk along lists of a whole row, of which begin and end are told within the row."""
    return Walk(own.to(torch.int32), begin + _firsts(own), end + _firsts(own), along.flatten().to(torch.int32))
