"""The selective scan: a linear recurrence in every channel, whose step size, input and read-out depend on the token (Mamba)."""

from typing import Any, Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor

from .._dispatch import Backend, Operator
from . import eager, reference
from ._checks import check_scan

MOST_STATES = 256
"""most states of a channel in Triton: there the parts of dB and dC, which grow with the square, are as large as 1/8 of all states, each"""


def _too_many_states(_u: Tensor, _dt: Tensor, A: Tensor, *_: Tensor) -> str | None:
    return f"a channel may have {MOST_STATES} states, got {A.shape[1]}" if A.shape[1] > MOST_STATES else None


def _triton(*args: Any) -> tuple[Tensor, Tensor]:
    from . import triton

    return triton.selective_scan(*args)


OPERATOR = Operator(
    name="selective_scan",
    reference=reference.selective_scan,
    eager=eager.selective_scan,
    triton=_triton,
    refuses=_too_many_states,
)


@overload
def selective_scan(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor,
    D: Tensor | None = None, z: Tensor | None = None, dt_bias: Tensor | None = None, *, dt_softplus: bool = True,
    initial_state: Tensor | None = None, return_final_state: Literal[False] = False, backend: Backend | None = None,
) -> Tensor: ...  # fmt: skip
@overload
def selective_scan(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor,
    D: Tensor | None = None, z: Tensor | None = None, dt_bias: Tensor | None = None, *, dt_softplus: bool = True,
    initial_state: Tensor | None = None, return_final_state: Literal[True], backend: Backend | None = None,
) -> tuple[Tensor, Tensor]: ...  # fmt: skip
def selective_scan(
    u: Float[Tensor, "batch length channels"],
    dt: Float[Tensor, "batch length channels"],
    A: Float[Tensor, "channels states"],
    B: Float[Tensor, "batch length states"],
    C: Float[Tensor, "batch length states"],
    D: Float[Tensor, " channels"] | None = None,
    z: Float[Tensor, "batch length channels"] | None = None,
    dt_bias: Float[Tensor, " channels"] | None = None,
    *,
    dt_softplus: bool = True,
    initial_state: Float[Tensor, "batch channels states"] | None = None,
    return_final_state: bool = False,
    backend: Backend | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """y_t = (C_t . h_t + D u_t) silu(z_t) with h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t, in every channel (arXiv:2312.00752, alg. 2).

    delta = softplus(dt + dt_bias), or dt + dt_bias without `dt_softplus`; D, z, dt_bias and the initial state (None: zeros) may be left
    out. A is diagonal, negative for a state that fades. B, C are shared by all channels, delta by the states of one. Input by Euler's rule,
    as in every public implementation; the paper prints zero-order hold. With `return_final_state` the state after the last token comes
    beside y: a sequence may be given in pieces. Length 0 gives back the initial state.

    Differentiable once in every tensor, through the final state too; the reference, as often as wanted. u, dt, B, C, z share a dtype:
    float32, float16 or bfloat16, and as reference and eager float64. float16 and bfloat16 are computed in float32, the state stays float32,
    and A, D, dt_bias and the state may be given in it. The reference computes in the dtype given. A decay is rounded once a token, and
    always alike where delta does not change: what is remembered over m tokens may be off by m roundings.

    Cost: 7 states + 3 floating-point operations a token and channel, three times that again for the gradient, which keeps the inputs and one
    state in 16; without a gradient none is kept. In Triton the backward pass takes as much again for up to 64 states, and four times that
    for 256. The reference keeps every state.

    Raises ValueError for shapes or dtypes that do not fit, and BackendUnavailable where `backend` cannot run.
    """
    axes = ("batch", "length", "channel")
    check_scan(axes, u, A, dt=dt, B=B, C=C, D=D, z=z, dt_bias=dt_bias, initial_state=initial_state)
    tensors = [x for x in (u, dt, A, B, C, D, z, dt_bias, initial_state) if x is not None]
    y, state = OPERATOR.body(tensors, backend)(u, dt, A, B, C, D, z, dt_bias, dt_softplus, initial_state)
    return (y, state) if return_final_state else y


def selective_scan_step(
    state: Float[Tensor, "batch channels states"],
    u: Float[Tensor, "batch channels"],
    dt: Float[Tensor, "batch channels"],
    A: Float[Tensor, "channels states"],
    B: Float[Tensor, "batch states"],
    C: Float[Tensor, "batch states"],
    D: Float[Tensor, " channels"] | None = None,
    z: Float[Tensor, "batch channels"] | None = None,
    dt_bias: Float[Tensor, " channels"] | None = None,
    *,
    dt_softplus: bool = True,
) -> tuple[Float[Tensor, "batch channels"], Float[Tensor, "batch channels states"]]:
    """`selective_scan` of one token: its output and the state after it, in float32 at least; the state given is left as it is.

    Raises ValueError for shapes or dtypes that do not fit.
    """
    check_scan(("batch", "channel"), u, A, dt=dt, B=B, C=C, D=D, z=z, dt_bias=dt_bias, state=state)
    state = state.to(torch.promote_types(u.dtype, torch.float32))
    return reference.step(state, u, dt, A, B, C, D, z, dt_bias, dt_softplus)
