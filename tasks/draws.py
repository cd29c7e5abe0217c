"""Exact draws from random words, vectorised over the rows of a batch: integers, ordered subsets, weighted subsets."""

import numpy as np
from jaxtyping import Float64, Int64, UInt32, UInt64

Words = UInt64[np.ndarray, "count _"]
"""64-bit random words, a row for each sample; the anonymous axis lets one call take several widths"""


def halves(words: UInt64[np.ndarray, "count draws"]) -> UInt32[np.ndarray, "count two_draws"]:
    """Each 64-bit word as two words of 32 bits: enough for an integer below a small bound, at half the cost."""
    return np.ascontiguousarray(words).view(np.uint32)


def halved(draws: int) -> int:
    """64-bit words that hold `draws` words of 32 bits."""
    return -(-draws // 2)


def below(words: UInt64[np.ndarray, "count draws"] | UInt32[np.ndarray, "count draws"], bound: int) -> Int64[np.ndarray, "count draws"]:
    """floor(w * bound / 2^32) for the upper 32 bits w of each word: uniform on 0 .. bound-1 up to a bias of bound / 2^32 in total.

    Integer arithmetic only, so equal on every platform. Raises ValueError unless 1 <= bound < 2^32.
    """
    if not 1 <= bound < 2**32:
        raise ValueError(f"bound must lie in 1 .. 2**32-1, got {bound}")
    return _scaled(words, np.uint64(bound))


def _scaled(
    words: UInt64[np.ndarray, "count draws"] | UInt32[np.ndarray, "count draws"], bounds: np.uint64 | UInt64[np.ndarray, " draws"]
) -> Int64[np.ndarray, "count draws"]:
    """floor(w * bound / 2^32), in one array: fresh memory costs more than the arithmetic."""
    upper = words.astype(np.uint64) if words.dtype == np.uint32 else words >> np.uint64(32)
    upper *= bounds
    upper >>= np.uint64(32)
    return upper.view(np.int64)


def distinct(
    words: UInt64[np.ndarray, "count draws"] | UInt32[np.ndarray, "count draws"], population: int
) -> Int64[np.ndarray, "count draws"]:
    """An ordered draw without replacement from 0 .. population-1, one word a draw; `draws == population` gives a permutation.

    Fisher-Yates on an array that is never made: step t swaps cell t with a cell r_t >= t, and the draw is what r_t held. A cell holds its
    own number until a step s hits it; then it holds what cell s held at that step. So the draws are the r_t themselves, except where a
    cell is hit again. Raises ValueError unless draws <= population < 2^32.
    """
    draws = words.shape[1]
    if not draws <= population < 2**32:
        raise ValueError(f"population must lie in draws={draws} .. 2**32-1, got {population}")
    steps = np.arange(draws)
    hit = _scaled(words, (population - steps).astype(np.uint64))
    hit += steps
    # one sort brings the steps that hit the same cell together, in their order
    step_bits = draws.bit_length()
    by_cell = hit << step_bits
    by_cell |= steps
    by_cell.sort(axis=1)
    row, at = np.nonzero((by_cell[:, 1:] ^ by_cell[:, :-1]) < 1 << step_bits)
    if row.size:
        before, again = by_cell[row, at] & ((1 << step_bits) - 1), by_cell[row, at + 1] & ((1 << step_bits) - 1)
        hit[row, again] = _held(hit, row, before)
    return hit


def _held(
    hit: Int64[np.ndarray, "count draws"], row: Int64[np.ndarray, " asked"], step: Int64[np.ndarray, " asked"]
) -> Int64[np.ndarray, " asked"]:
    """What cell `step` of a row held when step `step` came: what the last step that had hit it found in its own cell, and so on back."""
    last_hit_by = np.tile(np.arange(hit.shape[1]), (len(hit), 1))
    # in order of steps, so that the last that hits a cell remains; a step that hits its own cell is never asked about
    at_row, at_step = np.nonzero(hit < hit.shape[1])
    last_hit_by[at_row, hit[at_row, at_step]] = at_step
    while np.any((before := last_hit_by[row, step]) != step):
        step = before
    return step


def unit_interval(words: UInt64[np.ndarray, "count draws"]) -> Float64[np.ndarray, "count draws"]:
    """Numbers strictly between 0 and 1: the upper 52 bits, centred in their cell (with 53 the half would round the largest up to 1)."""
    numbers = (words >> np.uint64(12)).astype(np.float64)
    numbers += 0.5
    numbers *= 2.0**-52
    return numbers


def race(
    words: UInt64[np.ndarray, "count slots"], weights: Float64[np.ndarray, " slots"], winners: int
) -> Int64[np.ndarray, "count winners"]:
    """`winners` slots drawn without replacement with probability proportional to weight, in the order drawn; one word a slot.

    Slot s rings at -log(u_s) / weight_s; the first to ring are in law the sequential weighted draws (exponential race), as in
    `numpy.random.Generator.choice(replace=False, p=...)`. Raises ValueError if there are fewer slots than winners.
    """
    slots = words.shape[1]
    if winners > slots:
        raise ValueError(f"winners must be at most slots={slots}, got {winners}")
    rings = unit_interval(words)
    np.log(rings, out=rings)
    rings /= -weights
    # positive floats are ordered as the integers of the same bits; the lowest bits of a time make room for its slot, so that values are
    # sorted instead of indices, which is several times as fast
    slot_mask = (1 << slots.bit_length()) - 1
    keyed = rings.view(np.int64)
    keyed &= ~slot_mask
    keyed |= np.arange(slots)
    if 0 < winners < slots:
        keyed = np.partition(keyed, winners - 1, axis=1)
    first = np.sort(keyed[:, :winners], axis=1)
    first &= slot_mask
    return first
