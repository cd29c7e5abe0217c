"""SSD as PyTorch sees it: what is kept for the gradient, the contracts of the registered operators, transforms and compilation."""

import importlib
import os
import subprocess
import sys
from functools import partial
from typing import Any

import pytest
import torch
from ssd_calls import NAMES, Scan, outcome
from torch import Tensor

from recall_lab.kernels import Backend, BackendUnavailable, ssd_scan

fast_body = pytest.mark.parametrize("backend", ["eager", pytest.param("triton", marks=pytest.mark.interpreter)])
CHUNK = {"eager": (3,), "triton": ()}
"""what the registered operators are told of chunks: Triton has a size of its own"""


def body_of(backend: Backend) -> Any:
    return importlib.import_module(f"recall_lab.kernels.ssd.{backend}")


@fast_body
def test_between_forward_and_backward_only_inputs_and_states_between_chunks_are_kept(backend: Backend) -> None:
    case = Scan(batch=1, length=256, groups=1, head_width=4, state=4, chunk=64)
    inputs = {name: tensor.requires_grad_() for name, tensor in case.tensors().items() if name in NAMES[:4]}
    sizes: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes() // x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        ssd_scan(**inputs, chunk=64, backend=backend)
    assert sum(sizes.values()) == sum(x.numel() for x in inputs.values()) + 4 * 2 * 4 * 4


@fast_body
@pytest.mark.parametrize("keep", [False, True])
def test_the_registered_forward_keeps_its_contract(backend: Backend, keep: bool) -> None:
    tensors, body = Scan(batch=1, length=5, groups=1, group_heads=1).tensors(), body_of(backend)
    inputs = [tensors[name].requires_grad_(keep) for name in ("x", "log_decay", "B", "C", "initial_state")]
    torch.library.opcheck(body.forward, (*inputs, *CHUNK[backend], keep))
    assert (body.forward(*inputs, *CHUNK[backend], keep)[2].numel() > 0) == keep


@fast_body
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_registered_backward_keeps_its_contract(backend: Backend, dtype: torch.dtype) -> None:
    tensors, body = Scan(batch=1, length=5, groups=1, group_heads=1).tensors(dtype), body_of(backend)
    inputs, state = [tensors[name] for name in ("x", "log_decay", "B", "C")], torch.promote_types(dtype, torch.float32)
    *_, entering = body.forward(*inputs, tensors["initial_state"].to(state), *CHUNK[backend], True)
    torch.library.opcheck(body.backward, (tensors["dy"].to(state), tensors["dstate"].to(state), *inputs, entering, *CHUNK[backend]))


@fast_body
def test_without_a_wish_for_gradients_no_states_are_kept(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, body = [], body_of(backend)
    whole = body.forward
    monkeypatch.setattr(body, "forward", lambda *args: kept.append(args[-1]) or whole(*args))
    inputs = {name: Scan(batch=1, groups=1).tensors()[name] for name in NAMES[:4]}
    ssd_scan(**inputs, backend=backend)
    with torch.no_grad():
        ssd_scan(**inputs | {"x": inputs["x"].requires_grad_()}, backend=backend)
    ssd_scan(**inputs, backend=backend)
    assert kept == [False, False, True]


@pytest.mark.interpreter
def test_triton_writes_every_entry_it_returns_and_reads_none_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(x: Tensor, *shape: Any, **options: Any) -> Tensor:
        return x.new_ones(*(shape or [x.shape]), **options).mul_(torch.nan)

    monkeypatch.setattr(torch, "empty_like", poisoned)
    monkeypatch.setattr(Tensor, "new_empty", poisoned)
    found = outcome(Scan(batch=1, groups=1, length=70).tensors(), 64, "triton")
    assert all(torch.isfinite(x).all() for x in found.values())


@pytest.mark.parametrize("transform", ["jvp", "vmap", "grad"])
def test_only_the_reference_runs_inside_a_transform(transform: str) -> None:
    x, log_decay, B, C = (Scan(length=5).tensors()[name] for name in NAMES[:4])

    def call(x: Tensor, backend: Backend | None) -> Tensor:
        return ssd_scan(x, log_decay, B, C, backend=backend)

    transformed = {
        "jvp": lambda backend: torch.func.jvp(partial(call, backend=backend), (x,), (x,))[1],
        "vmap": lambda backend: torch.func.vmap(partial(call, backend=backend))(x[None])[0],
        "grad": lambda backend: torch.func.grad(lambda x: (call(x, backend) * x).sum() / 2)(x),
    }[transform]
    for backend in (None, "eager", "triton"):
        with pytest.raises(BackendUnavailable, match=r"ssd_scan runs inside torch.func or forward-mode AD as backend='reference' only"):
            transformed(backend)
    assert transformed("reference").shape == x.shape


def test_forward_mode_through_the_reference_is_the_central_difference() -> None:
    tensors = Scan(length=5).tensors()
    inputs = tuple(tensors[name] for name in NAMES[:5])
    along = tuple(torch.randn_like(x) for x in inputs)
    call = partial(ssd_scan, backend="reference")
    _, tangent = torch.func.jvp(call, inputs, along)
    ahead, behind = (call(*(x + step * d for x, d in zip(inputs, along, strict=True))) for step in (1e-6, -1e-6))
    torch.testing.assert_close(tangent, (ahead - behind) / 2e-6, rtol=0, atol=1e-7)


@pytest.mark.interpreter
def test_a_second_derivative_of_triton_is_refused() -> None:
    tensors = Scan(batch=1, length=3, groups=1, group_heads=1).tensors()
    inputs = [tensors[name].requires_grad_() for name in NAMES[:4]]
    (first,) = torch.autograd.grad(ssd_scan(*inputs, backend="triton").square().sum(), inputs[:1], create_graph=True)
    with pytest.raises(RuntimeError, match=r"not implemented|autograd formula"):
        torch.autograd.grad(first.sum(), inputs)


def test_ssd_compiles_whole_to_the_same_gradient() -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    subprocess.run([sys.executable, "-c", COMPILED], env={**os.environ, "PYTHONPATH": paths}, check=True, timeout=120)


COMPILED = """
import ssd_calls, torch
from heads import assert_close
tensors = ssd_calls.Scan(length=37).tensors()
want = ssd_calls.outcome(tensors, 16, "eager")
ssd_calls.ssd_scan = torch.compile(ssd_calls.ssd_scan, fullgraph=True, backend="aot_eager")
assert_close(ssd_calls.outcome(tensors, 16, "eager"), want, 1e-12)
"""
