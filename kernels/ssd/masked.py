"""SSD as masked attention: its decays as a mask, and the whole map from inputs to outputs as a matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

from ._checks import check_mask, check_matrix


def decay_mask(log_decay: Float[Tensor, "*batch length"]) -> Float[Tensor, "*batch length length"]:
    """L_ts = exp(sum of log_decay_r over s < r <= t) for s <= t, 0 for s > t: 1-semiseparable (arXiv:2405.21060, section 3).

    Every exponent is a sum of its own terms, never the difference of two running sums, which loses its digits once they have grown large:
    so the relative error stays near length x rounding however mixed the decays, and a decay of 0 (log_decay = -inf) is exact. The terms
    are masked before they are summed, so that above the diagonal exp meets the empty sum, and no inf x 0 in its gradient. Cost: length x
    length numbers a row. Raises ValueError without an axis of positions or a floating dtype.
    """
    check_mask(log_decay)
    terms = log_decay[..., :, None].expand(*log_decay.shape, log_decay.shape[-1]).tril(-1)
    return terms.cumsum(dim=-2).exp().tril()


def ssd_matrix(
    dt: Float[Tensor, "batch length heads"],
    A: Float[Tensor, " heads"],
    B: Float[Tensor, "batch length groups state"],
    C: Float[Tensor, "batch length groups state"],
) -> Float[Tensor, "batch heads length length"]:
    """M = (L o C B^T) diag(dt) with L = decay_mask(dt A): y = M x is `ssd` without D from a state of 0 (arXiv:2405.21060, section 5).

    `dt` is the step that multiplies A, after bias, softplus and limit. So C are queries, B keys, dt x values, and L takes the place of
    softmax and causal mask: with A = 0 this is causal linear attention. Memory: length x length numbers a head.

    Raises ValueError for shapes that do not fit, or unless all four share one floating dtype.
    """
    check_matrix(dt, A, B, C)
    scores = torch.repeat_interleave(C.transpose(1, 2) @ B.permute(0, 2, 3, 1), dt.shape[2] // B.shape[2], dim=1)
    step = dt.transpose(1, 2)
    return scores * decay_mask(step * A[:, None]) * step[..., None, :]
