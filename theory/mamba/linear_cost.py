"""Operations of the selective scan and of SSD, gradient included, grow by the same number with every slab or chunk: exactly linear in length.

Both walk the sequence in pieces of fixed length, hand a state of fixed size from one to the next, and do the same to every piece. That alone
is no evidence of what the code does, so it is watched at work: every operation that PyTorch carries out is counted, inside the kernels as
well. The same map as a matrix, M x, costs N + P multiplications and additions for each pair of positions and head (N states, P head width):
its second difference at lengths h apart is at least 2 h^2 (N + P) a head. What the clock says is the affair of benchmarks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ...kernels import selective_scan, ssd, ssd_matrix
from ..claim import Claim, Evidence, Scale

PIECE = 16
"""tokens in a slab of the scan, and here in a chunk of SSD"""
HEADS, WIDTH, STATES = 2, 4, 8
PRODUCTS = (torch.ops.aten.mm, torch.ops.aten.mv, torch.ops.aten.bmm)
"""what PyTorch makes of products of matrices"""
ON_CPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, adds up what is computed: as many operations as the largest tensor read or written has numbers, or a product has terms.

    Views and memory that is only reserved are free. Kernels of this lab are looked into, not counted as one.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """The result of `func`, whose operations are counted."""
        kwargs = kwargs or {}
        with self:  # PyTorch leaves the mode for the time of this method
            if func.namespace == "recall_lab":
                return func.redispatch(ON_CPU, *args, **kwargs)
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        result = func(*args, **kwargs)
        if not func.is_view and "empty" not in func.name():
            tensors = [x for x in (*args, result) if isinstance(x, Tensor)]
            product = func.overloadpacket in PRODUCTS
            self.operations += result.numel() * args[0].shape[-1] if product else max((x.numel() for x in tensors), default=0)
        return result


def operations(mix: Callable[[int], Tensor], length: int) -> int:
    """Operations of `mix(length)`, which makes its inputs and gives an output, and of the gradients of all that asks for one."""
    counting = Counting()
    with counting:
        torch.autograd.backward(mix(length).sum())
    return counting.operations


def _inputs(length: int, *shape: int) -> Tensor:
    return torch.full((1, length, *shape), 0.1, requires_grad=True)


def scan(length: int) -> Tensor:
    """`selective_scan` of as many channels as the heads below have together."""
    channels = _inputs(length, HEADS * WIDTH)
    A = torch.full((HEADS * WIDTH, STATES), -1.0, requires_grad=True)
    return selective_scan(channels, channels, A, _inputs(length, STATES), _inputs(length, STATES), backend="eager")


def chunked(length: int) -> Tensor:
    """`ssd` in chunks of PIECE."""
    B, C = _inputs(length, 1, STATES), _inputs(length, 1, STATES)
    x, dt = _inputs(length, HEADS, WIDTH), _inputs(length, HEADS)
    return ssd(x, dt, -torch.ones(HEADS), B, C, dt_softplus=False, chunk=PIECE, backend="eager")


def as_matrix(length: int) -> Tensor:
    """The same by the matrix."""
    B, C = _inputs(length, 1, STATES), _inputs(length, 1, STATES)
    x, dt = _inputs(length, HEADS, WIDTH), _inputs(length, HEADS)
    return ssd_matrix(dt, -torch.ones(HEADS), B, C) @ x.transpose(1, 2)


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence by counting at multiples of 2 pieces."""
    del seed  # nothing is drawn
    stride = 2 * PIECE
    lengths = stride * np.arange(1, 6 if scale == "quick" else 17)
    counts = np.array([[operations(mix, int(length)) for length in lengths] for mix in (scan, chunked, as_matrix)])
    pairs = 2 * stride**2 * HEADS * (STATES + WIDTH)
    second = np.diff(counts, n=2)
    return Evidence(
        quantity="second difference in the length of the operations, forward and gradient: scan, SSD in chunks, SSD as a matrix",
        measured=second,
        at_least=np.array([[0], [0], [pairs]]),
        at_most=np.array([[0], [0], [np.inf]]),
        arrays={"lengths": lengths, "operations": counts},
    )


LINEAR_COST = Claim(
    name="mamba.linear_cost",
    statement=(
        "At lengths that are multiples of a slab or chunk, the operations of the selective scan and of SSD, gradient included, are a constant "
        "plus a constant a token, exactly, as counted one by one; those of SSD's matrix grow with the square of the length."
    ),
    source="new count; linear time is claimed in arXiv:2312.00752, section 3.3, and arXiv:2405.21060, theorem 6.1",
    standing="new",
    check=_check,
)
