"""Which body of an operator runs: the one asked for, or the one that suits the tensors. The only place here that asks about the machine."""

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad

P = ParamSpec("P")
R = TypeVar("R")

Backend = Literal["reference", "eager", "triton"]
"""the bodies of an operator: its definition, its fast form in plain PyTorch, its GPU form"""

TRITON_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""what Triton bodies take on a GPU; the interpreter takes float64 as well, because it computes with NumPy"""

OPERATORS: dict[str, "Operator[..., Any]"] = {}
"""every operator by name; an `Operator` enters itself"""

_within: list[Backend] = []
"""the `backend(...)` blocks that are open, innermost last; a plain list, because torch.compile guards on it and cannot read a ContextVar"""


class BackendUnavailable(RuntimeError):
    """The body asked for cannot run here; the message says why and which one would."""


def _takes_any(*_: Tensor) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Operator(Generic[P, R]):
    """One operator and its bodies, which take the same arguments."""

    name: str
    reference: Callable[P, R]
    eager: Callable[P, R]
    triton: Callable[P, R] | None = None
    """imports its module when called, so that Triton is needed only where it runs; None where eager is the GPU form too"""
    refuses: Callable[..., str | None] = _takes_any
    """why the Triton body cannot take these tensors, beyond device and dtype; None if it can"""

    def __post_init__(self) -> None:
        OPERATORS[self.name] = self

    def body(self, tensors: Sequence[Tensor], backend: Backend | None) -> Callable[P, R]:
        """The body that `choose` picks, ready to be called."""
        found = getattr(self, choose(self, tensors, backend))
        return cast(Callable[P, R], found)


@contextmanager
def backend(name: Backend) -> Iterator[None]:
    """Within the block `backend=None` means `name`, in every thread; an explicit `backend=` still goes first.

    Raises ValueError for an unknown name.
    """
    _within.append(_known(name))
    try:
        yield
    finally:
        _within.pop()


def which(name: str, *tensors: Tensor) -> Backend:
    """The body that the operator called `name` would run on these tensors with `backend=None`.

    Raises ValueError for an unknown operator and BackendUnavailable where the call would.
    """
    if name not in OPERATORS:
        raise ValueError(f"name must be one of {', '.join(sorted(OPERATORS))}, got {name!r}")
    return choose(OPERATORS[name], tensors, None)


def choose(operator: Operator[P, R], tensors: Sequence[Tensor], backend: Backend | None) -> Backend:
    """The body to run: `backend`, else that of the enclosing `backend(...)` block, else RECALL_LAB_BACKEND, else by the tensors.

    By the tensors: Triton where it can take all of them and they are on a GPU, eager otherwise. What was asked for is never replaced
    in silence. Raises BackendUnavailable if it cannot run, or if anything but the reference is to run inside a functorch transform or
    forward-mode AD: there an operator registered with PyTorch would answer with zero tangents. Raises ValueError for an unknown name.
    """
    asked = backend or (_within[-1] if _within else os.environ.get("RECALL_LAB_BACKEND"))
    wanted = _known(asked) if asked else None
    if wanted == "reference":
        return wanted
    if inside_transform():
        raise BackendUnavailable(
            f"{operator.name} runs inside torch.func or forward-mode AD as backend='reference' only, got backend={wanted!r}"
        )
    if wanted == "eager" or (wanted is None and not all(tensor.is_cuda for tensor in tensors)):
        return "eager"
    obstacle = _obstacle(operator, tensors)
    if wanted == "triton" and obstacle is not None:
        raise BackendUnavailable(f"{operator.name} cannot run as backend='triton': {obstacle}; backend='eager' can")
    return "eager" if obstacle is not None else "triton"


def inside_transform() -> bool:
    """Whether a functorch transform (vmap, grad, jvp, ...) or a forward-mode level is open; PyTorch has no public question for it."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _known(name: str) -> Backend:
    if name not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {name!r}")
    return cast(Backend, name)


def _obstacle(operator: Operator[P, R], tensors: Sequence[Tensor]) -> str | None:
    """Why the Triton body cannot take these tensors, or None."""
    if operator.triton is None:
        return "it has no Triton body, and runs eager on a GPU too"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if not interpreted() and not all(tensor.is_cuda for tensor in tensors):
        return "it needs CUDA tensors (or TRITON_INTERPRET=1, set before triton is first imported)"
    dtypes = (*TRITON_DTYPES, torch.float64) if interpreted() else TRITON_DTYPES
    if strange := {tensor.dtype for tensor in tensors}.difference(dtypes):
        return f"it takes {', '.join(map(str, dtypes))}, got {', '.join(sorted(map(str, strange)))}"
    return operator.refuses(*tensors)


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter: asked of a function that Triton made at its own import, after which it is too late."""
    from triton.language import cdiv

    return type(cdiv).__name__ == "InterpretedFunction"
