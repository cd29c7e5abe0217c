"""Sparse attention: softmax attention over the positions that a pattern lets a query see."""

from typing import Literal, overload

from jaxtyping import Float
from torch import Tensor

from .._checks import check_heads
from .._dispatch import Backend, Operator
from . import eager, reference
from .patterns import Dilated, Pattern, Sink, Strided, Union, Window, check_pattern, pattern_mask

WIDEST = 128
"""widest head the Triton body takes: a tile of queries, keys or values holds a whole row of it in registers"""


def _too_wide(query: Tensor, _key: Tensor, value: Tensor) -> str | None:
    widest = max(query.shape[-1], value.shape[-1])
    return f"heads may be {WIDEST} wide, got {widest}" if widest > WIDEST else None


def _triton(query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, scale: float) -> tuple[Tensor, Tensor]:
    from . import triton

    return triton.sparse_attention(query, key, value, pattern, scale)


OPERATOR = Operator(
    name="sparse_attention",
    reference=reference.sparse_attention,
    eager=eager.sparse_attention,
    triton=_triton,
    refuses=_too_wide,
)


@overload
def sparse_attention(
    query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, *,
    scale: float | None = None, return_log_sum: Literal[False] = False, backend: Backend | None = None,
) -> Tensor: ...  # fmt: skip
@overload
def sparse_attention(
    query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, *,
    scale: float | None = None, return_log_sum: Literal[True], backend: Backend | None = None,
) -> tuple[Tensor, Tensor]: ...  # fmt: skip
def sparse_attention(
    query: Float[Tensor, "batch heads length width"],
    key: Float[Tensor, "batch heads length width"],
    value: Float[Tensor, "batch heads length value_width"],
    pattern: Pattern,
    *,
    scale: float | None = None,
    return_log_sum: bool = False,
    backend: Backend | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """y_i = sum_j a_ij v_j with a_ij = softmax_j(scale q_i . k_j) over the positions j <= i that the pattern lets i see.

    A position that sees nothing gets y_i = 0, never a mean of what it must not see. With `return_log_sum`, (y, l), l_i the log of the sum of
    exp(scale q_i . k_j), -inf where nothing is seen: by it, attention to disjoint sets is joined. `scale=None` is 1/sqrt(width). Patterns
    are `Window`, `Sink`, `Dilated`, `Strided`, the selections `TopK` of `causal_topk` and `Ranges` of `bin_ranges`, whose tensors have the
    batch, heads and length of the query, and any `Union`, in which what several parts hold counts once. A length of 0 is allowed.

    The pattern is a constant: what it was made from gets no gradient here. Differentiable once in query, key and value, through l too; the
    reference, as often as wanted. float32, float16 and bfloat16, the last two with softmax, sums and l in float32; float64 as reference and
    eager. The reference computes in the dtype given.

    Cost, with n the keys that a query sees of a part at most: 2 (n + 32) (width + value_width) floating-point operations a query, head and
    part in tiles that are full, up to twice that elsewhere (`TopK`: n + 64, never more), and for the gradient 2.5 times that again. So
    `Dilated` and `Strided`, with n = length / step, stay quadratic. Triton: n + 96 at most, and for the gradient 3.5 times n + 160. Beyond
    256 positions eager keeps inputs, output and l alone, as Triton does at any length; up to there, and in the reference, length x length
    scores.

    Raises ValueError for shapes, dtypes or devices that do not fit, and BackendUnavailable where `backend` cannot run.
    """
    check_heads(query, key, value)
    check_pattern(pattern, query)
    if scale is None:
        scale = query.shape[3] ** -0.5
    out, log_sum = OPERATOR.body((query, key, value), backend)(query, key, value, pattern, scale)
    return (out, log_sum) if return_log_sum else out
