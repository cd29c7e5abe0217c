"""A scan written as two cumulative sums leaves float32 at the first token where the steps times the rate add up to more than 128 ln 2 = 88.7.

h_t = exp(-c_t) sum_{s<=t} exp(c_s) x_s with c_t = |A| (d_1 + ... + d_t) solves h_t = exp(d_t A) h_{t-1} + x_t, A < 0, without a loop. But
exp(c_s) is infinite in float32 iff c_s > 128 ln 2 = 88.72, up to rounding, whatever the inputs, and from there on there is no answer. Nothing
fails before if |x_s| <= 1 - exp(-d_s |A|), inputs that keep h within 1: then the sum is at most sum_s exp(c_s) - exp(c_{s-1}) = exp(c_t) - 1.
Rates of 1 .. 16 and steps between 0.001 and 0.1, as Mamba begins with, come to it after 4000 to 300 tokens.

Digits are lost on the way, but few: c near 88 is known to 2^-18 = 4e-6, which is the relative error of its exponential. A slab or chunk whose
exponents are sums of terms of one sign has neither trouble: what is rounded away is a share of the exponent, and where that is large, exp is 0.
"""

import math

import numpy as np
import torch
from torch import Tensor

from ...kernels import selective_scan
from ..claim import Claim, Evidence, Scale

LARGEST_EXPONENT = math.log(torch.finfo(torch.float32).max)
"""88.72: beyond it exp is infinite in float32"""
RATES = torch.arange(1.0, 17.0, dtype=torch.float64)


def by_two_sums(x: Tensor, exponents: Tensor) -> Tensor:
    """exp(-c_t) sum_{s<=t} exp(c_s) x_s with c the running sum of `exponents`, along axis 0, in the dtype given: the form that fails."""
    c = exponents.cumsum(dim=0)
    return (-c).exp() * (x * c.exp()).cumsum(dim=0)


def by_scan(u: Tensor, steps: Tensor, rates: Tensor) -> Tensor:
    """The same states for x = steps u, by `selective_scan`; u and steps `[length, channels]`, a rate a channel."""
    ones = torch.ones_like(u[None, :, :1])
    return selective_scan(u[None], steps[None], -rates[:, None], ones, ones, dt_softplus=False)[0]


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on random inputs and steps from exp(U[ln 0.001, ln 0.1]), in a channel for each of the rates 1 .. 16, against float64."""
    draw = torch.Generator().manual_seed(seed)
    length = 6144
    rows = []
    for _ in range(1 if scale == "quick" else 20):
        steps = (math.log(1e-3) + math.log(100) * torch.rand(length, len(RATES), generator=draw)).exp()
        u = torch.rand(length, len(RATES), generator=draw) - 0.5
        exact, scanned = (by_scan(*(x.to(dtype) for x in (u, steps, RATES))) for dtype in (torch.float64, torch.float32))
        summed = by_two_sums(steps * u, steps * RATES.float())
        fails = (~summed.isfinite()).int().argmax(dim=0)
        predicted = ((steps.double() * RATES).cumsum(dim=0) > LARGEST_EXPONENT).int().argmax(dim=0)
        before = torch.arange(length)[:, None] < fails
        size = exact.abs().max(dim=0).values
        of_sums = torch.where(before, summed - exact, 0.0).abs().max(dim=0).values / size
        of_scan = (scanned - exact).abs().max(dim=0).values / size
        rows.append(torch.stack([fails.double(), predicted.double(), of_sums, of_scan]).numpy())
    fails, predicted, of_sums, of_scan = np.array(rows).swapaxes(0, 1)
    return Evidence(
        quantity="first token without an answer by two sums in float32; their relative error before it; that of the scan",
        measured=np.stack([fails, of_sums, of_scan]),
        at_least=np.stack([predicted, 2 * of_scan, 0 * of_scan]),
        at_most=np.stack([predicted, 0 * of_sums + 5e-5, 0 * of_scan + 1e-6]),
        tolerance=np.array([1.0, 0.0, 0.0])[:, None, None],  # a token: c is rounded as well
        arrays={"rates": RATES.numpy(), "fails": fails, "predicted": predicted, "error_of_sums": of_sums, "error_of_scan": of_scan},
    )


CUMSUM_OVERFLOW = Claim(
    name="mamba.cumsum_overflow",
    statement=(
        "In float32 a diagonal scan written as a quotient of two cumulative sums has no answer from the first token on (within one) where steps "
        "times rate add up to more than 128 ln 2 = 88.7; before it, none is missing if inputs keep the state within 1. With the steps and rates "
        "that Mamba begins with it is off until then by more than twice as much as the scan in slabs, but by less than 5e-5; the scan by less "
        "than 1e-6, over the whole length."
    ),
    source="new; the scan is that of arXiv:2312.00752, algorithm 2",
    standing="new",
    check=_check,
)
