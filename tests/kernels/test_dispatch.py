"""Which body runs, and every way in which one is refused."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

from recall_lab import kernels
from recall_lab.kernels import Window, _dispatch, linear_attention
from recall_lab.kernels._checks import check_heads

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "softmax_attention": [(1, 2, 5, 4)] * 3,
    "linear_attention": [(1, 2, 5, 4)] * 3,
    "causal_conv": [(1, 5, 3), (3, 4), (3,)],
    "selective_scan": [(1, 5, 3), (1, 5, 3), (3, 2), (1, 5, 2), (1, 5, 2), (3,), (1, 5, 3), (3,)],
    "ssd_scan": [(1, 5, 2, 3), (1, 5, 2), (1, 5, 1, 4), (1, 5, 1, 4), (2,)],
    "causal_topk": [(1, 2, 5)],
    "sparse_attention": [(1, 2, 5, 4)] * 3,
}
"""of the tensors that each operator with a Triton body takes by position"""
CONSTANTS: dict[str, tuple[Any, ...]] = {"causal_topk": (2,), "sparse_attention": (Window(2),)}
"""what it takes after them"""

every_operator = pytest.mark.parametrize("name", SHAPES)


def call(name: str, *tensors: Tensor, **options: Any) -> Any:
    return getattr(kernels, name)(*tensors, *CONSTANTS.get(name, ()), **options)


@pytest.fixture(autouse=True)
def _no_backend_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECALL_LAB_BACKEND", raising=False)


@pytest.fixture
def without_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dispatch, "interpreted", lambda: False)


@pytest.fixture
def on_gpu() -> Iterator[Callable[..., list[Tensor]]]:
    """Makes arguments that say they are on a GPU and hold nothing."""
    with FakeTensorMode():
        yield lambda name, dtype=torch.float32: [torch.empty(shape, device="cuda", dtype=dtype) for shape in SHAPES[name]]


def on_cpu(name: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Arguments that suit all: below 0, as decays are."""
    generator = torch.Generator().manual_seed(0)
    return [-torch.rand(shape, generator=generator, dtype=dtype) for shape in SHAPES[name]]


def in_a_fresh_process(code: str, **environment: str) -> None:
    kept = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    paths = os.pathsep.join(path for path in sys.path if path)
    subprocess.run([sys.executable, "-c", code], env={**kept, "PYTHONPATH": paths, **environment}, check=True, timeout=120)


@every_operator
def test_cpu_tensors_go_to_eager(name: str) -> None:
    assert kernels.which(name, *on_cpu(name)) == "eager"


@every_operator
@pytest.mark.usefixtures("without_interpreter")
def test_gpu_tensors_go_to_triton_where_it_takes_them_and_to_eager_elsewhere(name: str, on_gpu: Callable[..., list[Tensor]]) -> None:
    assert kernels.which(name, *on_gpu(name)) == "triton"
    assert kernels.which(name, *on_gpu(name, torch.bfloat16)) == "triton"
    assert kernels.which(name, *on_gpu(name, torch.float64)) == "eager"
    assert kernels.which(name, *on_gpu(name)[:-1], *on_cpu(name)[-1:]) == "eager"


@pytest.mark.usefixtures("without_interpreter")
def test_an_operator_without_a_triton_body_runs_eager_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, on_gpu: Callable[..., list[Tensor]]
) -> None:
    assert {name for name, operator in kernels.OPERATORS.items() if operator.triton is None} == {"bin_ranges"}
    monkeypatch.setitem(SHAPES, "bin_ranges", [(1, 2, 5)] * 2)
    bins = on_gpu("bin_ranges", torch.int64)
    assert kernels.which("bin_ranges", *bins) == "eager"
    with pytest.raises(
        kernels.BackendUnavailable, match=r"'triton': it has no Triton body, and runs eager on a GPU too; backend='eager' can"
    ):
        kernels.bin_ranges(*bins, 2, backend="triton")


@pytest.mark.usefixtures("without_interpreter")
def test_gpu_tensors_of_sizes_that_triton_refuses_go_to_eager(monkeypatch: pytest.MonkeyPatch, on_gpu: Callable[..., list[Tensor]]) -> None:
    monkeypatch.setitem(SHAPES, "wide", [(1, 1, 8, 129)] * 3)
    assert kernels.which("softmax_attention", *on_gpu("wide")) == "eager"
    assert kernels.which("sparse_attention", *on_gpu("wide")) == "eager"
    assert kernels.which("linear_attention", *on_gpu("wide")) == "triton"


@every_operator
def test_gpu_tensors_go_to_eager_without_triton(name: str, on_gpu: Callable[..., list[Tensor]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    assert kernels.which(name, *on_gpu(name)) == "eager"
    with pytest.raises(kernels.BackendUnavailable, match=r"'triton': triton is not installed; backend='eager' can"):
        call(name, *on_gpu(name), backend="triton")


@every_operator
@pytest.mark.usefixtures("without_interpreter")
def test_triton_is_refused_on_cpu_without_the_interpreter(name: str) -> None:
    with pytest.raises(kernels.BackendUnavailable, match=rf"{name} .* it needs CUDA tensors \(or TRITON_INTERPRET=1, set before"):
        call(name, *on_cpu(name), backend="triton")


@every_operator
@pytest.mark.usefixtures("without_interpreter")
def test_triton_is_refused_in_float64_on_a_gpu(name: str, on_gpu: Callable[..., list[Tensor]]) -> None:
    with pytest.raises(kernels.BackendUnavailable, match=r"it takes torch.float32, .* got torch.float64; backend='eager' can"):
        call(name, *on_gpu(name, torch.float64), backend="triton")


def test_the_environment_is_asked_after_the_context_and_the_context_after_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECALL_LAB_BACKEND", "reference")
    assert kernels.which("linear_attention", *on_cpu("linear_attention")) == "reference"
    with kernels.backend("triton"):
        assert kernels.which("linear_attention", *on_cpu("linear_attention")) == "triton"
        assert _dispatch.choose(kernels.OPERATORS["linear_attention"], on_cpu("linear_attention"), "eager") == "eager"
    assert kernels.which("linear_attention", *on_cpu("linear_attention")) == "reference"


def test_the_context_ends_with_its_block_even_when_that_fails() -> None:
    with kernels.backend("reference"):
        with pytest.raises(RuntimeError), kernels.backend("triton"):
            raise RuntimeError
        assert kernels.which("linear_attention", *on_cpu("linear_attention")) == "reference"
    assert kernels.which("linear_attention", *on_cpu("linear_attention")) == "eager"


def test_the_body_that_is_picked_is_the_body_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    for name in ("reference", "eager"):
        body = getattr(kernels.OPERATORS["linear_attention"], name)
        monkeypatch.setitem(
            vars(kernels.OPERATORS["linear_attention"]), name, lambda *args, name=name, body=body: ran.append(name) or body(*args)
        )
    linear_attention(*on_cpu("linear_attention"))
    with kernels.backend("reference"):
        linear_attention(*on_cpu("linear_attention"))
    assert ran == ["eager", "reference"]


def test_an_unknown_backend_is_named_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECALL_LAB_BACKEND", "cuda")
    with pytest.raises(ValueError, match="backend must be one of reference, eager, triton, got 'cuda'"):
        linear_attention(*on_cpu("linear_attention"))


def test_an_unknown_operator_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"name must be one of .*linear_attention.*, got 'attention'"):
        kernels.which("attention")


@every_operator
@pytest.mark.parametrize("backend", [None, "eager", "triton"])
@pytest.mark.parametrize("transform", ["jvp", "vmap", "grad", "dual numbers"])
def test_only_the_reference_runs_inside_a_transform(name: str, backend: kernels.Backend | None, transform: str) -> None:
    first, *others = on_cpu(name)

    def of_first(first: Tensor) -> Any:
        return call(name, first, *others, backend=backend)

    def with_dual_numbers() -> None:
        with forward_ad.dual_level():
            of_first(first)

    transformed = {
        "jvp": lambda: torch.func.jvp(of_first, (first,), (first,)),
        "vmap": lambda: torch.func.vmap(of_first)(first[None]),
        "grad": lambda: torch.func.grad(lambda x: of_first(x).sum())(first),
        "dual numbers": with_dual_numbers,
    }[transform]
    with pytest.raises(kernels.BackendUnavailable, match=rf"{name} runs inside torch.func or .* as backend='reference' only"):
        transformed()


@pytest.mark.parametrize("name", sorted(SHAPES.keys() - {"causal_topk"}))
def test_forward_mode_through_the_reference_is_the_central_difference(name: str) -> None:
    inputs, operator = tuple(on_cpu(name, torch.float64)), partial(call, name)
    along = tuple(torch.randn_like(x) for x in inputs)
    with kernels.backend("reference"):
        _, tangent = torch.func.jvp(operator, inputs, along)
        ahead, behind = (operator(*(x + step * d for x, d in zip(inputs, along, strict=True))) for step in (1e-6, -1e-6))
    torch.testing.assert_close(tangent, (ahead - behind) / 2e-6, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "shapes, complaint",
    [
        ([(2, 5, 4)] * 3, r"query must have the axes batch, heads, length, width"),
        ([(1, 2, 5, 0)] * 3, r"query and value must be at least 1 wide, got 0 and 0"),
        ([(1, 2, 5, 4), (1, 2, 6, 4), (1, 2, 5, 4)], r"key must have query's shape \(1, 2, 5, 4\), got \(1, 2, 6, 4\)"),
        ([(1, 2, 5, 4), (1, 2, 5, 4), (1, 1, 5, 4)], r"value must have query's batch, heads and length \(1, 2, 5\), got \(1, 1, 5\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_name(shapes: list[tuple[int, ...]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_heads(*map(torch.zeros, shapes))


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float64, torch.float32), (torch.int64,) * 3])
def test_dtypes_that_do_not_fit_are_refused(dtypes: tuple[torch.dtype, ...]) -> None:
    with pytest.raises(ValueError, match="query, key and value must share one floating dtype, got"):
        check_heads(*(torch.zeros(1, 1, 2, 2, dtype=dtype) for dtype in dtypes))


def test_the_package_imports_and_runs_without_triton() -> None:
    in_a_fresh_process(
        "import sys; sys.modules['triton'] = None\n"
        "import torch; from recall_lab import kernels; from recall_lab.kernels import Window\n"
        f"for name, shapes in {SHAPES}.items(): getattr(kernels, name)(*(-torch.rand(shape) for shape in shapes), *{CONSTANTS}.get(name, ()))"
    )


def test_an_interpreter_asked_for_after_triton_was_imported_is_not_believed() -> None:
    in_a_fresh_process(
        "import os, triton; os.environ['TRITON_INTERPRET'] = '1'\n"
        "from recall_lab.kernels import _dispatch\n"
        "assert not _dispatch.interpreted()"
    )


def test_every_body_compiles_whole_to_the_same_gradient() -> None:
    in_a_fresh_process(COMPILED, TRITON_INTERPRET="1")


COMPILED = f"""
import torch
from functools import partial
from heads import Heads, assert_close, outcome
from recall_lab import kernels

def of_all(call, tensors):
    leaves = [x.clone().requires_grad_() for x in tensors]
    outputs = call(*leaves)
    return dict(enumerate([*outputs, *torch.autograd.grad(sum(x.square().sum() for x in outputs), leaves)]))

def compare(call, tensors, found):
    torch.compiler.reset()  # else all calls count as one function that is compiled too often
    assert_close(found(torch.compile(call, fullgraph=True, backend="aot_eager"), tensors), found(call, tensors), 1e-12)

for backend in ("eager", "triton"):
    compare(partial(kernels.softmax_attention, backend=backend), Heads(length=45).tensors(), outcome)
    compare(partial(kernels.softmax_attention, window=7, backend=backend), Heads(length=45).tensors(), outcome)
    compare(partial(kernels.linear_attention, backend=backend), Heads(length=45).tensors(), outcome)
    for name, last in (("causal_conv", "return_tail"), ("selective_scan", "return_final_state"), ("ssd_scan", "return_final_state")):
        tensors = [-torch.rand(shape, dtype=torch.float64) for shape in {SHAPES}[name]]
        compare(partial(getattr(kernels, name), backend=backend, **{{last: True}}), tensors, of_all)
"""


def test_who_finds_the_folder_under_its_own_name_has_the_same_operators() -> None:
    code = "import recall_lab.kernels, kernels, transformers.activations; assert kernels is recall_lab.kernels"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
