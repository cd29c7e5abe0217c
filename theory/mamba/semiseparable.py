"""Every block of a Mamba channel's matrix on or below the diagonal has rank at most N, the number of its states.

y_t = sum_{s<=t} M_ts u_s with M_ts = sum_n C_tn exp(A_n (d_{s+1} + ... + d_t)) d_s B_sn, d the steps. **Proof**: in a block of rows t >= k and
columns s <= k the exponent is A_n (d_{k+1} + ... + d_t) + A_n (d_{s+1} + ... + d_k), and the block the product of a matrix with N columns,
C_tn exp(A_n (d_{k+1} + ... + d_t)), and one with N rows, exp(A_n (d_{s+1} + ... + d_k)) d_s B_sn. Its rank is at most N, and so is that of
any block inside it: of every one that keeps to t >= s. []

In SSD the exponents do not depend on n: the decays alone are a matrix L of rank 1 in every such block, and M = (L o C B^T) diag(d) is of
rank N again. What the tokens up to k tell those after it passes through N numbers a channel: the state. A skip D adds D_e to the diagonal,
and to the rank of blocks that reach it.
"""

import numpy as np
import torch
from torch import Tensor

from ...kernels import decay_mask, selective_scan, ssd_matrix
from ..claim import Claim, Evidence, Scale


def scan_matrices(dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The matrices `[channels, length, length]` that `selective_scan` applies, without skip and gate, found by giving it unit inputs.

    dt `[length, channels]` are the steps after softplus, A `[channels, states]`, B and C `[length, states]`.
    """
    length, channels = dt.shape
    units = torch.eye(length, dtype=dt.dtype)[..., None].expand(-1, -1, channels)
    steps, keys, queries = (x.expand(length, *x.shape) for x in (dt, B, C))
    return selective_scan(units, steps, A, keys, queries, dt_softplus=False).transpose(0, 2)


def block_singular_values(matrices: Tensor, cut: int) -> Tensor:
    """Singular values of rows >= cut and columns <= cut of every matrix, the largest first, as fractions of it."""
    values: Tensor = torch.linalg.svdvals(matrices[..., cut:, : cut + 1])
    return values / values[..., :1]


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence by singular values in float64, with random weights, at cuts that leave 3 N rows and columns or more.

    There random weights are far from a lower rank: number N was 4e-3 at the least in 300 checks, against 1e-9 down to N rows and columns.
    """
    length, channels = (48, 3) if scale == "quick" else (160, 8)
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    last, beyond, spectra = [], [], []
    for states in (1, 3, 5):
        dt, rates = normal(length, channels).exp() / 30, -torch.arange(1.0, states + 1, dtype=torch.float64) / states
        B, C = normal(length, states), normal(length, states)
        mask = decay_mask(-dt.T)
        duals = ssd_matrix(dt[None], rates.new_full((channels,), -1.0), B[None, :, None], C[None, :, None])[0]
        families = [(scan_matrices(dt, rates.expand(channels, -1), B, C), states), (mask, 1), (duals, states)]
        for matrices, rank in families:
            for cut in (3 * states, length // 2, length - 3 * states):
                values = block_singular_values(matrices, cut)
                last.append(float(values[:, rank - 1].min()))
                beyond.append(float(values[:, rank:].max(dim=1).values.max()) if values.shape[1] > rank else 0.0)
                if cut == length // 2:
                    spectra.append(values[0, :8].numpy())
    return Evidence(
        quantity="singular value number N of a block on and below the diagonal, then number N + 1, as fractions of the largest",
        measured=np.array([last, beyond]),
        at_least=np.array([[1e-4], [-np.inf]]),
        at_most=np.array([[np.inf], [1e-12]]),
        arrays={"spectra": np.array(spectra), "ranks": np.array([rank for n in (1, 3, 5) for rank in (n, 1, n)])},
    )


SEMISEPARABLE = Claim(
    name="mamba.semiseparable",
    statement=(
        "In the matrix that a channel of the selective scan with N states applies along the sequence, or a head of SSD, every block on or "
        "below the diagonal has rank at most N, and N where weights are random and the block has N rows and columns; SSD's matrix of decays "
        "has rank 1 there."
    ),
    source="arXiv:2405.21060, section 3 (state space models as semiseparable matrices)",
    standing="proved in the source",
    check=_check,
)
