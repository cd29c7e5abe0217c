"""Compiles every Triton kernel for GPUs that need not be here, and says what each would take there. A program: see `test_compile.py`.

    python cross_compile.py 80:float32:64 90:bfloat16:128      (architecture : dtype : width of a head, or states of a channel)

The operators are called on CPU tensors as on any other, so what is compiled is what they would launch: their tiles, their constants,
their warps. Only the launch is left out: Triton is given a device that has an architecture and nothing else. Prints JSON: `launched`, the
names of all kernels there are to launch, and `rows`, one for every kernel and target.
"""

import importlib
import json
import pkgutil
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

from recall_lab import kernels
from recall_lab.kernels.causal_conv import triton as causal_conv
from recall_lab.kernels.causal_topk import triton as causal_topk
from recall_lab.kernels.linear_attention.triton import directed
from recall_lab.kernels.selective_scan import MOST_STATES
from recall_lab.kernels.selective_scan import triton as selective_scan
from recall_lab.kernels.softmax_attention import WIDEST
from recall_lab.kernels.softmax_attention.triton import backward, forward
from recall_lab.kernels.sparse_attention import triton as sparse_attention
from recall_lab.kernels.ssd import triton as ssd

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


def call_attention(dtype: torch.dtype, width: int) -> None:
    query, key, value = (torch.zeros(1, 2, 96, width, dtype=dtype) for _ in range(3))
    out, log_sums = forward(query, key, value, 70, 0.3)
    backward(out, query, key, value, out, log_sums, 70, 0.3)
    for reverse in (False, True):
        directed(query, key, value, reverse)


def call_sparse_attention(dtype: torch.dtype, width: int) -> None:
    """Two parts, the second of which leaves out what the first holds; and the selection of few and of many."""
    for k in (width, 4000):
        causal_topk.forward(torch.arange(5000).expand(1, 2, -1), k)
    query, key, value = (torch.zeros(2, 96, width, dtype=dtype) for _ in range(3))
    parts = torch.arange(96).expand(1, 2, 2, -1), torch.arange(96).expand(1, 4, 2, -1)
    out, log_sums = sparse_attention.forward(query, key, value, *parts, 0.3)
    sparse_attention.backward(out, log_sums, query, key, value, out, log_sums, *parts, 0.3)


def call_mamba(dtype: torch.dtype, width: int) -> None:
    """With few states and with many; odd numbers of them and of channels: where nothing is aligned, addresses take the most registers."""
    for states in (3, width - 1):
        call_selective_scan(dtype, 7 * states, states)
    shapes = ((1, 96, 2 * width - 1), (2 * width - 1, 4), (2 * width - 1,), (1, 2 * width - 1, 3))
    x, weight, bias, tail = (torch.zeros(shape, dtype=dtype) for shape in shapes)
    for silu in (False, True):
        causal_conv.backward(causal_conv.forward(x, weight, bias, tail, silu), x, weight, bias, tail, silu)


def call_selective_scan(dtype: torch.dtype, channels: int, states: int) -> None:
    wide = torch.promote_types(dtype, torch.float32)
    u, B = (torch.zeros(1, 96, columns, dtype=dtype) for columns in (channels, states))
    delta, A, state = (torch.zeros(shape, dtype=wide) for shape in ((1, 96, channels), (channels, states), (1, channels, states)))
    for keep_edges in (False, True):
        y, final, edges = selective_scan.forward(u, delta, A, B, B, state, keep_edges)
    selective_scan.backward(y, final, u, delta, A, B, B, edges)


def call_ssd(dtype: torch.dtype, width: int) -> None:
    x, log_decay = torch.zeros(1, 96, 4, width, dtype=dtype), torch.zeros(1, 96, 4, dtype=dtype)
    B, state = (
        torch.zeros(1, 96, 2, 2 * width, dtype=dtype),
        torch.zeros(1, 4, width, 2 * width, dtype=torch.promote_types(dtype, torch.float32)),
    )
    y, final, entering = ssd.forward(x, log_decay, B, B, state, True)
    ssd.backward(y, final, x, log_decay, B, B, entering)


def call_every_kernel(dtype: torch.dtype, width: int) -> None:
    """Each at this width, or as wide as it goes."""
    call_attention(dtype, min(width, WIDEST))
    call_sparse_attention(dtype, min(width, WIDEST))
    call_mamba(dtype, min(width, MOST_STATES))
    call_ssd(dtype, width)


def name(kernel: JITFunction) -> str:
    return f"{kernel.__module__.split('.')[-2]}.{kernel.__name__}"


def launched() -> list[str]:
    """Kernels that are called from Python: those that no other kernel calls."""
    folders = [module.name for module in pkgutil.iter_modules(kernels.__path__) if module.ispkg]
    bodies = [
        importlib.import_module(f"{kernels.__name__}.{folder}.triton")
        for folder in folders
        if Path(kernels.__path__[0], folder, "triton.py").exists()
    ]
    functions = {name(x): x for body in bodies for x in vars(body).values() if isinstance(x, JITFunction)}
    called = {id(x.fn.__globals__.get(of)) for x in functions.values() for of in x.fn.__code__.co_names}
    return sorted(of for of, x in functions.items() if id(x) not in called)


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
    seen = []

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **constants: Any) -> None:
        seen.append((name(self), LAUNCH(self, *args, grid=grid, warmup=True, **constants)))

    JITFunction.run = compile_only
    call_every_kernel(getattr(torch, dtype), width)
    for of, kernel in seen:
        yield {
            "kernel": of,
            "target": f"sm_{capability} {dtype} width {width}",
            "shared": kernel.metadata.shared,
            "products": re.findall(r"tt\.dot .*", kernel.asm["ttir"]),
            "tensor_core_instructions": len(re.findall(r"wgmma\.mma_async|mma\.sync", kernel.asm["ptx"])),
            **resources(kernel.asm["cubin"]),
        }


if __name__ == "__main__":
    targets = (target.split(":") for target in sys.argv[1:])
    rows = [row for capability, dtype, width in targets for row in compiled(int(capability), dtype, int(width))]
    print(json.dumps({"launched": launched(), "rows": rows}))
