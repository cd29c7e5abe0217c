"""Sparse attention on a CPU, pattern by pattern, against masks: time, growth with length, memory.

One head of one sequence, float32, one thread. Ours is timed whole, from queries, keys and the scores of keys to the output, selection included.
The others are given the pattern as a mask: PyTorch's fused attention ("ready mask", made beforehand; "mask built", made each time) and the
definition, every score ("dense"; it makes its own). Both sides run in this process in turns, each counts its best turn, and outputs and
gradients are compared before anything is timed. Memory is that of a process of its own.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recall_lab.cli.printing import say
from recall_lab.kernels import (
    Dilated,
    Pattern,
    Ranges,
    Sink,
    Strided,
    TopK,
    Union,
    Window,
    bin_ranges,
    causal_topk,
    hash_bins,
    pattern_mask,
    sparse_attention,
)

from .own_process import in_own_process, peak_of
from .paired import Row, growth_exponents, in_turns

WIDTH, VALUE_WIDTH, HASH_BITS = 32, 128, 8
HELD, BUDGET = 32, 64
"""keys held by a selection; what a window holds, and the step of what is dilated or strided"""
LENGTHS = tuple(1 << power for power in range(10, 17))
MASKED_LENGTHS = LENGTHS[:4]
"""up to where a mask, length x length, is affordable: at the last a score of every pair takes a second or two"""
PAPERS_LENGTH = 1058
"""of the largest table in the paper's joint recall"""
PASSES = {"forward": LENGTHS[3], "forward and backward": LENGTHS[2]}
"""and the length at which each is compared with masks"""
TURNS, MASKED_TURNS, SHORT_TURNS = 3, 2, 9
"""of lengths; against masks, where a turn takes seconds; at the paper's length, where it takes milliseconds"""

LINEAR_GROWTH = 1.15
"""the exponent of length up to which a time counts as linear: calls of fixed cost bend it below 1, caches above"""
DENSE_GROWTH = 1.8
"""the exponent that a score of every pair must show at least, or the lengths are too short to tell growth"""
MEMORY_LENGTHS = LENGTHS[-3], LENGTHS[-1]
MEMORY_GROWTH = 1.1
MEGABYTES = 400
"""what both passes at the last of them may take beside their inputs"""
AGREED = 1e-5
"""difference allowed between two sides, of the largest entry: float32 sums in different orders"""


class Inputs(NamedTuple):
    """What attention reads, the scores by which keys are held, and the planes that hash."""

    query: Tensor
    key: Tensor
    value: Tensor
    scores: Tensor
    planes: Tensor


Select = Callable[[Inputs], Pattern]
Attend = Callable[[], Tensor]
Turn = Callable[[], tuple[Tensor, ...]]
"""the output, then the gradients in query, key and value if there is a backward pass"""


def lsh(x: Inputs) -> Ranges:
    """The last HELD keys of the query's bin."""
    return bin_ranges(hash_bins(x.query, x.planes), hash_bins(x.key, x.planes), HELD)


def ks(x: Inputs) -> TopK:
    """The HELD keys of highest score."""
    return causal_topk(x.scores, HELD)


BY_CONTENT: dict[str, Select] = {"hax": lambda x: Union(lsh(x), ks(x)), "ks": ks, "lsh": lsh}
"""patterns that have bars"""
PATTERNS: dict[str, Select] = BY_CONTENT | {
    "window": lambda _: Window(BUDGET),
    "sink+window": lambda _: Union(Sink(HELD), Window(HELD)),
    "dilated": lambda _: Dilated(BUDGET),
    "window+dilated": lambda _: Union(Window(HELD), Dilated(BUDGET)),
    "strided": lambda _: Strided(BUDGET),
}
"""all; with a fixed step, what is dilated or strided stays quadratic"""

BARS = {
    ("hax", "forward"): 6.0,
    ("ks", "forward"): 25.0,
    ("hax", "forward and backward"): 3.0,
    ("ks", "forward and backward"): 3.0,
    ("lsh", "forward and backward"): 3.0,
}
"""how many times as fast as a ready mask, at the lengths of PASSES"""


def measure() -> list[Row]:
    """A ratio meets its bar where it is at least as large."""
    torch.set_num_threads(1)
    rows = [dense_growth(), *memory_against_masks()]
    for name in PATTERNS:
        say(f"  {name}: lengths {LENGTHS[0]} to {LENGTHS[-1]}, against masks up to {MASKED_LENGTHS[-1]}")
        rows += [*against_masks(name), *at_papers_length(name), *growth(name), *memory(name)]
    return rows


def against_masks(name: str) -> list[Row]:
    """Either pass at its length, against the mask made beforehand and against every score."""
    return [
        compared(name, side, passes, length, MASKED_TURNS, BARS.get((name, passes)) if side == "ready mask" else None)
        for passes, length in PASSES.items()
        for side in ("ready mask", "dense")
    ]


def at_papers_length(name: str) -> list[Row]:
    """Where a mask is small: ours may take 1.2 times as long as building it and attending under it."""
    bar = 1 / 1.2 if name in BY_CONTENT else None
    return [compared(name, "mask built", passes, PAPERS_LENGTH, SHORT_TURNS, bar) for passes in PASSES]


def compared(name: str, other: str, passes: str, length: int, turns: int, bar: float | None) -> Row:
    """Ours against another side. Raises AssertionError where they differ."""
    our_turn, other_turn = (turn(side, name, passes, length) for side in ("ours", other))
    for a, b in zip(our_turn(), other_turn(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=AGREED * b.abs().max().item())
    taken, others = in_turns(our_turn, other_turn, turns)
    return Row(f"{label(name)} / {other}, {passes}, length {length}", taken, others, others / taken, bar, SHAPE)


def growth(name: str) -> list[Row]:
    """A row for each pass: how our time grows over all lengths."""
    forward, both = PASSES
    pairs = [in_turns(turn("ours", name, forward, length), turn("ours", name, both, length), TURNS) for length in LENGTHS]
    bar = 1.0 if name in BY_CONTENT else None
    rows = []
    for passes, exponent, times in zip(PASSES, growth_exponents(LENGTHS, pairs), zip(*pairs, strict=True), strict=True):
        steps = ", ".join(f"{1e3 * seconds:.3g}" for seconds in times)
        note = f"time as length^{exponent:.2f}, lengths {LENGTHS[0]} to {LENGTHS[-1]}: {steps} ms; ratio = allowed {LINEAR_GROWTH} / ours"
        rows.append(Row(f"{label(name)}, {passes}, growth", times[-1], None, LINEAR_GROWTH / exponent, bar, note))
    return rows


def dense_growth() -> Row:
    """How the time of every score grows, and that of the fused attention: what the exponents of `growth` stand against."""
    say(f"  dense and ready mask: lengths {MASKED_LENGTHS[0]} to {MASKED_LENGTHS[-1]}")
    pairs = [
        in_turns(turn("dense", "hax", "forward", length), turn("ready mask", "hax", "forward", length), TURNS) for length in MASKED_LENGTHS
    ]
    exponent, fused = growth_exponents(MASKED_LENGTHS, pairs)
    note = f"time as length^{exponent:.2f}, under a ready mask as length^{fused:.2f}; ratio = {exponent:.2f} / {DENSE_GROWTH}"
    return Row("dense / ready mask, forward, growth", *pairs[-1], exponent / DENSE_GROWTH, 1.0, note)


def memory_against_masks() -> list[Row]:
    """What both passes take where masks are affordable; seconds are those of the processes."""
    passes, length = list(PASSES.items())[-1]
    say(f"  memory of {passes}, length {length}")
    taken = {side: in_own_process(__name__, side, "hax", length) for side in ("ours", "mask built", "dense")}
    ours_s, least = taken.pop("ours")
    return [
        Row(
            f"{label('hax')} / {side}, memory, length {length}", ours_s, other_s, other / least, None,
            f"{least / 1e6:.0f} MB beside the inputs, the other {other / 1e6:.0f} MB; {passes}; seconds of the whole process",
        )
        for side, (other_s, other) in taken.items()
    ]  # fmt: skip


def memory(name: str) -> list[Row]:
    """What both passes take at the greatest length, and how that grows."""
    (first_s, first), (last_s, last) = (in_own_process(__name__, "ours", name, length) for length in MEMORY_LENGTHS)
    exponent, _ = growth_exponents(MEMORY_LENGTHS, [(first, 1.0), (last, 1.0)])
    bar = 1.0 if name in BY_CONTENT else None
    most = f"{last / 1e6:.0f} MB beside the inputs, {MEGABYTES} allowed; ratio = allowed / taken; seconds of the whole process"
    grows = f"{first / 1e6:.0f} MB at length {MEMORY_LENGTHS[0]}: as length^{exponent:.2f}; ratio = allowed {MEMORY_GROWTH} / ours"
    return [
        Row(f"{label(name)}, memory, length {MEMORY_LENGTHS[1]}", last_s, None, MEGABYTES * 1e6 / last, bar, most),
        Row(f"{label(name)}, memory, growth", first_s + last_s, None, MEMORY_GROWTH / exponent, bar, grows),
    ]


def label(name: str) -> str:
    """How rows begin."""
    return f"sparse_attention, {name}"


SHAPE = f"{WIDTH} and {VALUE_WIDTH} wide, {HELD} keys held, {HASH_BITS} hash bits, 1 head, float32, 1 thread; selection is part of ours"


def sparse(x: Inputs, select: Select) -> Attend:
    """Selection and what is done with it."""
    return lambda: sparse_attention(x.query, x.key, x.value, select(x), backend="eager")


def under_ready_mask(x: Inputs, select: Select) -> Attend:
    """PyTorch's fused attention under a mask that costs nothing."""
    mask = pattern_mask(select(x), x.query.shape[2])
    return lambda: F.scaled_dot_product_attention(x.query, x.key, x.value, attn_mask=mask)


def under_built_mask(x: Inputs, select: Select) -> Attend:
    """The same and the mask, but not the selection behind it."""
    pattern = select(x)
    return lambda: F.scaled_dot_product_attention(x.query, x.key, x.value, attn_mask=pattern_mask(pattern, x.query.shape[2]))


def every_score(x: Inputs, select: Select) -> Attend:
    """Every score, the mask, the softmax; without the selection."""
    pattern = select(x)
    return lambda: sparse_attention(x.query, x.key, x.value, pattern, backend="reference")


SIDES: dict[str, Callable[[Inputs, Select], Attend]] = {
    "ours": sparse,
    "ready mask": under_ready_mask,
    "mask built": under_built_mask,
    "dense": every_score,
}


def turn(side: str, name: str, passes: str, length: int) -> Turn:
    """One of PASSES of one of SIDES, on the same numbers at every call."""
    x = drawn(length)
    attend = SIDES[side](x, PATTERNS[name])
    if passes == "forward":
        return lambda: (attend(),)
    grad = x.value.flip(2)
    leaves = [tensor.requires_grad_() for tensor in (x.query, x.key, x.value)]

    def both() -> tuple[Tensor, ...]:
        output = attend()
        return output, *torch.autograd.grad(output, leaves, grad)

    return both


def drawn(length: int) -> Inputs:
    """Standard normal numbers: a bin holds a 2^HASH_BITS-th of the keys, more or less."""
    generator = torch.Generator().manual_seed(length)
    shapes = (1, 1, length, WIDTH), (1, 1, length, WIDTH), (1, 1, length, VALUE_WIDTH), (1, 1, length), (WIDTH, HASH_BITS)
    return Inputs(*(torch.randn(shape, generator=generator) for shape in shapes))


def peak_beside_inputs(side: str, name: str, length: int) -> int:
    """Bytes by which this process's memory peaks above what it holds before both passes; for a process that does nothing else (Linux)."""
    torch.set_num_threads(1)
    turn(side, name, "forward and backward", LENGTHS[0])()  # what is imported or cached on first use is no cost of the passes
    both = turn(side, name, "forward and backward", length)
    return peak_of(both)[0]


if __name__ == "__main__":
    print(peak_beside_inputs(sys.argv[1], sys.argv[2], int(sys.argv[3])))
