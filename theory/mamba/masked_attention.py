"""y = (L o C B^T) diag(d) x: SSD is attention without softmax, with decays L_ts = exp(A (d_{s+1} + ... + d_t)) in place of the causal mask.

**Proof**: unrolled from a state of 0, s_t = exp(d_t A) s_{t-1} + d_t x_t B_t^T is s_t = sum_{s<=t} exp(A (d_{s+1} + ... + d_t)) d_s x_s B_s^T,
and y_t = s_t C_t. []

Chunks are the same sums in another order. Where a chunk is entered with the state s_{k-1}, the decay from s < k to t >= k is that from s to
k-1 times that from k-1 to t: y_t = exp(A (d_k + ... + d_t)) s_{k-1} C_t, plus the formula above over k <= s <= t. With chunks of 1 this is the
recurrence, with one chunk the attention; what is right for every length of chunk is right for the algorithm (section 6 of the paper).
With A = 0 L is the causal mask, and SSD causal linear attention with queries C, keys B and values d x.
"""

import numpy as np
import torch
from torch import Tensor

from ...kernels import decay_mask, linear_attention, ssd, ssd_matrix
from ..claim import Claim, Evidence, Scale

LENGTH = 50
CHUNKS = (1, 3, 16, LENGTH)


def _far(y: Tensor, other: Tensor) -> float:
    """The largest difference, as a fraction of the largest entry."""
    return float((y - other).abs().max() / other.abs().max())


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence in float64: the recurrence against its chunked forms, the matrix as the kernel has it and as written here, and A = 0."""
    draw = torch.Generator().manual_seed(seed)
    batch, heads, groups, width, states = 2, 4, 2, 3, 5

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    measured = []
    for _ in range(3 if scale == "quick" else 60):
        x, dt, A = normal(batch, LENGTH, heads, width), normal(batch, LENGTH, heads).exp() / 2, -normal(heads).exp()
        B, C = normal(batch, LENGTH, groups, states), normal(batch, LENGTH, groups, states)
        y = ssd(x, dt, A, B, C, dt_softplus=False, backend="reference")
        values = (dt[..., None] * x).transpose(1, 2)
        queries, keys = (z.transpose(1, 2).repeat_interleave(heads // groups, dim=1) for z in (C, B))
        attended = (decay_mask((dt * A).mT) * (queries @ keys.mT)) @ values
        by_kernel = ssd_matrix(dt, A, B, C) @ x.transpose(1, 2)
        undecayed = ssd(x, dt, torch.zeros_like(A), B, C, dt_softplus=False, backend="reference").transpose(1, 2)
        measured.append(
            [_far(ssd(x, dt, A, B, C, dt_softplus=False, chunk=chunk, backend="eager"), y) for chunk in CHUNKS]
            + [
                _far(attended, y.transpose(1, 2)),
                _far(by_kernel, y.transpose(1, 2)),
                _far(linear_attention(queries, keys, values), undecayed),
            ]
        )
    return Evidence(
        quantity="distance from the recurrence, relative to its largest output: chunks of 1, 3, 16 and all, masked attention twice, A = 0",
        measured=np.array(measured),
        at_most=1e-12,
        arrays={"decays": decay_mask((dt * A).mT)[0].numpy(), "matrix": ssd_matrix(dt, A, B, C)[0].numpy()},
    )


MASKED_ATTENTION = Claim(
    name="mamba.masked_attention",
    statement=(
        "SSD is masked attention without softmax: from a state of 0, y = (L o C B^T) diag(d) x with L_ts = exp(A (d_{s+1} + ... + d_t)); its "
        "chunked form gives the same whatever the length of a chunk, and with A = 0 it is causal linear attention."
    ),
    source="arXiv:2405.21060, sections 5 and 6",
    standing="proved in the source",
    check=_check,
)
