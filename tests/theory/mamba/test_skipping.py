"""Noise at which a selective scan does not step."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.kernels import selective_scan
from recall_lab.theory import CLAIMS
from recall_lab.theory.mamba import skipping
from recall_lab.theory.mamba.skipping import ONE, leak, states


def inputs(length: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """u, A and B."""
    draw = torch.Generator().manual_seed(seed)
    u, B = (torch.randn(length, width, generator=draw, dtype=torch.float64) for width in (2, 3))
    return u, -torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64).expand(2, -1), B


@given(
    data=st.lists(st.booleans(), min_size=1, max_size=40), hold=st.sampled_from([-5.0, -15.0, -40.0, -math.inf]), seed=st.integers(0, 20)
)
def test_noise_leaks_no_more_than_the_bound(data: list[bool], hold: float, seed: int) -> None:
    u, A, B = inputs(len(data), seed)
    kept = torch.tensor(data)
    if not kept.any():
        return
    dt = torch.where(kept[:, None], ONE, hold).double().expand(-1, 2)
    difference, bound = leak(u, dt, A, B, kept)
    assert (difference <= bound + 1e-13).all()


def test_a_state_that_does_not_fade_adds_noise_up_to_the_bound() -> None:
    u, B = torch.ones(10, 1, dtype=torch.float64), torch.ones(10, 1, dtype=torch.float64)
    data = torch.arange(10) == 0
    dt = torch.where(data[:, None], ONE, -20.0).double()
    difference, bound = leak(u, dt, torch.zeros(1, 1, dtype=torch.float64), B, data)
    assert difference.item() == pytest.approx(9 * math.exp(-20), rel=1e-6)
    torch.testing.assert_close(difference, bound, rtol=1e-6, atol=0)


def test_states_are_those_that_the_scan_ends_with() -> None:
    u, A, B = inputs(7)
    _, last = selective_scan(u[None], u[None], A, B[None], B[None], return_final_state=True)
    torch.testing.assert_close(states(u, u, A, B)[-1], last[0], rtol=0, atol=1e-12)


def test_noise_that_cannot_be_held_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skipping, "states", lambda u, dt, A, B: states(u, dt.clamp(min=-5), A, B))
    assert not CLAIMS["mamba.skipping"].check("quick", seed=0).holds


def test_data_in_another_order_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def shuffled(u, dt, A, B):
        return states(u.flip(0), dt, A, B) if (dt == dt[0]).all() else states(u, dt, A, B)

    monkeypatch.setattr(skipping, "states", shuffled)
    assert not CLAIMS["mamba.skipping"].check("quick", seed=0).holds
