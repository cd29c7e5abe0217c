"""Compiles every Triton kernel for GPUs that need not be here, and says what each would take there. A program: see `test_compile.py`.

    python cross_compile.py 80:float32:64 90:bfloat16:128      (architecture : dtype : width of heads)

The operators are called on CPU tensors as on any other, so what is compiled is what they would launch: their tiles, their constants,
their warps. Only the launch is left out: Triton is given a device that has an architecture and nothing else. Prints JSON, a row a kernel.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from recall_lab.kernels.linear_attention.triton import directed
from recall_lab.kernels.softmax_attention.triton import backward, forward

LAUNCH = JITFunction.run


class Architecture:
    """What Triton asks of a device before it launches."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return self.capability  # Triton keeps compiled kernels by device

    def get_current_stream(self, device: int) -> int:
        return 0


def call_every_kernel(dtype: torch.dtype, width: int) -> None:
    query, key, value = (torch.zeros(1, 2, 96, width, dtype=dtype) for _ in range(3))
    out, log_sums = forward(query, key, value, 70, 0.3)
    backward(out, query, key, value, out, log_sums, 70, 0.3)
    for reverse in (False, True):
        directed(query, key, value, reverse)


def resources(cubin: bytes) -> dict[str, int]:
    """Registers a thread and bytes of stack (where what does not fit the registers is spilled to), as the assembler allotted them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        found = subprocess.run([triton.knobs.nvidia.cuobjdump.path, "-res-usage", file], capture_output=True, text=True, check=True)
    used = dict(re.findall(r"(REG|STACK):(\d+)", found.stdout))
    return {"registers": int(used["REG"]), "stack": int(used["STACK"])}


def compiled(capability: int, dtype: str, width: int) -> Iterator[dict[str, Any]]:
    driver.set_active(Architecture(capability))
    kernels = []

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **constants: Any) -> None:
        kernels.append((self.__name__, LAUNCH(self, *args, grid=grid, warmup=True, **constants)))

    JITFunction.run = compile_only
    call_every_kernel(getattr(torch, dtype), width)
    for name, kernel in kernels:
        yield {
            "kernel": f"{name} sm_{capability} {dtype} width {width}",
            "dtype": dtype,
            "shared": kernel.metadata.shared,
            "products": re.findall(r"tt\.dot .*", kernel.asm["ttir"]),
            "tensor_core_instructions": len(re.findall(r"wgmma\.mma_async|mma\.sync", kernel.asm["ptx"])),
            **resources(kernel.asm["cubin"]),
        }


if __name__ == "__main__":
    targets = (target.split(":") for target in sys.argv[1:])
    print(json.dumps([row for capability, dtype, width in targets for row in compiled(int(capability), dtype, int(width))]))
