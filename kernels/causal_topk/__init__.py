"""Key selection: the k positions of highest score so far, at every position of a sequence."""

from jaxtyping import Float
from torch import Tensor

from .._dispatch import Backend, Operator
from . import eager, reference
from .topk import TopK


def _triton(scores: Tensor, k: int) -> TopK:
    from . import triton

    return triton.causal_topk(scores, k)


OPERATOR = Operator(name="causal_topk", reference=reference.causal_topk, eager=eager.causal_topk, triton=_triton)


def check_scores(scores: Tensor, k: int) -> None:
    """Raises ValueError unless scores are floating, `[batch, heads, length]`, and k at least 1."""
    if scores.ndim != 3 or not scores.is_floating_point():
        raise ValueError(f"scores must be floating with the axes batch, heads, length, got {scores.dtype} of shape {tuple(scores.shape)}")
    if k < 1:
        raise ValueError(f"k must be at least 1 (a position holds at least itself), got {k}")


def causal_topk(scores: Float[Tensor, "batch heads length"], k: int, *, backend: Backend | None = None) -> TopK:
    """Position i holds the k positions j <= i of highest score, and of equal scores the earlier (arXiv:2507.00449, key selection).

    The order of two positions never changes, so one that was pushed out does not come back: what is held follows from a rank and from a
    threshold that never falls. Only comparisons enter, so nothing is differentiable here. Scores are of any floating dtype, without NaN.
    A length of 0 is allowed, and k may exceed the length.

    Cost: a sort, and k + 64 comparisons a position (Triton: k, at those alone that are held); memory is linear in the length. The reference
    compares all with all.

    Raises ValueError for scores of another shape or dtype or k < 1, and BackendUnavailable where `backend` cannot run.
    """
    check_scores(scores, k)
    return OPERATOR.body((scores,), backend)(scores, k)
