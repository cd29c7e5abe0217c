"""Small self-tests of what this machine has: what `doctor` prints."""

import os
import platform
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from .kernels import Backend

EXTRAS = {"triton": "GPU kernels", "jupyterlab": "notebooks"}
"""distributions that the lab can do without, and what for"""


class Finding(NamedTuple):
    """What was looked at; whether it works (None: not here, and not needed); in a few words what was seen."""

    what: str
    works: bool | None
    detail: str


def checkup() -> list[Finding]:
    """Every finding, the machine first."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = Finding("machine", True, f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {cores} cores")
    tests: dict[str, Callable[[], str]] = {
        "data": _data,
        "kernels, reference": lambda: _kernels("reference"),
        "kernels, eager": lambda: _kernels("eager"),
        "training": _training,
        "results folder": _store,
    }
    return [machine, *(_attempt(what, test) for what, test in tests.items()), _gpu(), *(_extra(name) for name in EXTRAS)]


def _attempt(what: str, test: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, test())
    except Exception as error:  # whatever it is, it is what the doctor was asked for
        return Finding(what, False, f"{type(error).__name__}: {error}")


def _data() -> str:
    import numpy as np

    from .tasks import MQAR, Stream

    task = MQAR(length=32, pairs=4)
    batch = task.sample(Stream(0), 2**40, 64)
    if not np.array_equal(task.solve(batch.tokens), batch.targets):
        raise RuntimeError("the oracle disagrees with the generator")
    return f"64 samples of mqar answered by their oracle, NumPy {np.__version__}"


def _kernels(backend: "Backend") -> str:
    import torch

    from . import kernels

    with kernels.backend(backend):
        return _operators_agree(torch.ones(3, 1, 5, 2, dtype=torch.float64).cumsum(dim=-2), at_most=1e-12)


def _operators_agree(qkv: "Tensor", at_most: float) -> str:
    """Each operator that Triton can run, on inputs for which it is known what it has to give, from q, k and v `[1, length, width]`."""
    import torch

    from . import kernels

    q, k, v = qkv
    heads, mixed = qkv[:, None], (q @ k.mT).tril() @ v
    ones, B, C, x = torch.ones_like(v), k[:, :, None], q[:, :, None], v[:, :, None]
    held = torch.zeros(v.shape[2], k.shape[2], dtype=v.dtype, device=v.device)
    rising = torch.arange(1, v.shape[1] + 1, dtype=v.dtype, device=v.device)
    newest = kernels.causal_topk(rising[None, None], 1)
    found = {
        "softmax_attention": (kernels.softmax_attention(*heads, window=1)[0], v),
        "linear_attention": (kernels.linear_attention(*heads)[0], mixed),
        "causal_conv": (kernels.causal_conv(v, ones[0, 0, :, None]), v),
        "selective_scan": (kernels.selective_scan(v, ones, held, k, q, dt_softplus=False), mixed),
        "ssd_scan": (kernels.ssd_scan(x, torch.zeros_like(x[..., 0]), B, C)[:, :, 0], mixed),
        "causal_topk": (newest.evicted_at[0, 0], rising),
        "sparse_attention": (kernels.sparse_attention(q[None], k[None], v[None], kernels.Union(newest, kernels.Window(1)))[0], v),
    }
    for name, (got, expected) in found.items():
        difference = float((got - expected).abs().max() / expected.abs().max())
        if not difference <= at_most:
            raise RuntimeError(f"{name} is off by {difference:.2g}")
    return ", ".join(found)


def _training() -> str:
    import torch

    from .run import single_run
    from .train import train

    settings = {"task.length": 16, "task.pairs": 2, "mixer.width": 8, "budget.steps": 2, "budget.validation": 16, "budget.test": 16}
    first, second = (train(single_run("mqar", "attention", settings, 0)) for _ in range(2))
    if first != second:
        raise RuntimeError("the same run trained twice gave two results")
    return f"the same run twice gives the same bits, PyTorch {torch.__version__}"


def _store() -> str:
    from .store import Store

    with tempfile.TemporaryDirectory() as folder:
        claim = Store(Path(folder)).open().claim("0" * 16)
        if claim is None:
            raise RuntimeError("a run cannot be claimed")
        claim.release()
    return "rows can be written and claimed"


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("kernels, triton on a GPU", None, "no CUDA device; Triton bodies are tested through Triton's interpreter")
    return _attempt("kernels, triton on a GPU", _triton)


def _triton() -> str:
    import torch

    from . import kernels

    with kernels.backend("triton"):
        return f"{torch.cuda.get_device_name()}: {_operators_agree(torch.randn(3, 1, 64, 32, device='cuda'), at_most=1e-3)}"


def _extra(name: str) -> Finding:
    try:
        return Finding(name, True, f"{metadata.version(name)} ({EXTRAS[name]})")
    except metadata.PackageNotFoundError:
        return Finding(name, None, f"not installed ({EXTRAS[name]})")
