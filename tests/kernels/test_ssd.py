"""SSD: its bodies against each other, against masked attention, linear attention and the selective scan; its decays however mixed.

In Triton's interpreter a chunk of a head takes 30 ms and its gradient 150, so the laws that a body has by being the definition are tested
on the definition and on eager alone.
"""

from functools import partial

import pytest
import torch
from heads import LENGTHS, TOLERANCE, assert_close
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from ssd_calls import CHUNKS, NAMES, Scan, outcome, scans
from torch import Tensor
from torch.nn import functional as F

from recall_lab.kernels import (
    Backend,
    decay_mask,
    linear_attention,
    selective_scan,
    ssd,
    ssd_matrix,
    ssd_scan,
    ssd_step,
)
from recall_lab.kernels._dispatch import interpreted

triton_too = pytest.param("triton", marks=pytest.mark.interpreter)
every_body = pytest.mark.parametrize("backend", ["reference", "eager"])
fast_body = pytest.mark.parametrize("backend", ["eager", triton_too])
all_three = pytest.mark.parametrize("backend", ["reference", "eager", triton_too])
FEW = settings(max_examples=settings().max_examples // 6, phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""a failure in the interpreter is shown as found: to shrink it would take minutes"""
ALL = (True,) * 6


def agrees(case: Scan, backend: Backend, dtype: torch.dtype, wanted: tuple[bool, ...] = ALL, device: str = "cpu") -> None:
    tensors = case.tensors(dtype, device)
    untouched = {name: tensor.clone() for name, tensor in tensors.items()}
    got = outcome(tensors, case.chunk, backend, wanted)
    want = outcome({name: tensor.double() for name, tensor in tensors.items()}, case.chunk, "reference", wanted)
    assert_close(got, want, TOLERANCE[dtype])
    state = torch.promote_types(dtype, torch.float32)
    assert {name: x.dtype for name, x in got.items()} == {name: state if name == "state" else dtype for name in want}
    assert all(torch.equal(tensors[name], untouched[name]) for name in tensors), "an input was written to"


@settings(max_examples=2 * settings().max_examples)
@given(case=scans(), wanted=st.tuples(*[st.booleans()] * 6))
@example(case=Scan(length=0), wanted=ALL)
@example(case=Scan(length=63, chunk=64), wanted=ALL)
@example(case=Scan(length=65, chunk=64, groups=1, group_heads=3), wanted=ALL)
def test_eager_is_the_definition_in_outputs_and_gradients(case: Scan, wanted: tuple[bool, ...]) -> None:
    agrees(case, "eager", torch.float64, wanted)


@pytest.mark.interpreter
@FEW
@given(case=scans(most=2), wanted=st.tuples(*[st.booleans()] * 6))
@example(case=Scan(length=0), wanted=ALL)
@example(case=Scan(batch=1, length=1, groups=1, head_width=1, state=1), wanted=ALL)
@example(case=Scan(batch=1, length=15, groups=1, head_width=16, state=3), wanted=ALL)
@example(case=Scan(batch=1, length=16, group_heads=1, head_width=3, state=16), wanted=ALL)
@example(case=Scan(batch=1, length=63, groups=1, group_heads=1), wanted=ALL)
@example(case=Scan(batch=1, length=65, groups=1, group_heads=3), wanted=ALL)
@example(case=Scan(batch=1, length=17, groups=1, group_heads=1, head_width=33, state=35), wanted=ALL)  # two tiles owned, three walked
@example(case=Scan(batch=1, length=130, groups=1, group_heads=1), wanted=ALL)
def test_triton_is_the_definition_in_outputs_and_gradients(case: Scan, wanted: tuple[bool, ...]) -> None:
    agrees(case, "triton", torch.float64, wanted)


@pytest.mark.parametrize(
    "backend, chunk, groups, group_heads",
    [
        *(("eager", chunk, groups, 4 // groups) for chunk in CHUNKS for groups in (1, 2, 4)),
        pytest.param("triton", 64, 1, 2, marks=pytest.mark.interpreter),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_fewer_digits_cost_no_more_than_their_rounding(
    backend: Backend, chunk: int, groups: int, group_heads: int, dtype: torch.dtype
) -> None:
    agrees(Scan(batch=1, groups=groups, group_heads=group_heads, length=33, chunk=chunk), backend, dtype)


@fast_body
@pytest.mark.parametrize("layout", ["time outside", "last axis first", "expanded in time"])
def test_the_layout_in_memory_does_not_matter(backend: Backend, layout: str) -> None:
    def laid(tensor: Tensor) -> Tensor:
        if layout == "expanded in time":
            return tensor[:, :1].expand(tensor.shape)
        axis = 1 if layout == "time outside" else -1
        return tensor.movedim(axis, 0).contiguous().movedim(0, axis)

    tensors = {name: laid(tensor) for name, tensor in Scan(group_heads=1).tensors().items()}
    assert not tensors["x"].is_contiguous()
    assert_close(outcome(tensors, 4, backend), outcome(tensors, 4, "reference"), TOLERANCE[torch.float64])


@fast_body
def test_the_gradient_is_the_derivative(backend: Backend) -> None:
    tensors = Scan(batch=1, length=5, groups=1, chunk=3, head_width=2, state=2).tensors()
    inputs = [tensors[name].requires_grad_() for name in NAMES]

    def call(*args: Tensor) -> tuple[Tensor, Tensor]:
        return ssd_scan(*args[:5], initial_state=args[5], chunk=3, return_final_state=True, backend=backend)

    slow = backend == "eager"
    assert torch.autograd.gradcheck(call, inputs, fast_mode=not slow, check_undefined_grad=slow)


@fast_body
def test_the_gradient_of_one_output_alone_needs_none_of_the_other(backend: Backend) -> None:
    tensors = Scan(batch=1, group_heads=1, chunk=4).tensors()
    inputs = {name: tensors[name].requires_grad_() for name in ("x", "log_decay", "B", "C")}
    for output in (0, 1):
        sums = [ssd_scan(**inputs, chunk=4, return_final_state=True, backend=body)[output].sum() for body in (backend, "reference")]
        got, want = (torch.autograd.grad(total, list(inputs.values()), materialize_grads=True) for total in sums)
        for mine, its in zip(got, want, strict=True):
            torch.testing.assert_close(mine, its, rtol=0, atol=1e-12)


@given(case=scans(), cut=st.integers(0, LENGTHS[-1]), backend=st.sampled_from(["reference", "eager"]))
def test_the_past_acts_through_one_state(case: Scan, cut: int, backend: Backend) -> None:
    tensors = {name: case.tensors()[name] for name in NAMES}
    state, call = tensors.pop("initial_state"), partial(ssd_scan, chunk=case.chunk, return_final_state=True, backend=backend)
    whole, end = call(**tensors, initial_state=state)
    parts = []
    for at in (slice(cut), slice(cut, None)):
        y, state = call(**{name: x if name == "D" else x[:, at] for name, x in tensors.items()}, initial_state=state)
        parts.append(y)
    assert_close({"y": torch.cat(parts, dim=1), "state": state}, {"y": whole, "state": end}, 1e-12)


@pytest.mark.interpreter
@pytest.mark.parametrize("cut", [1, 64])
def test_the_future_does_not_change_a_bit_of_the_past_in_triton(cut: int) -> None:
    tensors = {name: Scan(batch=1, groups=1, group_heads=1, length=70).tensors()[name] for name in NAMES[:4]}
    changed = {name: torch.cat([x[:, :cut], 2 * x[:, cut:] - 1], dim=1) for name, x in tensors.items()}
    before, after = (ssd_scan(**inputs, backend="triton")[:, :cut] for inputs in (tensors, changed))
    assert torch.equal(before, after)


@every_body
@given(case=scans(), data=st.data())
def test_the_future_does_not_change_a_bit_of_the_past(backend: Backend, case: Scan, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, case.length), label="first position that changes")
    tensors = {name: case.tensors()[name] for name in NAMES[:4]}
    changed = {name: torch.cat([x[:, :cut], 2 * x[:, cut:] - 1], dim=1) for name, x in tensors.items()}
    before, after = (ssd_scan(**inputs, chunk=case.chunk, backend=backend)[:, :cut] for inputs in (tensors, changed))
    assert torch.equal(before, after)


@every_body
@given(case=scans())
def test_a_head_reads_the_keys_and_queries_of_its_group_and_nothing_else(backend: Backend, case: Scan) -> None:
    x, log_decay, B, C, D = (case.tensors()[name] for name in NAMES[:5])
    whole = ssd_scan(x, log_decay, B, C, D, chunk=case.chunk, backend=backend)
    for head in range(case.heads):
        own, group = slice(head, head + 1), slice(head // case.group_heads, head // case.group_heads + 1)
        alone = ssd_scan(x[:, :, own], log_decay[:, :, own], B[:, :, group], C[:, :, group], D[own], chunk=case.chunk, backend=backend)
        torch.testing.assert_close(alone, whole[:, :, own], rtol=0, atol=1e-12)


@every_body
@given(case=scans(max_length=40))
def test_inputs_and_initial_state_superpose(backend: Backend, case: Scan) -> None:
    tensors = {name: case.tensors()[name] for name in NAMES}
    call = partial(ssd_scan, chunk=case.chunk, return_final_state=True, backend=backend)
    without = {name: tensors | {name: torch.zeros_like(tensors[name])} for name in ("x", "initial_state")}
    parts = [call(**inputs) for inputs in without.values()]
    for got, *want in zip(call(**tensors), *parts, strict=True):
        torch.testing.assert_close(got, sum(want), rtol=0, atol=1e-12)


@every_body
@pytest.mark.parametrize("per_channel", [False, True])
def test_the_skip_adds_each_input_times_its_own_factor(backend: Backend, per_channel: bool) -> None:
    x, log_decay, B, C, D = (Scan().tensors()[name] for name in NAMES[:5])
    D = D if per_channel else D[:, 0]
    want = torch.einsum("bthp,hp->bthp" if per_channel else "bthp,h->bthp", x, D)
    for call, decay in ((ssd_scan, (log_decay,)), (ssd, (log_decay, -x.new_ones(4)))):
        got = call(x, *decay, B, C, D, backend=backend) - call(x, *decay, B, C, backend=backend)
        torch.testing.assert_close(got, want, rtol=0, atol=1e-13)


@every_body
@given(case=scans())
def test_ssd_is_masked_attention(backend: Backend, case: Scan) -> None:
    x, log_decay, B, C = (case.tensors()[name] for name in NAMES[:4])
    dt, A = -log_decay, -torch.linspace(0.1, 2, case.heads, dtype=torch.float64)
    y = ssd(x, dt, A, B, C, dt_softplus=False, chunk=case.chunk, backend=backend)
    torch.testing.assert_close(torch.einsum("bhts,bshp->bthp", ssd_matrix(dt, A, B, C), x), y, rtol=0, atol=1e-11)


@every_body
@pytest.mark.parametrize("group_heads", [1, 3])
def test_without_decay_ssd_is_linear_attention(backend: Backend, group_heads: int) -> None:
    x, _, B, C = (Scan(length=70, group_heads=group_heads).tensors()[name] for name in NAMES[:4])
    query, key = (tensor.transpose(1, 2).repeat_interleave(group_heads, dim=1) for tensor in (C, B))
    y = ssd_scan(x, x.new_zeros(x.shape[:3]), B, C, backend=backend)
    want = linear_attention(query, key, x.transpose(1, 2), backend="reference")
    torch.testing.assert_close(y.transpose(1, 2), want, rtol=0, atol=1e-11)


@every_body
def test_with_one_rate_a_head_the_selective_scan_is_ssd(backend: Backend) -> None:
    case = Scan(groups=1, group_heads=3, length=37)
    tensors = case.tensors()
    A, bias, D = -torch.linspace(0.1, 2, 3).double(), torch.linspace(-1, 1, 3).double(), tensors["D"]
    dt = -12 * tensors["log_decay"] - 5  # below and beyond where PyTorch would take softplus for the identity
    ours = ssd(tensors["x"], dt, A, tensors["B"], tensors["C"], D, dt_bias=bias, initial_state=tensors["initial_state"],
               chunk=16, return_final_state=True, backend=backend)  # fmt: skip
    wide = partial(torch.repeat_interleave, repeats=case.head_width)
    theirs = selective_scan(
        tensors["x"].flatten(2), wide(dt, dim=2), wide(A, dim=0)[:, None].expand(-1, case.state),
        tensors["B"][:, :, 0], tensors["C"][:, :, 0], D.flatten(), dt_bias=wide(bias, dim=0),
        initial_state=tensors["initial_state"].flatten(1, 2), return_final_state=True, backend="reference",
    )  # fmt: skip
    torch.testing.assert_close(ours[0].flatten(2), theirs[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(ours[1].flatten(1, 2), theirs[1], rtol=0, atol=1e-12)


@every_body
@pytest.mark.parametrize("per_channel", [False, True])
def test_step_after_step_is_the_whole_scan(backend: Backend, per_channel: bool) -> None:
    tensors = Scan(length=70).tensors()
    x, dt, B, C, state = (tensors[name] for name in ("x", "log_decay", "B", "C", "initial_state"))
    A, bias, D = -torch.ones(4).double(), torch.linspace(-1, 2, 4).double(), tensors["D"] if per_channel else tensors["D"][:, 0]
    options = {"dt_bias": bias, "dt_limit": (0.2, 1.5)}
    whole, end = ssd(x, dt, A, B, C, D, initial_state=state, return_final_state=True, backend=backend, **options)
    for t in range(70):
        before = state.clone()
        y, after = ssd_step(state, x[:, t], dt[:, t], A, B[:, t], C[:, t], D, **options)
        assert torch.equal(state, before)
        torch.testing.assert_close(y, whole[:, t], rtol=0, atol=1e-12)
        state = after
    torch.testing.assert_close(state, end, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_parameters_and_state_stay_in_float32_beside_activations_of_half_precision(dtype: torch.dtype) -> None:
    tensors = Scan(length=37).tensors(dtype)
    inputs = {name: tensors[name] for name in ("x", "B", "C")} | {"dt": tensors["log_decay"]}
    kept = {"A": -torch.linspace(0.1, 2, 4), "D": tensors["D"].float() + 1e-4, "dt_bias": torch.linspace(-1, 2, 4)}
    y, state = ssd(**inputs, **kept, return_final_state=True)
    want, exact = ssd(**{name: x.double() for name, x in (inputs | kept).items()}, return_final_state=True, backend="reference")
    assert_close({"y": y}, {"y": want}, TOLERANCE[dtype])
    assert_close({"state": state}, {"state": exact}, TOLERANCE[torch.float32])
    stepped, after = ssd_step(torch.zeros_like(state), *(inputs[name][:, 0] for name in ("x", "dt")), kept["A"], inputs["B"][:, 0],
                              inputs["C"][:, 0], kept["D"], dt_bias=kept["dt_bias"])  # fmt: skip
    assert (y.dtype, stepped.dtype, state.dtype, after.dtype) == (dtype, dtype, torch.float32, torch.float32)
    assert_close({"y": stepped}, {"y": want[:, 0]}, TOLERANCE[dtype])


def test_the_step_size_is_limited_after_the_softplus() -> None:
    tensors = Scan().tensors()
    x, dt, B, C = (tensors[name] for name in ("x", "log_decay", "B", "C"))
    A, bias = -torch.ones(4).double(), torch.linspace(-1, 2, 4).double()
    limited = ssd(x, dt, A, B, C, dt_bias=bias, dt_limit=(0.2, 1.5))
    step = F.softplus(dt + bias).clamp(0.2, 1.5)
    torch.testing.assert_close(limited, ssd_scan(step[..., None] * x, step * A, B, C), rtol=0, atol=1e-12)
    assert not torch.allclose(limited, ssd(x, dt, A, B, C, dt_bias=bias))


@all_three
def test_a_step_of_zero_holds_the_state(backend: Backend) -> None:
    x, _, B, C, _, state = (Scan().tensors()[name] for name in NAMES)
    dt = x.new_zeros(x.shape[:3])
    y, held = ssd(x, dt, -x.new_ones(4), B, C, dt_softplus=False, initial_state=state, return_final_state=True, backend=backend)
    assert torch.equal(held, state)
    read = torch.einsum("bhpn,bthn->bthp", state, C.repeat_interleave(2, dim=2))
    torch.testing.assert_close(y, read, rtol=0, atol=1e-14)


@all_three
@pytest.mark.parametrize("log_decay", [-torch.inf, -1e4])
def test_a_decay_of_zero_forgets_whatever_came_before(backend: Backend, log_decay: float) -> None:
    tensors = Scan(batch=1, length=37, group_heads=1).tensors()
    tensors["log_decay"][:, 20] = log_decay
    later = {name: x if name == "D" else x[:, 20:] for name, x in tensors.items() if name != "dstate"}
    fresh = later | {"initial_state": torch.zeros_like(tensors["initial_state"]), "dstate": tensors["dstate"]}
    got, want = outcome(tensors, 16, backend), outcome(fresh, 16, "reference")
    assert_close({"y": got["y"][:, 20:], "state": got["state"]}, {name: want[name] for name in ("y", "state")}, 1e-12)
    assert all(torch.isfinite(x).all() for x in got.values())
    assert not got["initial_state"][..., 0, 0].isnan().any()


def mixed_steps(big: float) -> dict[str, Tensor]:
    """A fifth of the tokens erases what the others, whose steps are small, add up."""
    tensors = Scan(batch=1, length=128, groups=1, head_width=8, state=8).tensors(torch.float32)
    draw = torch.rand(1, 128, 2, generator=torch.Generator().manual_seed(1))
    return {name: tensors[name] for name in ("x", "B", "C", "dy")} | {
        "dt": torch.where(draw < 0.2, big, 1e-3),
        "A": torch.tensor([-1.0, -16.0]),
    }


def ssd_outcome(tensors: dict[str, Tensor], backend: Backend) -> dict[str, Tensor]:
    inputs = {name: tensors[name].detach().requires_grad_() for name in ("x", "dt", "A", "B", "C")}
    y = ssd(**inputs, dt_softplus=False, backend=backend)
    grads = torch.autograd.grad(y, list(inputs.values()), tensors["dy"])
    return {"y": y.detach()} | dict(zip(inputs, grads, strict=True))


@pytest.mark.parametrize(
    "backend, dtype, tolerance, big",
    [
        *(("eager", torch.float32, 1e-5, big) for big in (1.0, 10.0, 100.0, 1000.0)),
        *(("eager", torch.float64, 1e-12, big) for big in (1.0, 1000.0)),
        *(pytest.param("triton", torch.float32, 1e-5, big, marks=pytest.mark.interpreter) for big in (1.0, 1000.0)),
    ],
)
def test_mixed_steps_cost_no_digits(backend: Backend, dtype: torch.dtype, tolerance: float, big: float) -> None:
    tensors = mixed_steps(big)
    got = ssd_outcome({name: x.to(dtype) for name, x in tensors.items()}, backend)
    want = ssd_outcome({name: x.double() for name, x in tensors.items()}, "reference")
    for name, exact in want.items():
        error = ((got[name] - exact).abs().max() / exact.abs().max()).item()
        assert error <= tolerance, f"{name}: {error:.1e}"


def test_the_mask_is_the_product_of_the_decays_between() -> None:
    decay = torch.rand(2, 3, 9, dtype=torch.float64)
    mask = decay_mask(decay.log())
    for t in range(9):
        for s in range(9):
            want = decay[..., s + 1 : t + 1].prod(dim=-1) if s <= t else torch.zeros(2, 3, dtype=torch.float64)
            torch.testing.assert_close(mask[..., t, s], want, rtol=1e-14, atol=0)


def test_the_gradient_of_the_mask_is_its_derivative_and_finite_where_decays_are_zero() -> None:
    log_decay = -torch.rand(2, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(decay_mask, log_decay.requires_grad_())
    erased = log_decay.detach().index_fill(1, torch.tensor([3]), -torch.inf).requires_grad_()
    assert torch.isfinite(torch.autograd.grad(decay_mask(erased).sum(), erased)[0]).all()


@pytest.mark.slow
def test_a_long_sequence_keeps_the_digits_of_float32() -> None:
    tensors = Scan(batch=1, length=65_536, groups=1, head_width=8, state=16).tensors(torch.float32)
    got = outcome(tensors, 64, "eager")
    want = outcome({name: x.double() for name, x in tensors.items()}, 64, "eager")
    for name, exact in want.items():
        assert (got[name] - exact).abs().max() <= 2e-6 * exact.abs().max(), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available() or interpreted(), reason="needs a GPU, and TRITON_INTERPRET=0")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("head_width, state", [(3, 20), (32, 64), (64, 128)])
def test_a_gpu_keeps_the_digits_of_the_dtype(dtype: torch.dtype, head_width: int, state: int) -> None:
    agrees(Scan(length=301, head_width=head_width, state=state), "triton", dtype, device="cuda")
