"""State-space duality (SSD), the operator of Mamba-2: a matrix-valued state with one decay a head and token."""

import math
from typing import Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor

from .._dispatch import Backend, Operator
from .._step_size import step_size
from . import eager, reference
from ._checks import check_chunk, check_limit, check_scan

Heads = Float[Tensor, "batch length heads head_width"]
State = Float[Tensor, "batch heads head_width state"]


def _triton(x: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, initial_state: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    from . import triton

    return triton.ssd_scan(x, log_decay, B, C, initial_state, chunk)


AXES = ("batch", "length", "heads", "head width")

OPERATOR = Operator(name="ssd_scan", reference=reference.ssd_scan, eager=eager.ssd_scan, triton=_triton)


@overload
def ssd_scan(
    x: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, *, initial_state: Tensor | None = None,
    chunk: int = 64, return_final_state: Literal[False] = False, backend: Backend | None = None,
) -> Tensor: ...  # fmt: skip
@overload
def ssd_scan(
    x: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, *, initial_state: Tensor | None = None,
    chunk: int = 64, return_final_state: Literal[True], backend: Backend | None = None,
) -> tuple[Tensor, Tensor]: ...  # fmt: skip
def ssd_scan(
    x: Heads,
    log_decay: Float[Tensor, "batch length heads"],
    B: Float[Tensor, "batch length groups state"],
    C: Float[Tensor, "batch length groups state"],
    D: Float[Tensor, " heads"] | Float[Tensor, "heads head_width"] | None = None,
    *,
    initial_state: State | None = None,
    chunk: int = 64,
    return_final_state: bool = False,
    backend: Backend | None = None,
) -> Heads | tuple[Heads, State]:
    """y_t = s_t C_t + D x_t with s_t = exp(log_decay_t) s_{t-1} + x_t B_t^T, a state a head (arXiv:2405.21060).

    log_decay is at most 0, and may be -inf; head j reads group j // (heads / groups) of B and C; s_0 is `initial_state`, or 0. With
    `return_final_state`, (y, the last state). A length of 0 is allowed. Differentiable once in every tensor, through the last state too; the
    reference, as often as wanted. x, B and C share float64, float32, float16 or bfloat16; log_decay, D and the initial state have that
    dtype too, or float32 beside the last two. The state is float32 at least, and so is all that is computed, but for the reference: it
    computes in the dtypes given.

    Cost, in chunks of Q = `chunk` tokens: 2 Q state floating-point operations a token and group, 2 Q head_width + 3 Q + 4 head_width state
    a token and head, and for the gradient 2 to 3 times that again. Bytes: inputs and output once; for the gradient head_width state / Q
    numbers a token and head, the states between chunks. Triton takes Q = 64 whatever `chunk` is, keeps those states while it runs even
    where no gradient is wanted, and spends 2 Q state on every 32 columns of a head. The reference keeps a state for every token.

    Raises ValueError for shapes or dtypes that do not fit, and BackendUnavailable where `backend` cannot run.
    """
    check_scan(AXES, x, B, C, log_decay=log_decay, D=D, initial_state=initial_state)
    check_chunk(chunk)
    y, state = _scan(x, log_decay, B, C, initial_state, chunk, backend)
    y = _with_skip(y, D, x)
    return (y, state) if return_final_state else y


@overload
def ssd(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, *, dt_bias: Tensor | None = None,
    dt_softplus: bool = True, dt_limit: tuple[float, float] = (0.0, math.inf), initial_state: Tensor | None = None,
    chunk: int = 64, return_final_state: Literal[False] = False, backend: Backend | None = None,
) -> Tensor: ...  # fmt: skip
@overload
def ssd(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, *, dt_bias: Tensor | None = None,
    dt_softplus: bool = True, dt_limit: tuple[float, float] = (0.0, math.inf), initial_state: Tensor | None = None,
    chunk: int = 64, return_final_state: Literal[True], backend: Backend | None = None,
) -> tuple[Tensor, Tensor]: ...  # fmt: skip
def ssd(
    x: Heads,
    dt: Float[Tensor, "batch length heads"],
    A: Float[Tensor, " heads"],
    B: Float[Tensor, "batch length groups state"],
    C: Float[Tensor, "batch length groups state"],
    D: Float[Tensor, " heads"] | Float[Tensor, "heads head_width"] | None = None,
    *,
    dt_bias: Float[Tensor, " heads"] | None = None,
    dt_softplus: bool = True,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    initial_state: State | None = None,
    chunk: int = 64,
    return_final_state: bool = False,
    backend: Backend | None = None,
) -> Heads | tuple[Heads, State]:
    """y_t = s_t C_t + D x_t with s_t = exp(d_t A) s_{t-1} + d_t x_t B_t^T, d_t = clamp(softplus(dt_t + dt_bias), *dt_limit).

    The continuous face of `ssd_scan`, which see for the rest: A < 0 is a rate a head, d_t the step of its discretisation (A by zero-order
    hold, B by Euler, as in the published code). Without `dt_softplus` d_t is dt_t + dt_bias, clamped. dt, A, D, dt_bias and the initial
    state have x's dtype, or float32 beside float16 and bfloat16; d_t and the decays are float32 at least. Raises what `ssd_scan` does, and
    ValueError for a `dt_limit` whose first number is above its second.
    """
    check_scan(AXES, x, B, C, dt=dt, A=A, D=D, dt_bias=dt_bias, initial_state=initial_state)
    check_chunk(chunk)
    check_limit(dt_limit)
    step = _limited_step(dt, dt_bias, dt_softplus, dt_limit)
    y, state = _scan(step[..., None] * x, step * A, B, C, initial_state, chunk, backend)
    y = _with_skip(y, D, x)
    return (y, state) if return_final_state else y


def ssd_step(
    state: State,
    x: Float[Tensor, "batch heads head_width"],
    dt: Float[Tensor, "batch heads"],
    A: Float[Tensor, " heads"],
    B: Float[Tensor, "batch groups state"],
    C: Float[Tensor, "batch groups state"],
    D: Float[Tensor, " heads"] | Float[Tensor, "heads head_width"] | None = None,
    *,
    dt_bias: Float[Tensor, " heads"] | None = None,
    dt_softplus: bool = True,
    dt_limit: tuple[float, float] = (0.0, math.inf),
) -> tuple[Float[Tensor, "batch heads head_width"], State]:
    """(y_t, s_t) of `ssd` from s_{t-1} and the inputs of one token: plain tensor operations, float32 at least; `state` is left as it is.

    Raises ValueError for shapes, dtypes or limits that do not fit.
    """
    check_scan(("batch", "heads", "head width"), x, B, C, dt=dt, A=A, D=D, dt_bias=dt_bias, state=state)
    check_limit(dt_limit)
    step = _limited_step(dt, dt_bias, dt_softplus, dt_limit)
    y, state = reference.step(step[..., None] * x, step * A, B, C, state.to(torch.promote_types(x.dtype, torch.float32)))
    return _with_skip(y, D, x), state


def _scan(
    x: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, initial_state: Tensor | None, chunk: int, backend: Backend | None
) -> tuple[Tensor, Tensor]:
    """y and the last state, both float32 at least where the body has a say in it."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    shape = (x.shape[0], *x.shape[2:], B.shape[3])
    state = x.new_zeros(shape, dtype=dtype) if initial_state is None else initial_state.to(dtype)
    inputs = (x, log_decay, B, C, state)
    return OPERATOR.body(inputs, backend)(*inputs, chunk)


def _limited_step(dt: Tensor, bias: Tensor | None, softplus: bool, limit: tuple[float, float]) -> Tensor:
    """d_t, in float32 at least: it goes into an exponent, where a rounding is a wrong rate of forgetting."""
    return step_size(dt.to(torch.promote_types(dt.dtype, torch.float32)), bias, softplus).clamp(*limit)


def _with_skip(y: Tensor, D: Tensor | None, x: Tensor) -> Tensor:
    """y + D x, rounded once to the dtype of x."""
    if D is not None:
        y = y + (D if D.ndim == 2 else D[:, None]).to(y.dtype) * x
    return y.to(x.dtype)
