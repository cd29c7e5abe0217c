"""The selective scan agrees with its definition, gradients included, and obeys the laws of a recurrence whose decay depends on the token.

In Triton's interpreter a token takes 15 ms, so what Triton shares with eager, from steps of time to D and z, is tested on eager alone.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Collection
from functools import partial
from typing import Any

import pytest
import torch
from heads import TOLERANCE, assert_close
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS
from scans import LENGTHS, OPTIONAL, Case, cases, names, outcome, small_cases
from torch import Tensor

from recall_lab.kernels import Backend, BackendUnavailable, selective_scan, selective_scan_step
from recall_lab.kernels._dispatch import interpreted
from recall_lab.kernels.selective_scan import _around as around
from recall_lab.kernels.selective_scan import eager, reference
from recall_lab.kernels.selective_scan._checks import check_scan

triton_too = pytest.param("triton", marks=pytest.mark.interpreter)
every_body = pytest.mark.parametrize("backend", ["reference", "eager"])
fast_body = pytest.mark.parametrize("backend", ["eager", triton_too])
FEW = settings(max_examples=settings().max_examples // 2, phases=[Phase.explicit, Phase.reuse, Phase.generate])


def agrees(
    case: Case,
    backend: Backend = "eager",
    wanted: Collection[str] | None = None,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> None:
    inputs, grads = case.inputs(dtype, device), case.grads(dtype, device)
    wanted = inputs if wanted is None else wanted
    untouched = {name: x.clone() for name, x in inputs.items()}
    got = outcome(case, inputs, grads, wanted, partial(selective_scan, backend=backend))
    doubles = {name: x.double() for name, x in inputs.items()}
    want = outcome(case, doubles, (grads[0].double(), grads[1].double()), wanted, partial(selective_scan, backend="reference"))
    for name, x in got.items():  # what stays in float32 keeps its digits, whatever the rest is rounded to
        assert_close({name: x}, want, TOLERANCE[x.dtype])
    assert {name: x.dtype for name, x in got.items() if name in inputs} == {name: x.dtype for name, x in inputs.items() if name in got}
    assert (got["output"].dtype, got["final state"].dtype) == (dtype, torch.promote_types(dtype, torch.float32))
    assert all(torch.equal(inputs[name], x) for name, x in untouched.items()), "an input was written to"


@settings(max_examples=3 * settings().max_examples)
@given(case=cases, wanted=names)
def test_eager_is_the_definition_in_output_state_and_gradient(case: Case, wanted: list[str]) -> None:
    agrees(case, wanted=[name for name in wanted if name in case.inputs()])


@pytest.mark.interpreter
@FEW
@given(case=small_cases, wanted=names)
def test_triton_is_the_definition_in_output_state_and_gradient(case: Case, wanted: list[str]) -> None:
    agrees(case, "triton", [name for name in wanted if name in case.inputs()])


@fast_body
@pytest.mark.parametrize("length", LENGTHS)
def test_every_gradient_is_right_at_the_edges_of_slabs(backend: Backend, length: int) -> None:
    agrees(Case(batch=1, length=length), backend)


@pytest.mark.parametrize("absent", OPTIONAL)
def test_each_optional_input_may_be_left_out(absent: str) -> None:
    agrees(Case(length=18, given=[name for name in OPTIONAL if name != absent]))


@fast_body
@pytest.mark.parametrize("channels, states", [(1, 1), (1, 5), (5, 1), (7, 3), (70, 4), (20, 65)])  # the last two need three blocks and two
def test_any_number_of_channels_and_states_will_do(backend: Backend, channels: int, states: int) -> None:
    agrees(Case(length=3, channels=channels, states=states), backend)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("grad_layout", LAYOUTS)
def test_the_layout_in_memory_does_not_matter(layout: str, grad_layout: str) -> None:
    agrees(Case(layout=layout, grad_layout=grad_layout))


@pytest.mark.parametrize("backend, length", [("eager", 1), ("eager", 70), pytest.param("triton", 20, marks=pytest.mark.interpreter)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("given", [OPTIONAL, ()], ids=["everything given", "nothing optional given"])
def test_fewer_digits_cost_no_more_than_their_rounding(backend: Backend, length: int, dtype: torch.dtype, given: tuple[str, ...]) -> None:
    agrees(Case(batch=1, length=length, given=given), backend, dtype=dtype)


@given(case=cases)
def test_the_definition_is_the_sum_over_the_past_with_the_decay_between(case: Case) -> None:
    given = case.inputs()
    u, A, B, C = (given[name] for name in "uABC")
    delta = given["dt"] + given.get("dt_bias", torch.zeros(case.channels))
    delta = torch.log1p(torch.exp(delta)) if case.softplus else delta
    elapsed = delta.cumsum(dim=1)
    between = elapsed[:, :, None] - elapsed[:, None]  # [batch, t, s, channel]
    decay = torch.exp(between[..., None].clamp(min=0) * A) * torch.ones(case.length, case.length).tril()[..., None, None]
    y = torch.einsum("btn,btsen,bse,bsn,bse->bte", C, decay, delta, B, u)
    if "initial_state" in given:
        y = y + torch.einsum("btn,bten,ben->bte", C, torch.exp(elapsed[..., None] * A), given["initial_state"])
    y = y + given["D"] * u if "D" in given else y
    y = y * given["z"] * torch.sigmoid(given["z"]) if "z" in given else y
    got = selective_scan(**given, dt_softplus=case.softplus, backend="reference")
    assert_close({"output": got}, {"output": y}, 1e-11)


@every_body
@pytest.mark.parametrize("cut", [0, 1, 16, 20, 37])
def test_pieces_that_pass_the_state_on_are_one_call_and_so_are_their_gradients(backend: Backend, cut: int) -> None:
    case = Case()

    def in_pieces(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, z: Tensor, initial_state: Tensor, **fixed: Any) -> Any:
        parts, state = [], initial_state
        for window in (slice(0, cut), slice(cut, None)):
            of_part = {"u": u[:, window], "dt": dt[:, window], "B": B[:, window], "C": C[:, window], "z": z[:, window]}
            out, state = selective_scan(A=A, initial_state=state, backend=backend, **of_part, **fixed)
            parts.append(out)
        return torch.cat(parts, dim=1), state

    inputs, grads = case.inputs(), case.grads()
    whole = outcome(case, inputs, grads, inputs, partial(selective_scan, backend=backend))
    assert_close(outcome(case, inputs, grads, inputs, in_pieces), whole, 1e-12)


@given(case=cases)
def test_steps_are_the_scan(case: Case) -> None:
    given = case.inputs()
    state = given.pop("initial_state", torch.zeros(case.batch, case.channels, case.states, dtype=torch.float64))
    whole, final = selective_scan(**given, initial_state=state, dt_softplus=case.softplus, return_final_state=True, backend="eager")
    for t in range(case.length):
        of_token = {name: x[:, t] if x.ndim == 3 else x for name, x in given.items()}
        before = state.clone()
        out, after = selective_scan_step(state, **of_token, dt_softplus=case.softplus)
        assert torch.equal(state, before)
        state = after
        torch.testing.assert_close(out, whole[:, t], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, final, rtol=1e-12, atol=1e-12)


def test_a_step_of_half_precision_keeps_its_state_in_float32() -> None:
    given = Case(length=1).inputs(torch.bfloat16)
    state = given.pop("initial_state")
    whole, final = selective_scan(**given, initial_state=state, return_final_state=True)
    out, after = selective_scan_step(state, **{name: x[:, 0] if x.ndim == 3 else x for name, x in given.items()})
    assert (out.dtype, after.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(out, whole[:, 0])
    torch.testing.assert_close(after, final)


@every_body
@given(case=cases, data=st.data())
def test_the_future_does_not_change_a_bit_of_the_past(backend: Backend, case: Case, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, case.length), label="first position that changes")
    given = case.inputs()
    changed = {
        name: torch.cat([x[:, :cut], 9.0 - x[:, cut:]], dim=1) if name in {"u", "dt", "B", "C", "z"} else x for name, x in given.items()
    }
    before, after = (selective_scan(**x, dt_softplus=case.softplus, backend=backend)[:, :cut] for x in (given, changed))
    assert torch.equal(before, after)


@every_body
def test_channels_and_batch_entries_do_not_meet(backend: Backend) -> None:
    given = Case().inputs()
    whole = selective_scan(**given, backend=backend)
    by_channel = {"u", "dt", "z"}
    for entry in range(2):
        for channel in range(3):
            one = slice(channel, channel + 1)
            alone = {}
            for name, x in given.items():
                mine = x[entry : entry + 1] if x.ndim == 3 else x
                alone[name] = mine[..., one] if name in by_channel else mine if name in {"B", "C"} else mine[..., one, :] if x.ndim > 1 else mine[one]  # fmt: skip
            torch.testing.assert_close(selective_scan(**alone, backend=backend), whole[entry : entry + 1, :, one], rtol=0, atol=1e-12)


@every_body
def test_no_time_passes_where_delta_is_zero(backend: Backend) -> None:
    given = Case(given=["initial_state"]).inputs()
    given["dt"] = torch.zeros_like(given["dt"])
    out, state = selective_scan(**given, dt_softplus=False, return_final_state=True, backend=backend)
    assert torch.equal(state, given["initial_state"])
    torch.testing.assert_close(out, torch.einsum("btn,ben->bte", given["C"], state), rtol=0, atol=1e-13)


@every_body
def test_all_is_forgotten_where_delta_is_large(backend: Backend) -> None:
    case = Case(given=["initial_state"])
    given = case.inputs()
    given["dt"], given["A"] = given["dt"].abs(), given["A"] - 0.1
    given["dt"][:, 20] = 1e5
    _, state = selective_scan(**given, dt_softplus=False, return_final_state=True, backend=backend)
    later = {name: x[:, 20:] if name in {"u", "dt", "B", "C"} else x for name, x in given.items() if name != "initial_state"}
    _, since = selective_scan(**later, dt_softplus=False, return_final_state=True, backend=backend)
    torch.testing.assert_close(state, since, rtol=1e-13, atol=0)


@every_body
@given(case=cases, factor=st.floats(-3, 3))
def test_output_and_state_are_linear_in_the_input_and_the_initial_state(backend: Backend, case: Case, factor: float) -> None:
    first, second = case.inputs(), Case(**{**vars(case), "seed": case.seed + 1}).inputs()
    linear = {"u", "initial_state"} & first.keys()
    both = {name: x + factor * second[name] if name in linear else x for name, x in first.items()}
    call = partial(selective_scan, dt_softplus=case.softplus, return_final_state=True, backend=backend)
    of_both, of_first, of_second = (call(**x) for x in (both, first, {**first, **{name: second[name] for name in linear}}))
    for got, x, y in zip(of_both, of_first, of_second, strict=True):
        assert_close({"sum": got}, {"sum": x + factor * y}, 1e-12)


def test_zero_order_hold_does_not_mind_when_a_token_is_cut_in_two() -> None:
    given = Case(length=9, given=[], softplus=False).inputs()
    halves = {name: x.repeat_interleave(2, dim=1) if name != "A" else x for name, x in given.items()}
    halves["dt"] = halves["dt"] / 2
    for discretise, same in (("zoh", True), ("euler", False)):
        states = [reference.selective_scan(**x, D=None, z=None, dt_bias=None, dt_softplus=False, initial_state=None, discretise=discretise)[1] for x in (given, halves)]  # fmt: skip
        assert torch.allclose(*states, rtol=1e-12) is same


@pytest.mark.parametrize("backend, length", [("eager", 5), ("eager", 18), pytest.param("triton", 2, marks=pytest.mark.interpreter)])
def test_the_gradient_is_the_derivative(backend: Backend, length: int) -> None:
    given = Case(batch=1, length=length, channels=2, states=3).inputs()

    def call(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return selective_scan(**dict(zip(given, tensors, strict=True)), return_final_state=True, backend=backend)

    assert torch.autograd.gradcheck(call, [x.requires_grad_() for x in given.values()], fast_mode=backend == "triton")


@pytest.mark.parametrize("backend", ["reference", "eager", triton_too])
def test_a_second_derivative_is_right_or_refused(backend: Backend) -> None:
    given = Case(batch=1, length=3, channels=2, states=2).inputs()
    tensors = [x.requires_grad_() for x in given.values()]

    def call(*tensors: Tensor) -> Tensor:
        return selective_scan(**dict(zip(given, tensors, strict=True)), backend=backend)

    if backend == "reference":
        assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)
    else:
        (first,) = torch.autograd.grad(call(*tensors).square().sum(), tensors[:1], create_graph=True)
        with pytest.raises(RuntimeError, match=r"not implemented|autograd formula"):
            torch.autograd.grad(first.sum(), tensors)


@fast_body
@pytest.mark.parametrize("length", [0, 18])
def test_the_registered_operators_keep_their_contract(backend: Backend, length: int) -> None:
    body = importlib.import_module(f"recall_lab.kernels.selective_scan.{backend}")
    case = Case(batch=1, length=length, channels=3, states=2, given=["initial_state"], softplus=False)
    u, delta, A, B, C, state = case.inputs().values()
    *_, edges = body.forward(u, delta, A, B, C, state, True)
    torch.library.opcheck(body.backward, (*case.grads(), u, delta, A, B, C, edges))
    for keep in (False, True):
        torch.library.opcheck(body.forward, (u, delta, A, B, C, state, keep))
    torch.library.opcheck(body.forward, (*(x.requires_grad_() for x in (u, delta, A, B, C, state)), True))


@pytest.mark.interpreter
def test_triton_writes_every_entry_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    new_empty = Tensor.new_empty
    monkeypatch.setattr(Tensor, "new_empty", lambda x, *args, **fields: new_empty(x, *args, **fields).fill_(torch.nan))
    agrees(Case(batch=1, length=17, channels=5), "triton")


@pytest.mark.parametrize(
    "backend, length, big",
    [*(("eager", 300, big) for big in (1.0, 10.0, 100.0, 1000.0)), pytest.param("triton", 20, 1000.0, marks=pytest.mark.interpreter)],
)
def test_short_and_long_steps_mixed_cost_no_digits(backend: Backend, length: int, big: float) -> None:
    case = Case(batch=1, length=length, channels=2, states=16, given=[], softplus=False)
    given = case.inputs(torch.float32)
    given["A"] = torch.tensor([[-1.0], [-16.0]]).expand(2, 16)
    given["dt"] = torch.where(torch.rand(given["dt"].shape, generator=torch.Generator().manual_seed(0)) < 0.2, big, 1e-3)
    grads = case.grads(torch.float32)
    got = outcome(case, given, grads, given, partial(selective_scan, backend=backend))
    doubles = {name: x.double() for name, x in given.items()}
    want = outcome(case, doubles, (grads[0].double(), grads[1].double()), given, partial(selective_scan, backend="reference"))
    for name, x in got.items():
        assert (x - want[name]).abs().max() <= 1e-5 * want[name].abs().max(), name


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # of gradients that nobody wants
@pytest.mark.parametrize("backend, length", [("eager", 50), pytest.param("triton", 8, marks=pytest.mark.interpreter)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_steps_decays_and_sizes_of_any_order_give_finite_results(backend: Backend, length: int, dtype: torch.dtype) -> None:
    case = Case(batch=1, length=length, channels=3, states=4, given=["initial_state"], softplus=False)
    given = case.inputs(dtype)
    given["dt"] = torch.tensor([1e-8, 1.0, 1e3])[torch.arange(length) % 3].to(dtype)[None, :, None].expand_as(given["dt"])
    given["A"] = -torch.logspace(-6, 4, 12).view(3, 4)
    half = dtype == torch.float16  # its outputs have to fit, and so have gradients that are stored in it
    given["B"], given["C"] = 1e3 * given["B"], given["C"] * (1e-3 if half else 1e3)
    wanted = {"A", "initial_state"} if half else given.keys()
    result = outcome(case, given, case.grads(dtype), wanted, partial(selective_scan, backend=backend))
    assert result["final state"].abs().max() > torch.finfo(torch.float16).max
    assert all(torch.isfinite(x).all() for x in result.values())


def test_softplus_keeps_the_digits_of_float64() -> None:
    dt = torch.linspace(15, 60, 200, dtype=torch.float64)
    torch.testing.assert_close(reference.step_size(dt, None, True), dt + torch.log1p(torch.exp(-dt)), rtol=1e-15, atol=0)


def kept_for_the_gradient(length: int, wanted: bool) -> int:
    """Numbers that the eager body keeps between forward and backward, each storage counted once, inputs included."""
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes() // x.element_size()
        return x

    given = Case(batch=1, length=length, channels=8, states=32, given=[]).inputs(torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = selective_scan(**{name: x.requires_grad_(wanted) for name, x in given.items()}, backend="eager")
    assert out.requires_grad is wanted
    return sum(kept.values())


def test_eager_keeps_its_inputs_and_one_state_in_sixteen() -> None:
    states = 8 * 32
    assert kept_for_the_gradient(1024, wanted=True) <= 1024 * (4 * 8 + 2 * 32 + states // 16) + states


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    assert kept_for_the_gradient(64, wanted=False) == 0
    asked = []
    for wanted, recording in ((False, True), (True, True), (True, False)):
        inputs = {name: x.requires_grad_(wanted) for name, x in Case().inputs().items()}
        with torch.set_grad_enabled(recording):
            around.selective_scan(lambda *args: asked.append(args[-1]) or eager.forward(*args), **inputs, dt_softplus=True)
    assert asked == [False, True, False]


@pytest.mark.interpreter
def test_triton_refuses_more_states_than_its_parts_of_gradients_are_worth() -> None:
    with pytest.raises(BackendUnavailable, match=r"a channel may have 256 states, got 257; backend='eager' can"):
        selective_scan(**Case(states=257).inputs(), backend="triton")


@pytest.mark.parametrize(
    "changed, complaint",
    [
        ({"u": (2, 3)}, "u must have the axes batch, length, channel, the last at least 1 wide"),
        ({"u": (2, 5, 0)}, "u must have the axes"),
        ({"A": (3, 0)}, "A must have the axes channel and state"),
        ({"dt": (2, 4, 3)}, r"dt must have shape \(2, 5, 3\) to fit u and A, got \(2, 4, 3\)"),
        ({"B": (2, 5, 1)}, r"B must have shape \(2, 5, 4\)"),
        ({"D": (1,)}, r"D must have shape \(3,\)"),
        ({"initial_state": (2, 3, 1)}, r"initial_state must have shape \(2, 3, 4\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_name(changed: dict[str, tuple[int, ...]], complaint: str) -> None:
    given = {**Case(length=5).inputs(), **{name: torch.zeros(shape, dtype=torch.float64) for name, shape in changed.items()}}
    with pytest.raises(ValueError, match=complaint):
        check_scan(("batch", "length", "channel"), **given)


@pytest.mark.parametrize("dtype, changed", [(torch.float64, "A"), (torch.float32, "C"), (torch.bfloat16, "z")])
def test_dtypes_that_do_not_fit_are_refused_by_name(dtype: torch.dtype, changed: str) -> None:
    given = Case().inputs(dtype)
    given[changed] = given[changed].to(torch.float16 if changed == "A" else torch.float64)
    with pytest.raises(ValueError, match=f"{changed} must have a floating dtype that goes with u's"):
        selective_scan(**given)


LONG = """
import re, sys
from pathlib import Path
import torch
from recall_lab.kernels import selective_scan
torch.set_num_threads(1)
channels, states = map(int, sys.argv[1:])
def inputs(length):
    torch.manual_seed(0)
    u, B, C = (torch.randn(1, length, width) for width in (channels, states, states))
    dt = torch.logspace(-3, -1, 1000)[torch.randint(1000, (1, length, channels))]  # steps and decays as a Mamba block begins with
    A = -torch.arange(1.0, states + 1).expand(channels, states).clone()
    return [x.requires_grad_() for x in (u, dt, A, B, C)]
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
def run(tensors):
    out, state = selective_scan(*tensors, dt_softplus=False, return_final_state=True)
    grads = torch.autograd.grad((out, state), tensors, (out.detach(), state.detach()))
    return [out.detach(), state.detach(), *grads]
run(inputs(64))
tensors = inputs(65536)
Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
before = peak()
found = run(tensors)
extra = peak() - before - sum(x.nbytes for x in found)
whole = 4 * 65536 * channels * states
doubles = run([x.detach().double().requires_grad_() for x in tensors])
error = max(((x - y).abs().max() / y.abs().max()).item() for x, y in zip(found, doubles, strict=True))
print(extra / whole, error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_a_long_sequence_takes_an_eighth_of_its_states_in_memory_and_loses_no_digits() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", LONG, "64", "16"]
    ran = subprocess.run(command, env=environment, check=True, timeout=600, stdout=subprocess.PIPE, text=True)
    share, error = map(float, ran.stdout.split())
    assert 1 / 16 < share <= 1 / 8  # the states that are kept are a sixteenth
    assert error <= 1e-6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available() or interpreted(), reason="needs a GPU, and TRITON_INTERPRET=0")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels, states", [(1, 1), (70, 5), (100, 16), (40, 64), (9, 200)])
def test_a_gpu_keeps_the_digits_of_the_dtype(dtype: torch.dtype, channels: int, states: int) -> None:
    agrees(Case(length=301, channels=channels, states=states, layout="channels first"), "triton", dtype=dtype, device="cuda")
