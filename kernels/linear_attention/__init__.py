"""Causal linear attention: inner products in place of softmax, so that the past fits a state of fixed size."""

from jaxtyping import Float
from torch import Tensor

from .._checks import check_heads
from .._dispatch import Backend, Operator
from . import eager, reference


def _triton(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    from . import triton

    return triton.linear_attention(query, key, value)


OPERATOR = Operator(name="linear_attention", reference=reference.linear_attention, eager=eager.linear_attention, triton=_triton)


def linear_attention(
    query: Float[Tensor, "batch heads length features"],
    key: Float[Tensor, "batch heads length features"],
    value: Float[Tensor, "batch heads length value_width"],
    *,
    backend: Backend | None = None,
) -> Float[Tensor, "batch heads length value_width"]:
    """y_t = q_t S_t with S_t = S_{t-1} + k_t^T v_t from S_0 = 0 (arXiv:2006.16236, eqs. 18 and 20 without the normaliser).

    Feature maps are the caller's. Differentiable in all three as often as wanted. float32, float16 and bfloat16, the last two with
    scores, states and sums in float32; float64 as reference and eager. The reference computes in the dtype given.

    Cost, in chunks of c tokens (64 in Triton, 32 to 128 in eager): 2 c (features + value_width) + 4 features value_width floating-point
    operations a token and head, and for the gradient twice that again (three times in Triton). Bytes: inputs and output once, and
    features value_width / c numbers a token for the states between chunks. The reference keeps a state for every token.

    Raises ValueError for shapes or dtypes that do not fit, and BackendUnavailable where `backend` cannot run.
    """
    check_heads(query, key, value)
    return OPERATOR.body((query, key, value), backend)(query, key, value)
