"""Small self-tests of what this machine has: what `doctor` prints."""

import os
import platform
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
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

    q, k, v = torch.ones(3, 1, 1, 5, 2, dtype=torch.float64).cumsum(dim=-2)
    with kernels.backend(backend):
        found = kernels.linear_attention(q, k, v), kernels.softmax_attention(q, k, v, window=1)
    expected = (q @ k.mT).tril() @ v, v
    if not all(torch.allclose(*pair) for pair in zip(found, expected, strict=True)):
        raise RuntimeError("wrong result")
    return ", ".join(kernels.OPERATORS)


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

    q, k, v = torch.randn(3, 1, 2, 64, 32, device="cuda")
    for operator in (kernels.softmax_attention, kernels.linear_attention):
        difference = (operator(q, k, v, backend="triton") - operator(q, k, v, backend="reference")).abs().max()
        if not difference < 1e-3:
            raise RuntimeError(f"{operator.__name__} differs from its reference by {difference:.2g}")
    return torch.cuda.get_device_name()


def _extra(name: str) -> Finding:
    try:
        return Finding(name, True, f"{metadata.version(name)} ({EXTRAS[name]})")
    except metadata.PackageNotFoundError:
        return Finding(name, None, f"not installed ({EXTRAS[name]})")
