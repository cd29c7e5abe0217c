"""Laws of softmax attention alone: what a window is, what the scale is, what its memory grows with."""

from functools import partial

import pytest
import torch
from heads import TOLERANCE, Heads, assert_close, heads, outcome
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recall_lab.kernels import Backend, BackendUnavailable, softmax_attention

every_body = pytest.mark.parametrize("backend", ["reference", "eager", pytest.param("triton", marks=pytest.mark.interpreter)])


@every_body
def test_a_window_of_one_returns_the_values(backend: Backend) -> None:
    query, key, value, _ = Heads(length=40).tensors()
    torch.testing.assert_close(softmax_attention(query, key, value, window=1, backend=backend), value, rtol=0, atol=1e-15)


@every_body
def test_a_window_as_long_as_the_sequence_is_no_window(backend: Backend) -> None:
    query, key, value, _ = Heads(length=33).tensors()
    whole = softmax_attention(query, key, value, backend=backend)
    for window in (33, 34, 10**12):
        assert torch.equal(softmax_attention(query, key, value, window=window, backend=backend), whole)


@every_body
def test_what_has_left_the_window_has_no_say(backend: Backend) -> None:
    tensors = [x.contiguous() for x in Heads(length=70).tensors()[:3]]
    changed = [torch.cat([9.0 - x[:, :, :50], x[:, :, 50:]], dim=2) for x in tensors]
    before, after = (softmax_attention(*inputs, window=9, backend=backend)[:, :, 58:] for inputs in (tensors, changed))
    assert torch.equal(before, after)


@given(case=heads(), window=st.none() | st.integers(1, 70))
def test_the_weights_are_a_mean(case: Heads, window: int | None) -> None:
    query, key, value, _ = case.tensors()
    mean = softmax_attention(query, key, torch.ones_like(value), window=window, backend="reference")
    torch.testing.assert_close(mean, torch.ones_like(value), rtol=0, atol=1e-14)


@every_body
def test_a_sharp_scale_returns_the_value_of_the_matching_key(backend: Backend) -> None:
    key = torch.eye(16, dtype=torch.float64).expand(1, 2, 16, 16)
    value = torch.randn(1, 2, 16, 3, dtype=torch.float64)
    asked = torch.arange(16).flip(0).clamp(max=torch.arange(16))  # each asks for a key it can already see
    got = softmax_attention(key[:, :, asked], key, value, scale=1000.0, backend=backend)
    torch.testing.assert_close(got, value[:, :, asked], rtol=0, atol=1e-15)


@every_body
@pytest.mark.parametrize("size", [1e-30, 1e4, 1e15])
def test_scores_of_any_size_give_finite_outputs_and_gradients(backend: Backend, size: float) -> None:
    query, key, value, grad = Heads(length=35).tensors(torch.float32)
    result = outcome(partial(softmax_attention, window=20, backend=backend), [size * query, size * key, value, grad])
    assert all(torch.isfinite(x).all() for x in result.values())


def kept_for_the_gradient(length: int, window: int | None, value_width: int) -> int:
    """Numbers that the eager body keeps between forward and backward, each storage counted once."""
    sizes: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes() // x.element_size()
        return x

    query, key, value, _ = Heads(batch=1, heads=1, length=length, width=8, value_width=value_width).tensors(torch.float32)
    leaves = [x.requires_grad_() for x in (query, key, value)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = softmax_attention(*leaves, window=window, backend="eager")
    assert out.requires_grad
    return sum(sizes.values())


@pytest.mark.parametrize("window", [None, 16, 100])
@pytest.mark.parametrize("value_width", [5, 8, 11])
def test_eager_keeps_no_matrix_of_scores(window: int | None, value_width: int) -> None:
    short, long = (kept_for_the_gradient(length, window, value_width) for length in (1024, 2048))
    assert long < 2.2 * short
    assert long < 2048 * 150


def test_eager_is_exact_where_a_row_sees_nothing_of_its_first_512_keys() -> None:
    case = Heads(batch=1, heads=1, length=2700)  # PyTorch walks keys by 512; a band of window 2100 has 525 rows
    got, want = (outcome(partial(softmax_attention, window=2100, backend=body), case.tensors()) for body in ("eager", "reference"))
    assert_close(got, want, TOLERANCE[torch.float64])


@every_body
@pytest.mark.parametrize("scale", [0.0, -0.5])
@pytest.mark.parametrize("window", [None, 5])
def test_the_scale_may_be_zero_or_negative(backend: Backend, scale: float, window: int | None) -> None:
    query, key, value, grad = Heads().tensors()
    got = outcome(partial(softmax_attention, window=window, scale=scale, backend=backend), [query, key, value, grad])
    want = outcome(partial(softmax_attention, window=window, scale=1.0, backend="reference"), [scale * query, key, value, grad])
    want["query"] = scale * want["query"]
    assert_close(got, want, TOLERANCE[torch.float64])


@pytest.mark.interpreter
@pytest.mark.parametrize("window", [None, 2, 32, 33, 34, 65])
def test_triton_is_exact_where_the_window_ends_at_the_edge_of_a_tile(window: int | None) -> None:
    case = Heads(batch=1, heads=1, length=100, width=3, value_width=17)
    got, want = (outcome(partial(softmax_attention, window=window, backend=body), case.tensors()) for body in ("triton", "reference"))
    assert_close(got, want, TOLERANCE[torch.float64])


@every_body
def test_a_second_derivative_is_right_or_refused(backend: Backend) -> None:
    tensors = [x.requires_grad_() for x in Heads(batch=1, heads=1, length=4, width=2, value_width=2).tensors()[:3]]
    attention = partial(softmax_attention, window=3, backend=backend)
    if backend == "reference":
        assert torch.autograd.gradgradcheck(attention, tensors, fast_mode=True)
    else:
        (first,) = torch.autograd.grad(attention(*tensors).square().sum(), tensors[:1], create_graph=True)
        with pytest.raises(RuntimeError, match=r"not implemented|autograd formula"):
            torch.autograd.grad(first.sum(), tensors)


def test_a_window_without_the_position_itself_is_refused() -> None:
    with pytest.raises(ValueError, match=r"window must be at least 1 .*, got 0"):
        softmax_attention(*Heads().tensors()[:3], window=0)


@pytest.mark.interpreter
def test_triton_refuses_heads_wider_than_its_registers() -> None:
    query, key, value, _ = Heads(width=129).tensors()
    with pytest.raises(BackendUnavailable, match=r"heads may be 128 wide, got 129; backend='eager' can"):
        softmax_attention(query, key, value, backend="triton")


@pytest.mark.interpreter
def test_the_registered_operators_keep_their_contract() -> None:
    from recall_lab.kernels.softmax_attention.triton import backward, forward

    query, key, value, grad = Heads(batch=1, heads=2, length=5, width=3, value_width=2).tensors()
    out, log_sums = forward(query, key, value, 4, 0.5)
    torch.library.opcheck(forward, [x.requires_grad_() for x in (query, key, value)] + [4, 0.5])
    torch.library.opcheck(backward, (grad, query.detach(), key.detach(), value.detach(), out, log_sums, 4, 0.5))
