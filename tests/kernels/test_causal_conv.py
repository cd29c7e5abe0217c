"""The causal convolution agrees with its definition and with PyTorch's own, and may be given in pieces."""

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from heads import LENGTHS, TOLERANCE, assert_close
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS, laid
from torch import Tensor

from recall_lab.kernels import Backend, causal_conv, causal_conv_step
from recall_lab.kernels._dispatch import interpreted
from recall_lab.kernels.causal_conv._checks import check_conv

OPTIONAL = ("bias", "tail")

triton_too = pytest.param("triton", marks=pytest.mark.interpreter)
every_body = pytest.mark.parametrize("backend", ["reference", "eager"])
fast_body = pytest.mark.parametrize("backend", ["eager", triton_too])
FEW = settings(max_examples=settings().max_examples // 2, phases=[Phase.explicit, Phase.reuse, Phase.generate])


@dataclass(frozen=True, kw_only=True)
class Case:
    """Shapes, layout and optional inputs of one call; the numbers follow from `seed`."""

    batch: int = 2
    length: int = 9
    channels: int = 3
    taps: int = 4
    given: Collection[str] = OPTIONAL
    activation: str | None = "silu"
    layout: str = "contiguous"
    seed: int = 0

    def inputs(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> dict[str, Tensor]:
        """Arguments by name, rounded to `dtype`; weight and bias keep float32 where that has more bits."""
        b, t, e, k = self.batch, self.length, self.channels, self.taps
        shapes = {"x": (b, t, e), "weight": (e, k), "bias": (e,), "tail": (b, e, k - 1)}
        generator = torch.Generator().manual_seed(self.seed)
        drawn = {name: torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype) for name, shape in shapes.items()}
        wide = torch.promote_types(dtype, torch.float32)
        drawn |= {"x": laid(drawn["x"], self.layout), "weight": drawn["weight"].to(wide), "bias": drawn["bias"].to(wide)}
        return {name: tensor for name, tensor in drawn.items() if name not in OPTIONAL or name in self.given}

    def grads(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> tuple[Tensor, Tensor]:
        """Gradients for the output and the tail."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        shapes = (self.batch, self.length, self.channels), (self.batch, self.channels, self.taps - 1)
        of_y, of_tail = (torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype) for shape in shapes)
        return laid(of_y, self.layout), of_tail


def outcome(case: Case, inputs: dict[str, Tensor], grads: tuple[Tensor, ...], conv: Any) -> dict[str, Tensor]:
    """Output, tail, and the gradient in every input by its name."""
    leaves = {name: x.detach().requires_grad_() for name, x in inputs.items()}
    out, tail = conv(**leaves, activation=case.activation, return_tail=True)
    reached = [(x, grad) for x, grad in zip((out, tail), grads, strict=True) if x.requires_grad]
    outputs, of_outputs = zip(*reached, strict=True)
    found = torch.autograd.grad(outputs, list(leaves.values()), of_outputs, allow_unused=True, materialize_grads=True)
    return {"output": out.detach(), "next tail": tail.detach(), **dict(zip(leaves, found, strict=True))}


def agrees(case: Case, backend: Backend = "eager", dtype: torch.dtype = torch.float64, device: str = "cpu") -> None:
    inputs, grads = case.inputs(dtype, device), case.grads(dtype, device)
    untouched = {name: x.clone() for name, x in inputs.items()}
    got = outcome(case, inputs, grads, partial(causal_conv, backend=backend))
    doubles = {name: x.double() for name, x in inputs.items()}
    want = outcome(case, doubles, tuple(x.double() for x in grads), partial(causal_conv, backend="reference"))
    for name, x in got.items():  # what stays in float32 keeps its digits, whatever the rest is rounded to
        assert_close({name: x}, want, TOLERANCE[x.dtype])
    assert {name: got[name].dtype for name in inputs} == {name: x.dtype for name, x in inputs.items()}
    assert got["output"].dtype == got["next tail"].dtype == dtype
    assert all(torch.equal(inputs[name], x) for name, x in untouched.items()), "an input was written to"


def convolutions(lengths: st.SearchStrategy[int], most_taps: int) -> st.SearchStrategy[Case]:
    """Calls in any layout, with any of the optional inputs, none of a batch included."""
    return st.builds(
        Case,
        batch=st.integers(0, 2),
        length=lengths,
        channels=st.sampled_from([1, 3, 8]),
        taps=st.integers(1, most_taps),
        given=st.sets(st.sampled_from(OPTIONAL)).map(sorted),
        activation=st.sampled_from([None, "silu"]),
        layout=st.sampled_from(LAYOUTS),
        seed=st.integers(0, 2**16),
    )


cases = convolutions(st.integers(0, 9) | st.sampled_from(LENGTHS), 6)
small_cases = convolutions(st.integers(0, 9), 4)
"""for the interpreter, where a tile takes a tenth of a second with its gradient"""


@settings(max_examples=3 * settings().max_examples)
@given(case=cases)
def test_eager_is_the_definition_in_output_tail_and_gradient(case: Case) -> None:
    agrees(case)


@pytest.mark.interpreter
@FEW
@given(case=small_cases)
def test_triton_is_the_definition_in_output_tail_and_gradient(case: Case) -> None:
    agrees(case, "triton")


@fast_body
@pytest.mark.parametrize(
    "length, channels, taps",
    [(29, 64, 4), (30, 65, 4), (32, 63, 1), (33, 2, 2), (63, 2, 3), (65, 2, 4), (3, 2, 34), (3, 0, 4)],
)
def test_every_gradient_is_right_at_the_edges_of_tiles(backend: Backend, length: int, channels: int, taps: int) -> None:
    agrees(Case(length=length, channels=channels, taps=taps), backend)


@fast_body
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("given", [(), OPTIONAL], ids=["nothing optional given", "everything given"])
def test_fewer_digits_cost_no_more_than_their_rounding(backend: Backend, dtype: torch.dtype, given: tuple[str, ...]) -> None:
    agrees(Case(length=70, given=given), backend, dtype)


@every_body
@given(case=cases.filter(lambda case: case.length > 0))  # of length 0 PyTorch takes none
def test_it_is_the_depthwise_convolution_of_pytorch(backend: Backend, case: Case) -> None:
    inputs = case.inputs()
    tail = inputs.get("tail", torch.zeros(case.batch, case.channels, case.taps - 1, dtype=torch.float64))
    y = F.conv1d(torch.cat([tail, inputs["x"].mT], dim=2), inputs["weight"][:, None], inputs.get("bias"), groups=case.channels).mT
    got = causal_conv(**inputs, activation=case.activation, backend=backend)
    assert_close({"output": got}, {"output": F.silu(y) if case.activation else y}, 1e-12)


@every_body
@given(case=cases, data=st.data())
def test_pieces_that_pass_the_tail_on_are_one_call_and_so_are_their_gradients(backend: Backend, case: Case, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, case.length), label="start of the second piece")
    conv = partial(causal_conv, backend=backend)

    def in_pieces(x: Tensor, tail: Tensor | None = None, **others: Any) -> tuple[Tensor, Tensor]:
        first, between = conv(x[:, :cut], tail=tail, **others)
        second, last = conv(x[:, cut:], tail=between, **others)
        return torch.cat([first, second], dim=1), last

    whole, pieces = (outcome(case, case.inputs(), case.grads(), call) for call in (conv, in_pieces))
    assert_close(pieces, whole, 1e-12)


def test_the_tail_is_the_last_tokens_even_of_a_sequence_shorter_than_it() -> None:
    x = torch.arange(1.0, 4.0)[None, :, None]
    tail = torch.tensor([[[-3.0, -2.0, -1.0, 0.0]]])
    for length in range(4):
        _, following = causal_conv(x[:, :length], torch.ones(1, 5), tail=tail, return_tail=True)
        assert following.flatten().tolist() == [*range(-3 + length, length + 1)]


def test_the_last_tap_is_the_present() -> None:
    x = torch.tensor([1.0, 10.0, 100.0])[None, :, None]
    assert causal_conv(x, torch.tensor([[3.0, 2.0]])).flatten().tolist() == [2.0, 23.0, 230.0]


@every_body
@given(case=cases, data=st.data())
def test_the_future_does_not_change_a_bit_of_the_past(backend: Backend, case: Case, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, case.length), label="first position that changes")
    inputs = case.inputs()
    changed = {**inputs, "x": torch.cat([inputs["x"][:, :cut], 9.0 - inputs["x"][:, cut:]], dim=1)}
    before, after = (causal_conv(**x, activation=case.activation, backend=backend)[:, :cut] for x in (inputs, changed))
    assert torch.equal(before, after)


@pytest.mark.parametrize("backend, length", [("eager", 2), ("eager", 7), pytest.param("triton", 2, marks=pytest.mark.interpreter)])
@pytest.mark.parametrize("activation", [None, "silu"])
def test_the_gradient_is_the_derivative(backend: Backend, length: int, activation: str | None) -> None:
    call, tensors = of_tensors(Case(length=length, channels=2, taps=3, activation=activation), backend)
    assert torch.autograd.gradcheck(call, tensors, fast_mode=backend == "triton")


@pytest.mark.parametrize("backend", ["reference", "eager", triton_too])
@pytest.mark.parametrize("activation", [None, "silu"])
def test_a_second_derivative_is_right_or_refused(backend: Backend, activation: str | None) -> None:
    call, tensors = of_tensors(Case(length=7, channels=2, activation=activation), backend)
    if backend != "triton":
        assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)
    else:
        (first,) = torch.autograd.grad(call(*tensors)[0].square().sum(), tensors[:1], create_graph=True)
        with pytest.raises(RuntimeError, match=r"not implemented|autograd formula"):
            torch.autograd.grad(first.sum(), tensors)


def of_tensors(case: Case, backend: Backend) -> tuple[Callable[..., tuple[Tensor, Tensor]], list[Tensor]]:
    """A call as a function of its tensors, and these, as gradients are checked."""
    inputs = case.inputs()

    def call(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return causal_conv(**dict(zip(inputs, tensors, strict=True)), activation=case.activation, return_tail=True, backend=backend)

    return call, [x.requires_grad_() for x in inputs.values()]


@pytest.mark.interpreter
@pytest.mark.parametrize("length, taps", [(0, 4), (5, 1), (5, 4)])
def test_the_registered_operators_keep_their_contract(length: int, taps: int) -> None:
    from recall_lab.kernels.causal_conv.triton import backward, forward

    case = Case(batch=1, length=length, channels=2, taps=taps)
    inputs, (grad, _) = case.inputs().values(), case.grads()
    torch.library.opcheck(backward, (grad, *inputs, True))
    torch.library.opcheck(forward, (*(x.requires_grad_() for x in inputs), True))


@pytest.mark.interpreter
def test_triton_writes_every_entry_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    new_empty = Tensor.new_empty
    monkeypatch.setattr(Tensor, "new_empty", lambda x, *args, **fields: new_empty(x, *args, **fields).fill_(torch.nan))
    for length in (0, 2, 40):
        agrees(Case(length=length), "triton")


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # of sums past the end, which are not stored
@fast_body
def test_float16_does_not_overflow_inside(backend: Backend) -> None:
    x = torch.full((1, 4, 1), 6e4, dtype=torch.float16)
    weight = torch.tensor([[1.0, 1.0, -1.5, -1.0]], dtype=torch.float16)
    y = causal_conv(x, weight, tail=x[:, :3].mT, backend=backend)
    assert torch.equal(y, -x / 2)


@pytest.mark.parametrize(
    "changed, complaint",
    [
        ({"x": (2, 3)}, r"x must be \[batch, length, channels\], weight \[channels, taps >= 1\], got \(2, 3\), \(3, 4\)"),
        ({"weight": (3, 0)}, r"x must be .* got \(2, 9, 3\), \(3, 0\)"),
        ({"weight": (1, 4)}, r"weight must have shape \(3, 4\), got \(1, 4\)"),
        ({"bias": (1,)}, r"bias must have shape \(3,\), got \(1,\)"),
        ({"tail": (2, 3, 4)}, r"tail must have shape \(2, 3, 3\), got \(2, 3, 4\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_name(changed: dict[str, tuple[int, ...]], complaint: str) -> None:
    shapes = {"x": (2, 9, 3), "weight": (3, 4), "bias": (3,), "tail": (2, 3, 3), **changed}
    with pytest.raises(ValueError, match=complaint):
        check_conv(**{name: torch.zeros(shape) for name, shape in shapes.items()}, activation=None)


@pytest.mark.parametrize("changed", ["weight", "bias", "tail"])
def test_dtypes_that_do_not_fit_are_refused_by_name(changed: str) -> None:
    inputs = Case().inputs(torch.bfloat16)
    with pytest.raises(ValueError, match=f"{changed} must have a floating dtype that goes with x's torch.bfloat16, got torch.float64"):
        causal_conv(**{**inputs, changed: inputs[changed].double()})


def test_an_activation_that_there_is_not_is_refused_rather_than_left_out() -> None:
    x, weight, bias, tail = Case().inputs().values()
    whole, step = (inspect.unwrap(call) for call in (causal_conv, causal_conv_step))  # else the type checker of the tests refuses first
    for call in (partial(whole, x, weight), partial(step, tail, x[:, 0], weight, bias)):
        with pytest.raises(ValueError, match=r"activation must be 'silu' or None, got 'relu'"):
            call(activation="relu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available() or interpreted(), reason="needs a GPU, and TRITON_INTERPRET=0")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels, taps", [(1, 1), (70, 4), (256, 3)])
@pytest.mark.parametrize("activation", [None, "silu"])
def test_a_gpu_keeps_the_digits_of_the_dtype(dtype: torch.dtype, channels: int, taps: int, activation: str | None) -> None:
    case = Case(length=301, channels=channels, taps=taps, activation=activation, layout="channels first")
    agrees(case, "triton", dtype, "cuda")


@given(case=st.builds(Case, batch=st.integers(0, 3), length=st.integers(1, 7), channels=st.integers(1, 3), taps=st.integers(1, 5)))
@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_steps_from_the_tail_give_the_whole(case: Case, activation: str | None, dtype: torch.dtype) -> None:
    x, weight, bias, tail = case.inputs(dtype).values()
    expected, last = causal_conv(x, weight, bias, activation=activation, tail=tail, return_tail=True)
    outputs = []
    for token in x.unbind(1):
        y, tail = causal_conv_step(tail, token, weight, bias, activation=activation)
        outputs.append(y)
    assert_close({"y": torch.stack(outputs, dim=1)}, {"y": expected}, TOLERANCE[dtype])
    torch.testing.assert_close(tail, last, rtol=0, atol=0)
