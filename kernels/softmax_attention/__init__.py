"""Causal softmax attention, over the whole past or a window of it."""

from jaxtyping import Float
from torch import Tensor

from .._checks import check_heads
from .._dispatch import Backend, Operator
from . import eager, reference

WIDEST = 128
"""widest head the Triton body takes: a tile of queries, keys or values holds a whole row of it in registers"""


def _too_wide(query: Tensor, _key: Tensor, value: Tensor) -> str | None:
    widest = max(query.shape[-1], value.shape[-1])
    return f"heads may be {WIDEST} wide, got {widest}" if widest > WIDEST else None


def _triton(query: Tensor, key: Tensor, value: Tensor, window: int | None, scale: float) -> Tensor:
    from . import triton

    return triton.softmax_attention(query, key, value, window, scale)


OPERATOR = Operator(
    name="softmax_attention",
    reference=reference.softmax_attention,
    eager=eager.softmax_attention,
    triton=_triton,
    refuses=_too_wide,
)


def softmax_attention(
    query: Float[Tensor, "batch heads length width"],
    key: Float[Tensor, "batch heads length width"],
    value: Float[Tensor, "batch heads length value_width"],
    *,
    window: int | None = None,
    scale: float | None = None,
    backend: Backend | None = None,
) -> Float[Tensor, "batch heads length value_width"]:
    """y_t = sum_s a_ts v_s with a_ts = softmax_s(scale q_t . k_s) over t - window < s <= t (arXiv:1706.03762, eq. 1, masked).

    `window=None` is the whole past; `scale=None` is 1/sqrt(width), and any other number will do. Differentiable once in all three; the
    reference, as often as wanted. float32, float16 and bfloat16, the last two with softmax and sums in float32; float64 as reference and
    eager. The reference computes in the dtype given.

    Cost, with w = min(window, length): 2 w (width + value_width) floating-point operations a query and head, half of that without a
    window, and for the gradient 2.5 times that again (3.5 times in Triton, whose two kernels each compute the scores). Bytes: inputs and
    output once, and a number a query for the backward pass. Only the reference stores scores, length x length of them.

    Raises ValueError for shapes or dtypes that do not fit, or window < 1, and BackendUnavailable where `backend` cannot run.
    """
    check_heads(query, key, value)
    if window is not None and window < 1:
        raise ValueError(f"window must be at least 1 (a position sees itself), got {window}")
    if scale is None:
        scale = query.shape[-1] ** -0.5
    return OPERATOR.body((query, key, value), backend)(query, key, value, window, scale)
