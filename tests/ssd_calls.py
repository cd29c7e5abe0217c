"""Calls of `ssd_scan` for its tests: shapes, the numbers that fill them, and what a body makes of them."""

from dataclasses import dataclass

import torch
from heads import LENGTHS
from hypothesis import strategies as st
from torch import Tensor

from recall_lab.kernels import Backend, ssd_scan

CHUNKS = (1, 3, 16, 64)
NAMES = ("x", "log_decay", "B", "C", "D", "initial_state")
"""every tensor that `ssd_scan` takes"""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Shapes of one call; the numbers follow from `seed`."""

    batch: int = 2
    length: int = 17
    groups: int = 2
    group_heads: int = 2
    head_width: int = 3
    state: int = 5
    chunk: int = 16
    seed: int = 0

    @property
    def heads(self) -> int:
        return self.groups * self.group_heads

    def tensors(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> dict[str, Tensor]:
        """A tensor for each of NAMES, and gradients `dy` and `dstate` for the two outputs."""
        shared, states = (self.length, self.groups, self.state), (self.heads, self.head_width, self.state)
        heads = (self.length, self.heads, self.head_width)
        shapes = {"x": heads, "log_decay": heads[:2], "B": shared, "C": shared, "initial_state": states, "dy": heads, "dstate": states}
        generator = torch.Generator().manual_seed(self.seed)
        drawn = {name: torch.randn(self.batch, *shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
        drawn |= {"log_decay": -drawn["log_decay"].abs(), "D": torch.randn(heads[1:], generator=generator, dtype=torch.float64)}
        return {name: tensor.to(device, dtype) for name, tensor in drawn.items()}


def scans(max_length: int = LENGTHS[-1], most: int = 3) -> st.SearchStrategy[Scan]:
    """Every kind of shape: none of a batch, no token, a chunk longer than the sequence, one group and one head a group; `most` of both."""
    lengths = st.sampled_from([length for length in LENGTHS if length <= max_length]) | st.integers(0, max_length)
    sizes = {"batch": st.integers(0, most - 1), "length": lengths, "chunk": st.sampled_from(CHUNKS) | st.integers(1, 70)}
    heads = {name: st.integers(1, most) for name in ("groups", "group_heads")}
    widths = {name: st.integers(1, 7) for name in ("head_width", "state")}
    return st.builds(Scan, **sizes, **heads, **widths, seed=st.integers(0, 2**16))


def outcome(tensors: dict[str, Tensor], chunk: int, backend: Backend, wanted: tuple[bool, ...] = (True,) * 6) -> dict[str, Tensor]:
    """y, the final state, and the gradients of what is `wanted`, by name."""
    inputs = {name: tensors[name].detach().requires_grad_(want) for name, want in zip(NAMES, wanted, strict=True)}
    y, state = ssd_scan(**inputs, chunk=chunk, return_final_state=True, backend=backend)
    leaves = {name: leaf for name, leaf in inputs.items() if leaf.requires_grad}
    found = {"y": y.detach(), "state": state.detach()}
    if leaves:
        outputs = {name: out for name, out in (("dy", y), ("dstate", state)) if out.requires_grad}
        along = [tensors[name].to(out.dtype) for name, out in outputs.items()]
        grads = torch.autograd.grad(list(outputs.values()), list(leaves.values()), along, materialize_grads=True)
        found |= dict(zip(leaves, grads, strict=True))
    return found
