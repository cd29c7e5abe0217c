"""The scans of Mamba and Mamba-2 on a CPU, bare and within their layers, against the public implementations: time, growth, memory.

A turn is a forward and a backward pass, float32, one thread; both sides run in this process in turns, each counts its best turn, and outputs
and all gradients are compared before anything is timed. The peers: mambapy's parallel scan, which keeps every state, and the layers of
transformers as they run without a GPU's kernels.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mambapy.pscan import pscan
from torch import Tensor, nn

from recall_lab.cli.printing import say
from recall_lab.kernels import selective_scan, ssd
from recall_lab.models.mamba import Mamba, MambaConfig
from recall_lab.models.mamba2 import CHUNK, Mamba2, Mamba2Config

from .own_process import in_own_process, peak_of
from .paired import Row, growth_exponents, in_turns

Scan = Callable[..., Tensor]
"""from the tensors that `scan_inputs` or `ssd_inputs` draws, in their order, to the output"""
Pass = Callable[[], tuple[Tensor, ...]]
"""a forward and a backward pass: the output, then every gradient"""

BATCH, LENGTH, WIDTH, STATES = 8, 512, 64, 16
CHANNELS = 2 * WIDTH
HEAD_WIDTHS = (16, 32, 64)
"""of Mamba-2: our default and that of the published models are the ends; all carry CHANNELS x STATES scalars, as Mamba does"""

LENGTHS = tuple(2**power for power in range(8, 14))
FEW = 2
"""sequences of a batch of such lengths"""
LINEAR_GROWTH = 1.15
"""the exponent of length up to which a time counts as linear: calls of fixed cost bend it below 1, caches above"""
LONG = 16384
"""tokens of the sequence on which memory is measured"""

AGREED = 1e-5
"""difference allowed between two sides, of the largest entry: float32 sums in different orders"""


def measure() -> list[Row]:
    """A ratio meets its bar where it is at least as large."""
    torch.set_num_threads(1)
    return [
        *bare(),
        *layers(),
        *by_length("selective_scan / mambapy's pscan", scan, parallel_scan, scan_inputs),
        *by_length("ssd / selective_scan", ssd_heads, scan_heads, ssd_inputs),
        memory(),
    ]


def bare() -> list[Row]:
    """The operators alone."""
    shape = f"batch {BATCH}, length {LENGTH}, {CHANNELS} channels, {STATES} states each"
    say(f"  the bare scans: {shape}")
    taken = seconds(scan, parallel_scan, scan_inputs(BATCH, LENGTH), turns=7)
    rows = [row("selective_scan / mambapy's pscan", taken, 4.0, shape)]
    for width in HEAD_WIDTHS:
        taken = seconds(ssd_heads, scan_heads, ssd_inputs(BATCH, LENGTH, width), turns=7)
        rows.append(
            row(f"ssd / selective_scan, heads {width} wide", taken, 1.5, f"{shape}; the channels of a head share decay and step size")
        )
    return rows


def row(what: str, taken: tuple[float, float], bar: float | None, note: str) -> Row:
    """Two times as a row."""
    ours, other = taken
    return Row(what, ours, other, other / ours, bar, note)


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Ours, of Mamba."""
    return selective_scan(u, delta, A, B, C, dt_softplus=False, backend="eager")


def parallel_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """mambapy's, between what goes into the states and what is read from them."""
    states: Tensor = pscan(torch.exp(delta[..., None] * A), (delta * u)[..., None] * B[:, :, None])
    return (states @ C[..., None]).squeeze(-1)


def scan_inputs(batch: int, length: int) -> list[Tensor]:
    """u, delta, A, B, C with rates and step sizes as in a layer before training."""
    u, step, B, C = drawn(batch, length, (CHANNELS,), (CHANNELS,), (STATES,), (STATES,))
    return [u, 0.1 * step.sigmoid(), -torch.arange(1.0, STATES + 1).repeat(CHANNELS, 1), B, C]


def ssd_heads(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Ours, of Mamba-2."""
    return ssd(x, delta, A, B, C, dt_softplus=False, backend="eager")


def scan_heads(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The same by the scan of Mamba: every channel of a head is given its step size, every state its rate."""
    head_width = x.shape[3]
    steps, rates = delta.repeat_interleave(head_width, dim=2), A.repeat_interleave(head_width)[:, None].expand(-1, STATES)
    return scan(x.flatten(2), steps, rates, B[:, :, 0], C[:, :, 0]).view_as(x)


def ssd_inputs(batch: int, length: int, head_width: int = HEAD_WIDTHS[0]) -> list[Tensor]:
    """x, delta, A, B, C with rates and step sizes as in a layer before training, one group."""
    heads = CHANNELS // head_width
    x, step, B, C = drawn(batch, length, (heads, head_width), (heads,), (1, STATES), (1, STATES))
    return [x, 0.1 * step.sigmoid(), -torch.linspace(1, 16, heads), B, C]


def drawn(batch: int, length: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Standard normal numbers, one tensor a shape, the same at every call."""
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(batch, length, *shape, generator=generator) for shape in shapes]


def seconds(ours: Scan, other: Scan, inputs: list[Tensor], turns: int) -> tuple[float, float]:
    """Best turn of each on the same tensors, once they are seen to agree."""
    our_pass, other_pass = (scan_pass(side, inputs) for side in (ours, other))
    check(our_pass, other_pass)
    return in_turns(our_pass, other_pass, turns)


def scan_pass(side: Scan, inputs: list[Tensor]) -> Pass:
    """With the gradient in every input; the output has the shape of the first."""
    leaves = [x.requires_grad_() for x in inputs]
    return differentiated(lambda: side(*leaves), leaves, inputs[0].detach().flip(1))


def layer_pass(layer: nn.Module, x: Tensor) -> Pass:
    """With the gradient in every parameter."""
    weights = [weight for _, weight in sorted(layer.named_parameters())]
    return differentiated(lambda: layer(x), weights, x.flip(1))


def differentiated(function: Callable[[], Tensor], leaves: Sequence[Tensor], grad: Tensor) -> Pass:
    """The pass of `function`, given the gradient in its output."""

    def both() -> tuple[Tensor, ...]:
        output = function()
        return output, *torch.autograd.grad(output, leaves, grad)

    return both


def check(ours: Pass, other: Pass) -> None:
    """Raises AssertionError where the two differ."""
    for a, b in zip(ours(), other(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=AGREED * b.abs().max().item())


def layers() -> list[Row]:
    """Whole layers with the same weights: ours load what the others drew."""
    from mambapy import mamba as mambapy
    from transformers import Mamba2Config as PublishedMamba2Config
    from transformers import MambaConfig as PublishedMambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    torch.manual_seed(0)
    published: dict[str, Any] = {"hidden_size": WIDTH, "state_size": STATES, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"head_dim": HEAD_WIDTHS[0], "num_heads": CHANNELS // HEAD_WIDTHS[0], "n_groups": 1, "chunk_size": CHUNK}
    block = mambapy.MambaBlock(mambapy.MambaConfig(d_model=WIDTH, n_layers=1, d_state=STATES))
    mixer = MambaMixer(PublishedMambaConfig(**published, use_mambapy=False), layer_idx=0)
    mixer2 = Mamba2Mixer(PublishedMamba2Config(**published, **heads, tie_word_embeddings=False), layer_idx=0)
    mamba = Mamba(MambaConfig(width=WIDTH, state_width=STATES))
    mamba2 = Mamba2(Mamba2Config(width=WIDTH, state_width=STATES, head_width=HEAD_WIDTHS[0]))
    say("  the layers; a turn of transformers' MambaMixer takes most of a minute")
    return [
        layer_row("Mamba / mambapy's MambaBlock", mamba, block, 4.0, turns=3),
        layer_row("Mamba2 / transformers' Mamba2Mixer", mamba2, mixer2, None, turns=3),
        # its backward pass writes the gradient of all states once for every token: 64 tokens are compared, and one turn must do
        layer_row("Mamba / transformers' MambaMixer", mamba, mixer, 50.0, turns=1, compared=64),
    ]


def layer_row(what: str, ours: nn.Module, other: nn.Module, bar: float | None, *, turns: int, compared: int = LENGTH) -> Row:
    """A row; the first `compared` tokens are those on which outputs and gradients must agree."""
    ours.load_state_dict(other.state_dict())
    (x,) = drawn(BATCH, LENGTH, (WIDTH,))
    check(*(layer_pass(layer, x[:, :compared]) for layer in (ours, other)))
    taken = in_turns(layer_pass(ours, x), layer_pass(other, x), turns)
    note = f"same weights, {WIDTH} wide, batch {BATCH}, length {LENGTH}, the first {compared} tokens compared; turns: {turns}"
    return row(what, taken, bar, note)


def by_length(what: str, ours: Scan, other: Scan, inputs: Callable[[int, int], list[Tensor]]) -> list[Row]:
    """A row a length, and one for the growth of our time over the lengths."""
    say(f"  {what}: lengths {LENGTHS[0]} to {LENGTHS[-1]}")
    pairs = [seconds(ours, other, inputs(FEW, length), turns=5) for length in LENGTHS]
    shape = f"batch {FEW}, {CHANNELS} channels, {STATES} states each; of Mamba-2: in heads {HEAD_WIDTHS[0]} wide"
    rows = [row(f"{what}, length {length}", taken, 1.0, shape) for length, taken in zip(LENGTHS, pairs, strict=True)]
    growth, other_growth = growth_exponents(LENGTHS, pairs)
    note = f"time as length^{growth:.2f}, the other's as length^{other_growth:.2f}; ratio = allowed {LINEAR_GROWTH} / ours"
    return [*rows, Row(f"{what}, growth", *pairs[-1], LINEAR_GROWTH / growth, 1.0, note)]


SIDES = {"selective_scan": scan, "pscan": parallel_scan}
"""scans whose memory is measured, by the names under which a process of its own is told"""


def memory() -> Row:
    """Peak memory of each in a process of its own, less what it had before; the seconds are those of the processes."""
    say(f"  memory: length {LONG}")
    (ours_s, ours), (other_s, other) = (in_own_process(__name__, name) for name in SIDES)
    note = f"batch 1, length {LONG}: {ours >> 20} MiB beside the inputs, the other {other >> 20} MiB; seconds of the whole process"
    return Row("selective_scan / mambapy's pscan, memory", ours_s, other_s, other / ours, 1.0, note)


def peak_beside_inputs(side: Scan) -> int:
    """Bytes by which this process's memory peaks above what it holds before a pass; for a process that does nothing else (Linux)."""
    torch.set_num_threads(1)
    scan_pass(side, scan_inputs(1, 64))()  # what is imported or cached on first use is no cost of the scan
    turn = scan_pass(side, scan_inputs(1, LONG))
    return peak_of(turn)[0]


if __name__ == "__main__":
    print(peak_beside_inputs(SIDES[sys.argv[1]]))
