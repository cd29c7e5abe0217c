"""A selective scan that steps by 0 at noise is blind to it: outputs at the other tokens are those of a scan of these tokens alone.

With step 0 a token multiplies the state by exp(0) = 1 and adds 0. So where the step is 1 at data and 0 at noise, the state after a data token
is that of an LTI scan, with decays exp(A), over the data alone: selective copying has become plain copying, where every place is known.

Softplus is never 0. **Claim**: with steps e at noise, the state differs in entry n by at most e times the sum over the noise tokens so far of
|B_n u| + |A_n| |h_n|, h the state of the data alone, which is held there. **Proof**: let g be the state with noise. At data g - h is multiplied
by exp(A_n) <= 1; at noise g becomes exp(e A_n) g + e B_n u, and g - h therefore exp(e A_n) (g - h) + e B_n u - (1 - exp(e A_n)) h, where
0 <= 1 - exp(e A_n) <= e |A_n|. [] With e = softplus(-40) = 4e-18 it is out of sight for float64 over thousands of tokens.
"""

import math

import numpy as np
import torch
from torch import Tensor

from ...kernels import selective_scan
from ..claim import Claim, Evidence, Scale

ONE = math.log(math.e - 1)
"""softplus of this is 1"""
HOLD = (-10.0, -20.0, -40.0, -math.inf)
"""what goes into softplus at noise, so that the step there is 5e-5, 2e-9, 4e-18, 0"""


def states(u: Tensor, dt: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """All states `[length, channels, states]` of a selective scan; u, dt `[length, channels]`, A `[channels, states]`, B `[length, states]`."""
    size = A.shape[1]
    each_read = torch.eye(size, dtype=u.dtype)[:, None].expand(-1, len(u), -1)
    found: Tensor = selective_scan(u.expand(size, -1, -1), dt.expand(size, -1, -1), A, B.expand(size, -1, -1), each_read)
    return found.movedim(0, 2)


def leak(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
    """What noise makes the last state differ by from that of the data alone, and the claim's bound on it, `[channels, states]` both.

    Inputs as for `states`; `data` is True where a token is no noise.
    """
    difference = (states(u, dt, A, B)[-1] - states(u[data], dt[data], A, B[data])[-1]).abs()
    held = states(u, torch.where(data[:, None], dt, -math.inf), A, B)
    noise = torch.where(data[:, None], 0.0, torch.nn.functional.softplus(dt, threshold=40.0))[..., None]
    return difference, (noise * ((B[:, None] * u[..., None]).abs() + A.abs() * held.abs())).sum(dim=0)


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on random data among random noise in random places, in float64; some states fade slowly, some fast."""
    draw = torch.Generator().manual_seed(seed)
    length, channels, size = (400, 3, 4) if scale == "quick" else (4000, 8, 16)

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=draw, dtype=torch.float64) - 1

    found, bounds = [], []
    for share in (0.05, 0.3, 0.9):
        u, A, B = uniform(length, channels), -torch.logspace(-3, 0.5, size, dtype=torch.float64).expand(channels, -1), uniform(length, size)
        data = torch.rand(length, generator=draw) < share
        for hold in HOLD:
            dt = torch.where(data[:, None], ONE, hold).double().expand(-1, channels)
            difference, bound = leak(u, dt, A, B, data)
            found.append(difference.numpy())
            bounds.append(bound.numpy())
    return Evidence(
        quantity="difference that noise makes to a state, where it steps by 5e-5, 2e-9, 4e-18 and 0",
        measured=np.array(found),
        at_most=np.array(bounds),
        tolerance=1e-13,  # rounding: states of size 10 are sums of hundreds of terms
        arrays={"steps": np.log1p(np.exp(HOLD))},
    )


SKIPPING = Claim(
    name="mamba.skipping",
    statement=(
        "Where a selective scan steps by 1 at data and by e at noise, its state after a data token is that of the LTI scan of the data alone, up "
        "to e times the sum of |B_n u| + |A_n| |h_n| over the noise before: for e = 0 the same, for e = softplus(-40) the same to 4e-18 a token."
    ),
    source="new; gating by the step is arXiv:2312.00752, section 3.5.2, and theorem 1",
    standing="new",
    check=_check,
)
