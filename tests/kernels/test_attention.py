"""What holds for every attention operator and every body: the definition, its gradient, causality, independence of batch and heads."""

from functools import partial

import pytest
import torch
from heads import ORDERS, TOLERANCE, Attention, Heads, assert_close, heads, outcome
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from recall_lab.kernels import Backend, linear_attention, softmax_attention
from recall_lab.kernels._dispatch import interpreted

OPERATORS = {"softmax": softmax_attention, "softmax in a window": partial(softmax_attention, window=7), "linear": linear_attention}
windows = st.none() | st.sampled_from([1, 2, 15, 16, 17, 1000]) | st.integers(1, 140)
operators = st.just(linear_attention) | st.builds(partial, st.just(softmax_attention), window=windows, scale=st.none() | st.floats(-2, 2))
INTERPRETED = settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""a call with its gradient takes a fifth of a second, so a failure is shown as found: to shrink it would take minutes"""
FEW = settings(INTERPRETED, max_examples=settings().max_examples // 3)

every_operator = pytest.mark.parametrize("attention", OPERATORS.values(), ids=OPERATORS.keys())
every_body = pytest.mark.parametrize("backend", ["reference", "eager", pytest.param("triton", marks=pytest.mark.interpreter)])
fast_body = pytest.mark.parametrize("backend", ["eager", pytest.param("triton", marks=pytest.mark.interpreter)])
subsets = st.tuples(*[st.booleans()] * 3).filter(any)


def agrees(
    attention: Attention, backend: Backend, case: Heads, wanted: tuple[bool, bool, bool], dtype: torch.dtype, device: str = "cpu"
) -> None:
    tensors = case.tensors(dtype, device)
    untouched = [x.clone() for x in tensors]
    got = outcome(partial(attention, backend=backend), tensors, wanted)
    want = outcome(partial(attention, backend="reference"), [x.double() for x in tensors])
    assert_close(got, want, TOLERANCE[dtype])
    assert {x.dtype for x in got.values()} == {dtype}
    assert all(map(torch.equal, tensors, untouched)), "an input was written to"


@settings(max_examples=4 * settings().max_examples)
@given(attention=operators, case=heads(max_length=130), wanted=subsets)
def test_eager_is_the_definition_in_output_and_gradient(attention: Attention, case: Heads, wanted: tuple[bool, bool, bool]) -> None:
    agrees(attention, "eager", case, wanted, torch.float64)


@pytest.mark.interpreter
@INTERPRETED
@given(attention=operators, case=heads(), wanted=subsets)
def test_triton_is_the_definition_in_output_and_gradient(attention: Attention, case: Heads, wanted: tuple[bool, bool, bool]) -> None:
    agrees(attention, "triton", case, wanted, torch.float64)


@every_operator
@fast_body
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("length", [1, 70])
def test_fewer_digits_cost_no_more_than_their_rounding(attention: Attention, backend: Backend, dtype: torch.dtype, length: int) -> None:
    agrees(attention, backend, Heads(length=length, width=8, value_width=5, batch=1), (True, True, True), dtype)


@every_operator
@fast_body
@pytest.mark.parametrize("layout", ORDERS)
def test_the_layout_in_memory_does_not_matter(attention: Attention, backend: Backend, layout: str) -> None:
    agrees(attention, backend, Heads(layouts=(layout,) * 4), (True, True, True), torch.float64)


@every_operator
@fast_body
@pytest.mark.parametrize("length", [5, 18])
def test_the_gradient_is_the_derivative(attention: Attention, backend: Backend, length: int) -> None:
    tensors = Heads(batch=1, heads=1, length=length, width=2, value_width=3).tensors()[:3]
    assert torch.autograd.gradcheck(
        partial(attention, backend=backend), [x.requires_grad_() for x in tensors], fast_mode=backend == "triton"
    )


@every_operator
@every_body
@FEW
@given(case=heads(max_length=70), data=st.data())
def test_the_future_does_not_change_a_bit_of_the_past(attention: Attention, backend: Backend, case: Heads, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, case.length), label="first position that changes")
    tensors = [x.contiguous() for x in case.tensors()[:3]]  # in one layout, or a matrix product may sum in another order
    changed = [torch.cat([x[:, :, :cut], 9.0 - x[:, :, cut:]], dim=2) for x in tensors]
    before, after = (attention(*inputs, backend=backend)[:, :, :cut] for inputs in (tensors, changed))
    torch.testing.assert_close(after, before, rtol=0, atol=0)


@every_operator
@every_body
def test_heads_and_batch_entries_do_not_meet(attention: Attention, backend: Backend) -> None:
    *tensors, _ = Heads(batch=2, heads=3, length=37).tensors()
    whole = attention(*tensors, backend=backend)
    for entry in range(2):
        for head in range(3):
            alone = attention(*(x[entry : entry + 1, head : head + 1] for x in tensors), backend=backend)
            torch.testing.assert_close(alone[0, 0], whole[entry, head], rtol=0, atol=1e-12)


@pytest.mark.interpreter
@every_operator
def test_triton_writes_every_entry_it_returns(attention: Attention, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(x: Tensor, *args: object, **fields: object) -> Tensor:
        return torch.full_like(x, torch.nan)

    monkeypatch.setattr(torch, "empty_like", poisoned)
    result = outcome(partial(attention, backend="triton"), Heads(length=70, width=5, value_width=3).tensors())
    assert all(torch.isfinite(x).all() for x in result.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available() or interpreted(), reason="needs a GPU, and TRITON_INTERPRET=0")
@every_operator
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("width, value_width", [(3, 20), (64, 64), (128, 100)])
def test_a_gpu_keeps_the_digits_of_the_dtype(attention: Attention, dtype: torch.dtype, width: int, value_width: int) -> None:
    case = Heads(length=301, width=width, value_width=value_width, layouts=("heads inside",) * 4)
    agrees(attention, "triton", case, (True, True, True), dtype, "cuda")
