"""The selective scan by its definition: a step for every token, in the dtype given. Also what `torch.func` differentiates."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .._step_size import step_size

State = Float[Tensor, "batch channels states"]


def selective_scan(
    u: Float[Tensor, "batch length channels"],
    dt: Float[Tensor, "batch length channels"],
    A: Float[Tensor, "channels states"],
    B: Float[Tensor, "batch length states"],
    C: Float[Tensor, "batch length states"],
    D: Float[Tensor, " channels"] | None,
    z: Float[Tensor, "batch length channels"] | None,
    dt_bias: Float[Tensor, " channels"] | None,
    dt_softplus: bool,
    initial_state: State | None,
    discretise: Literal["euler", "zoh"] = "euler",
) -> tuple[Float[Tensor, "batch length channels"], State]:
    """Outputs, and the state after the last token; see `step`."""
    batch, length, _ = u.shape
    state = u.new_zeros((batch, *A.shape), dtype=torch.promote_types(u.dtype, A.dtype)) if initial_state is None else initial_state
    outputs = [u[:, :0]]  # so that there is something to join when length is 0
    for t in range(length):
        z_t = None if z is None else z[:, t]
        out, state = step(state, u[:, t], dt[:, t], A, B[:, t], C[:, t], D, z_t, dt_bias, dt_softplus, discretise)
        outputs.append(out[:, None])
    return torch.cat(outputs, dim=1), state


def step(
    state: State,
    u: Float[Tensor, "batch channels"],
    dt: Float[Tensor, "batch channels"],
    A: Float[Tensor, "channels states"],
    B: Float[Tensor, "batch states"],
    C: Float[Tensor, "batch states"],
    D: Float[Tensor, " channels"] | None,
    z: Float[Tensor, "batch channels"] | None,
    dt_bias: Float[Tensor, " channels"] | None,
    dt_softplus: bool,
    discretise: Literal["euler", "zoh"] = "euler",
) -> tuple[Float[Tensor, "batch channels"], State]:
    """One token: h = exp(delta A) h + B_bar u, y = (C . h + D u) silu(z), with B_bar = delta B (Euler) or (exp(delta A) - 1) / A B (zero-order hold).

    arXiv:2312.00752, eqs. 2 and 4. The paper prints the second B_bar; its code and every other one uses the first. In the state's dtype.
    """
    delta = step_size(dt.to(state.dtype), dt_bias, dt_softplus)[..., None]
    held = delta if discretise == "euler" else torch.expm1(delta * A) / A
    state = torch.exp(delta * A) * state + held * B[..., None, :] * u[..., None]
    y = (state * C[..., None, :]).sum(dim=-1)
    return finish(y, u, D, z).to(u.dtype), state


def finish(y: Tensor, u: Tensor, D: Tensor | None, z: Tensor | None) -> Tensor:
    """(y + D u) silu(z) in y's dtype, or as much of it as is given."""
    if D is not None:
        y = torch.addcmul(y, D.to(y.dtype), u.to(y.dtype))
    return y if z is None else y * F.silu(z.to(y.dtype))
