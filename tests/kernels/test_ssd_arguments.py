"""What SSD refuses, and that it says by name what does not fit: in the whole, in its step, and as a matrix."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ssd_calls import Scan
from torch import Tensor

from recall_lab import kernels

ssd, ssd_scan, ssd_step, ssd_matrix, decay_mask = (
    inspect.unwrap(call) for call in (kernels.ssd, kernels.ssd_scan, kernels.ssd_step, kernels.ssd_matrix, kernels.decay_mask)
)
"""without the type checker of the tests, which would refuse first"""


def arguments(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Every tensor that `ssd` takes, for 4 heads in 2 groups, 3 wide with a state of 5."""
    tensors = Scan().tensors(dtype)
    kept = {"A": -torch.ones(4), "dt_bias": torch.ones(4)}
    return {name: tensors[name] for name in ("x", "B", "C", "D", "initial_state")} | {"dt": tensors["log_decay"]} | kept


def of_token(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same for `ssd_step`."""
    others = {name: x for name, x in given.items() if name != "initial_state"}
    return {name: x[:, 0] if name in {"x", "dt", "B", "C"} else x for name, x in others.items()} | {"state": given["initial_state"]}


def of_scan(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same for `ssd_scan`."""
    return {name: given[name] for name in ("x", "B", "C", "D", "initial_state")} | {"log_decay": -given["dt"].abs()}


@pytest.mark.parametrize(
    "changed, shape, complaint",
    [
        ("x", (2, 17, 4), r"x must have the axes batch, length, heads, head width, the last two at least 1 wide, got shape \(2, 17, 4\)"),
        ("B", (2, 17, 3, 5), r"B must begin with x's \(2, 17\), then have groups that divide its 4 heads .* got \(2, 17, 3, 5\)"),
        ("B", (1, 17, 2, 5), r"B must begin with x's \(2, 17\)"),
        ("C", (2, 17, 2, 6), r"C must have B's shape \(2, 17, 2, 5\), got \(2, 17, 2, 6\)"),
        ("dt", (2, 17, 1), r"dt must have shape \(2, 17, 4\) to fit x and B, got \(2, 17, 1\)"),
        ("A", (1,), r"A must have shape \(4,\)"),
        ("D", (3,), r"D must have shape \(4,\) or \(4, 3\) to fit x and B, got \(3,\)"),
        ("dt_bias", (4, 3), r"dt_bias must have shape \(4,\) to fit x and B, got \(4, 3\)"),
        ("initial_state", (2, 4, 5, 3), r"initial_state must have shape \(2, 4, 3, 5\) to fit x and B, got \(2, 4, 5, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_name(changed: str, shape: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ssd(**arguments() | {changed: torch.zeros(shape)})


@pytest.mark.parametrize(
    "changed, shape, complaint",
    [
        ("x", (2, 17, 4, 3), r"x must have the axes batch, heads, head width, .* got shape \(2, 17, 4, 3\)"),
        ("dt", (2, 1), r"dt must have shape \(2, 4\) to fit x and B, got \(2, 1\)"),
        ("A", (1,), r"A must have shape \(4,\)"),
        ("B", (1, 2, 5), r"B must begin with x's \(2,\), then have groups"),
        ("B", (2, 3, 5), r"B must .* groups that divide its 4 heads"),
        ("C", (2, 1, 5), r"C must have B's shape \(2, 2, 5\)"),
        ("D", (1,), r"D must have shape \(4,\) or \(4, 3\)"),
        ("state", (1, 4, 3, 5), r"state must have shape \(2, 4, 3, 5\) to fit x and B, got \(1, 4, 3, 5\)"),
    ],
)
def test_a_step_broadcasts_nothing(changed: str, shape: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ssd_step(**of_token(arguments()) | {changed: torch.zeros(shape)})


def test_the_scan_names_its_decay() -> None:
    given = of_scan(arguments())
    with pytest.raises(ValueError, match=r"log_decay must have shape \(2, 17, 4\) to fit x and B, got \(2, 17, 1\)"):
        ssd_scan(**given | {"log_decay": given["log_decay"][..., :1]})
    with pytest.raises(ValueError, match=r"log_decay must have a floating dtype that goes with x's torch.float32, got torch.int64"):
        ssd_scan(**given | {"log_decay": given["log_decay"].long()})


@pytest.mark.parametrize("form", [lambda given: ssd(**given), lambda given: ssd_step(**of_token(given))], ids=["whole", "step"])
@pytest.mark.parametrize(
    "dtype, changed, to",
    [
        (torch.float32, "dt", torch.int64),
        (torch.float32, "initial_state", torch.float64),
        (torch.float32, "A", torch.float64),
        (torch.float32, "D", torch.float16),
        (torch.bfloat16, "dt", torch.float16),
        (torch.bfloat16, "dt_bias", torch.float64),
    ],
)
def test_dtypes_that_do_not_fit_are_refused_by_name(
    form: Callable[[dict[str, Tensor]], Any], dtype: torch.dtype, changed: str, to: torch.dtype
) -> None:
    given = arguments(dtype)
    with pytest.raises(
        ValueError, match=rf"{changed.removeprefix('initial_')} must have a floating dtype that goes with x's {dtype}, got {to}"
    ):
        form(given | {changed: given[changed].to(to)})


def test_inputs_keys_and_queries_share_one_floating_dtype() -> None:
    given = arguments()
    with pytest.raises(ValueError, match=r"x, B and C must share one floating dtype, got torch.float32, torch.float64, torch.float32"):
        ssd(**given | {"B": given["B"].double()})
    with pytest.raises(ValueError, match=r"x, B and C must share one floating dtype, got torch.int64, torch.int64, torch.int64"):
        ssd(**given | {name: given[name].long() for name in ("x", "B", "C")})


@pytest.mark.parametrize("call", [ssd, ssd_scan])
def test_a_chunk_has_a_token_at_least(call: Callable[..., Any]) -> None:
    given = arguments() if call is ssd else of_scan(arguments())
    with pytest.raises(ValueError, match=r"chunk must be at least 1 token, got 0"):
        call(**given, chunk=0)


@pytest.mark.parametrize("limit", [(2.0, 1.0), (math.nan, 1.0)])
def test_steps_have_room_between_their_limits(limit: tuple[float, float]) -> None:
    given = arguments()
    for call, tensors in ((ssd, given), (ssd_step, of_token(given))):
        with pytest.raises(ValueError, match=r"dt_limit must be \(low, high\) with low <= high, got \("):
            call(**tensors, dt_limit=limit)
    assert (ssd(**given, dt_limit=(1.0, 1.0)) - ssd(**given, dt_limit=(1.0, 1.5))).any()


@pytest.mark.parametrize(
    "changed, replaced, complaint",
    [
        ("dt", torch.zeros(17, 4), r"dt must have the axes batch, length, heads, got shape \(17, 4\)"),
        ("A", torch.zeros(1), r"A must have shape \(4,\) to fit dt, got \(1,\)"),
        (
            "B",
            torch.zeros(2, 17, 3, 5),
            r"B must begin with dt's \(2, 17\), then have groups that divide its 4 heads .* got \(2, 17, 3, 5\)",
        ),
        ("C", torch.zeros(2, 17, 2, 6), r"C must have B's shape \(2, 17, 2, 5\)"),
        ("A", torch.zeros(4).double(), r"dt, A, B and C must share one floating dtype, got torch.float32, torch.float64, torch.float32"),
    ],
)
def test_a_matrix_of_what_does_not_fit_is_refused_by_name(changed: str, replaced: Tensor, complaint: str) -> None:
    given = {name: arguments()[name] for name in ("dt", "A", "B", "C")}
    with pytest.raises(ValueError, match=complaint):
        ssd_matrix(**given | {changed: replaced})


@pytest.mark.parametrize("log_decay", [torch.tensor(0.0), torch.zeros(3, dtype=torch.int64)])
def test_a_mask_needs_positions_and_a_floating_dtype(log_decay: Tensor) -> None:
    with pytest.raises(ValueError, match=r"log_decay must have an axis of positions and a floating dtype, got"):
        decay_mask(log_decay)
