"""Where Mamba's paper discretises the input by zero-order hold, its code uses Euler's rule: x / (1 - exp(-x)) times as much, x = d |A_n|.

Zero-order hold solves h' = A h + B u over a step of length d on which u is held: h(d) = exp(d A) h(0) + (exp(d A) - 1) / A B u. Euler's rule takes
the step's start for all of it, d B u. The ratio of the two is d A / (exp(d A) - 1) = x / (1 - exp(-x)) = 1 + x/2 + x^2/12 - ...: Euler's input is
too large by 2.5 % at x = 0.05 and 58 % at x = 1 (as a share of itself by 2.5 % and 37 %), and by a factor of about x where x is large. The
decay exp(d A) is the same. Cut into m steps of d/m, the hold is what it was, and Euler's rule comes near it: x/m takes the place of x.

Where d is constant, B can take the factor in. Where it depends on the token it cannot, as B is shared by channels with other x: the two are
models of their own, with the same decays.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...kernels.selective_scan import reference
from ..claim import Claim, Evidence, Scale

PIECES = (1, 4, 16)
"""into how many steps one is cut"""
RULES: tuple[Literal["zoh", "euler"], ...] = ("zoh", "euler")


def held(x: Tensor, discretise: Literal["euler", "zoh"], pieces: int) -> Tensor:
    """The state after an input of 1 was held over a step x, cut into `pieces` equal ones, with A = -1 and B = 1; of x's shape `[steps]`."""
    steps = (x / pieces)[:, None, None].expand(-1, pieces, 1)
    ones = torch.ones_like(steps)
    _, state = reference.selective_scan(ones, steps, -ones[0, :1], ones, ones, None, None, None, False, None, discretise)
    return state.flatten()


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence by the reference body of the kernel, which knows both rules, against the solution 1 - exp(-x) in float64."""
    del seed  # nothing is drawn
    x = np.append(np.geomspace(1e-3, 20, 40 if scale == "quick" else 2000), [0.05, 1.0])
    shares = np.array([x / pieces for pieces in PIECES])
    states = [[held(torch.from_numpy(x), rule, pieces).numpy() for pieces in PIECES] for rule in RULES]
    return Evidence(
        quantity="input left in the state as a multiple of the exact solution: zero-order hold, then Euler's rule, in 1, 4 and 16 steps",
        measured=np.array(states) / -np.expm1(-x),
        predicted=np.stack([np.ones_like(shares), shares / -np.expm1(-shares)]),
        tolerance=1e-11,  # rounding of 1 - exp(-x) at the smallest x
        arrays={"x": x, "euler_over_hold": x / -np.expm1(-x)},
    )


ZOH_VS_EULER = Claim(
    name="mamba.zoh_vs_euler",
    statement=(
        "Mamba's code, which discretises the input by Euler's rule, takes in x / (1 - exp(-x)) times what the zero-order hold printed in the paper "
        "does, x = d |A_n| being step times rate: 2.5 % more at x = 0.05, 58 % at x = 1. The hold is exact for an input that is held."
    ),
    source="new; arXiv:2312.00752, eq. 4, against the published code",
    standing="new",
    check=_check,
)
