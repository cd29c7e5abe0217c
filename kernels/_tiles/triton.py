"""What the Triton bodies share: how a tile of rows is read and written, and in which numbers it is computed.

Every `triton.jit` function here and beside is also marked `no_type_check`: the tests' type checker would wrap it, and Triton's
interpreter, which compiles a function anew in the globals it finds on it, would then look for ours in the wrapper's module.
"""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._dispatch import interpreted

LEAST = 16
"""the smallest side of an operand of `tl.dot`"""

TYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32, torch.float64: tl.float64}


@triton.jit
@no_type_check
def load_rows(x, head, row, column, length, WIDTH: tl.constexpr, DTYPE: tl.constexpr):
    """x[head, row, column] of a contiguous `[head, length, WIDTH]`, as `[row, column]` of DTYPE; zero outside."""
    inside = ((row >= 0) & (row < length))[:, None] & (column < WIDTH)[None, :]
    return tl.load(x + (head * length + row)[:, None] * WIDTH + column[None, :], mask=inside, other=0.0).to(DTYPE)


@triton.jit
@no_type_check
def store_rows(x, head, row, column, length, rows, WIDTH: tl.constexpr):
    """x[head, row, column] = rows, rounded to x's type, where it lies inside."""
    inside = ((row >= 0) & (row < length))[:, None] & (column < WIDTH)[None, :]
    tl.store(x + (head * length + row)[:, None] * WIDTH + column[None, :], rows.to(x.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def load_row(x, row, column, WIDTH: tl.constexpr, DTYPE: tl.constexpr):
    """x[row, column] of a contiguous `[row, WIDTH]`, as `[column]` of DTYPE; zero outside. The row is there."""
    return tl.load(x + row * WIDTH + column, mask=column < WIDTH, other=0.0).to(DTYPE)


@triton.jit
@no_type_check
def store_row(x, row, column, values, WIDTH: tl.constexpr):
    """x[row, column] = values, rounded to x's type, where the column is there."""
    tl.store(x + row * WIDTH + column, values.to(x.dtype.element_ty), mask=column < WIDTH)


def padded(width: int) -> int:
    """The least power of two that holds `width` columns and that `tl.dot` takes."""
    return max(LEAST, triton.next_power_of_2(width))


def operand_type(dtype: torch.dtype) -> tl.dtype:
    """In what products take their operands: as given; but the interpreter keeps bfloat16 as integers and would multiply those."""
    return tl.float32 if dtype == torch.bfloat16 and interpreted() else TYPES[dtype]


def sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """In what is summed: float32 at least."""
    return torch.promote_types(dtype, torch.float32)


def launch_options(*, warps: int) -> dict[str, Any]:
    """How a kernel is compiled beyond its constants.

    Two stages: a deeper pipeline would hold more tiles than the 99 KiB of shared memory that every GPU from sm_86 on has. Fusing a
    product into a sum is said aloud, because Triton 3.10 changes what it does unasked.
    """
    return {"num_warps": warps, "num_stages": 2, "enable_fp_fusion": True}


def on_device_of(tensor: Tensor) -> torch.cuda.device_of:
    """Triton launches on the current device, which need not be the tensor's; for a CPU tensor this changes nothing."""
    return torch.cuda.device_of(tensor)
