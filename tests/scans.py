"""Arguments for tests of the selective scan, and what a scan makes of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from layouts import LAYOUTS, laid
from torch import Tensor

LENGTHS = (0, 1, 15, 16, 17, 33, 63, 65)
"""about the edges of slabs"""
OPTIONAL = ("D", "z", "dt_bias", "initial_state")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Shapes, layouts and optional inputs of one call; the numbers follow from `seed`."""

    batch: int = 2
    length: int = 37
    channels: int = 3
    states: int = 4
    given: Collection[str] = OPTIONAL
    softplus: bool = True
    layout: str = "contiguous"
    grad_layout: str = "contiguous"
    seed: int = 0

    def inputs(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> dict[str, Tensor]:
        """Arguments by name, rounded to `dtype`; parameters and states keep float32 where that has more bits."""
        b, t, e, n = self.batch, self.length, self.channels, self.states
        shapes = {"u": (b, t, e), "dt": (b, t, e), "A": (e, n), "B": (b, t, n), "C": (b, t, n)}
        shapes |= {"D": (e,), "z": (b, t, e), "dt_bias": (e,), "initial_state": (b, e, n)}
        generator = torch.Generator().manual_seed(self.seed)
        drawn = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
        drawn["A"] = -2 * drawn["A"].abs()
        if not self.softplus:
            drawn["dt"], drawn["dt_bias"] = drawn["dt"].abs(), drawn["dt_bias"].abs()
        wide = torch.promote_types(dtype, torch.float32)
        kept = {name: x.to(device) for name, x in drawn.items() if name not in OPTIONAL or name in self.given}
        return {name: laid(x.to(dtype), self.layout) if x.ndim == 3 and name != "initial_state" else x.to(wide) for name, x in kept.items()}

    def grads(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> tuple[Tensor, Tensor]:
        """Gradients for the output and the final state."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        shapes = (self.batch, self.length, self.channels), (self.batch, self.channels, self.states)
        of_y, of_state = (torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype) for shape in shapes)
        return laid(of_y, self.grad_layout), of_state.mT.contiguous().mT


def outcome(case: Case, inputs: dict[str, Tensor], grads: tuple[Tensor, Tensor], wanted: Collection[str], scan: Any) -> dict[str, Tensor]:
    """Output, final state, and the gradients `wanted`, each by the name of its input."""
    leaves = {name: x.detach().requires_grad_(name in wanted) for name, x in inputs.items()}
    out, state = scan(**leaves, dt_softplus=case.softplus, return_final_state=True)
    reached = [(x, grad.to(x.dtype)) for x, grad in zip((out, state), grads, strict=True) if x.requires_grad]
    of_interest = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    found: Sequence[Tensor] = [torch.zeros_like(leaf) for leaf in of_interest.values()]
    if reached and of_interest:
        outputs, given = zip(*reached, strict=True)
        found = torch.autograd.grad(outputs, list(of_interest.values()), given, allow_unused=True, materialize_grads=True)
    return {"output": out.detach(), "final state": state.detach(), **dict(zip(of_interest, found, strict=True))}


def scans(lengths: st.SearchStrategy[int], channels: Sequence[int], states: Sequence[int]) -> st.SearchStrategy[Case]:
    """Calls of these sizes in any layout, with any of the optional inputs, none of a batch included."""
    layouts = st.sampled_from(LAYOUTS)
    return st.builds(
        Case,
        batch=st.integers(0, 2),
        length=lengths,
        channels=st.sampled_from(channels),
        states=st.sampled_from(states),
        given=st.sets(st.sampled_from(OPTIONAL)).map(sorted),
        softplus=st.booleans(),
        layout=layouts,
        grad_layout=layouts,
        seed=st.integers(0, 2**16),
    )


cases = scans(st.sampled_from(LENGTHS) | st.integers(0, 70), (1, 3, 8, 10), (1, 3, 4, 16))
small_cases = scans(st.sampled_from([0, 1, 2, 15, 16, 17, 18]), (1, 3), (1, 3, 4))
"""for the interpreter, where a token takes 15 ms with its gradient"""
names = st.sets(st.sampled_from(["u", "dt", "A", "B", "C", *OPTIONAL])).map(sorted)
