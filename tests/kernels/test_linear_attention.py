"""Laws of linear attention alone: a state that adds up, keys that are read back, derivatives of any order."""

from functools import partial

import pytest
import torch
from heads import TOLERANCE, Heads, assert_close, heads, outcome
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.kernels import Backend, linear_attention

every_body = pytest.mark.parametrize("backend", ["reference", "eager", pytest.param("triton", marks=pytest.mark.interpreter)])
fast_body = pytest.mark.parametrize("backend", ["eager", pytest.param("triton", marks=pytest.mark.interpreter)])


@given(case=heads())
def test_the_definition_is_the_recurrence(case: Heads) -> None:
    query, key, value, _ = case.tensors()
    state = torch.zeros(case.batch, case.heads, case.width, case.value_width, dtype=torch.float64)
    outputs = linear_attention(query, key, value, backend="reference")
    for t in range(case.length):
        state = state + key[:, :, t, :, None] * value[:, :, t, None, :]
        torch.testing.assert_close(outputs[:, :, t], (query[:, :, t, None] @ state)[:, :, 0], rtol=0, atol=1e-11)


@every_body
def test_orthonormal_keys_return_their_values(backend: Backend) -> None:
    key = torch.eye(70, dtype=torch.float64).expand(1, 2, 70, 70)
    value = torch.randn(1, 2, 70, 3, dtype=torch.float64)
    asked = torch.arange(70).flip(0).clamp(max=torch.arange(70))
    torch.testing.assert_close(linear_attention(key[:, :, asked], key, value, backend=backend), value[:, :, asked], rtol=0, atol=1e-13)


@given(case=heads(max_length=130), cut=st.integers(0, 130))
def test_the_past_acts_through_one_state(case: Heads, cut: int) -> None:
    query, key, value, _ = case.tensors()
    state = key[:, :, :cut].mT @ value[:, :, :cut]
    later = linear_attention(query[:, :, cut:], key[:, :, cut:], value[:, :, cut:], backend="eager") + query[:, :, cut:] @ state
    whole = linear_attention(query, key, value, backend="eager")[:, :, cut:]
    torch.testing.assert_close(later, whole, rtol=1e-12, atol=1e-11)


@fast_body
@pytest.mark.parametrize("features, value_width", [(70, 3), (2, 67), (257, 40)])
def test_features_and_values_may_be_wider_than_a_tile(backend: Backend, features: int, value_width: int) -> None:
    case = Heads(batch=1, heads=1, length=70, width=features, value_width=value_width)
    got, want = (outcome(partial(linear_attention, backend=body), case.tensors()) for body in (backend, "reference"))
    assert_close(got, want, TOLERANCE[torch.float64])


@fast_body
def test_scores_beyond_float16_do_not_overflow_inside(backend: Backend) -> None:
    query, key, value, _ = Heads(length=70).tensors(torch.float16)
    query, key, value = 300 * query, 300 * key, value * 2.0**-13
    assert (query.double() @ key.double().mT).abs().max() > torch.finfo(torch.float16).max
    got = linear_attention(query, key, value, backend=backend)
    want = linear_attention(query.double(), key.double(), value.double(), backend="reference")
    assert_close({"output": got}, {"output": want}, TOLERANCE[torch.float16])


@fast_body
def test_second_derivatives_are_right(backend: Backend) -> None:
    tensors = Heads(batch=1, heads=1, length=5, width=2, value_width=3).tensors()[:3]
    assert torch.autograd.gradgradcheck(partial(linear_attention, backend=backend), [x.requires_grad_() for x in tensors], fast_mode=True)


@pytest.mark.interpreter
def test_the_registered_operator_keeps_its_contract() -> None:
    from recall_lab.kernels.linear_attention.triton import directed

    tensors = Heads(batch=1, heads=2, length=5, width=3, value_width=2).tensors()[:3]
    for reverse in (False, True):
        torch.library.opcheck(directed, (*(x.detach().requires_grad_() for x in tensors), reverse))
