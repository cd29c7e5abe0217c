"""Ranks of the matrices that the selective scan and SSD apply."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.kernels import selective_scan
from recall_lab.theory import CLAIMS
from recall_lab.theory.mamba import semiseparable
from recall_lab.theory.mamba.semiseparable import block_singular_values, scan_matrices


def weights(length: int, states: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """dt, A, B and C of a channel or two."""
    draw = torch.Generator().manual_seed(seed)
    dt, B, C = (torch.randn(length, n, generator=draw, dtype=torch.float64) for n in (2, states, states))
    return dt.exp() / 10, -torch.arange(1.0, states + 1, dtype=torch.float64).expand(2, -1), B, C


def test_the_matrices_are_those_of_the_scan() -> None:
    dt, A, B, C = weights(20, 3)
    u = torch.randn(1, 20, 2, dtype=torch.float64)
    y = selective_scan(u, dt[None], A, B[None], C[None], dt_softplus=False)
    torch.testing.assert_close(torch.einsum("ets,se->te", scan_matrices(dt, A, B, C), u[0]), y[0], rtol=0, atol=1e-12)


@given(
    states=st.integers(1, 4),
    rows=st.sets(st.integers(0, 19), min_size=1),
    columns=st.sets(st.integers(0, 19), min_size=1),
    seed=st.integers(0, 9),
)
def test_no_block_that_keeps_on_or_below_the_diagonal_has_a_higher_rank(states: int, rows: set[int], columns: set[int], seed: int) -> None:
    below = [column for column in columns if column <= min(rows)]
    block = scan_matrices(*weights(20, states, seed))[:, sorted(rows)][:, :, sorted(below)]
    values = torch.linalg.svdvals(block)
    assert (values[:, states:] <= 1e-12 * values[:, :1]).all()


def test_the_whole_matrix_has_full_rank() -> None:
    values = block_singular_values(scan_matrices(*weights(20, 3)), 0)
    assert values.shape == (2, 1)  # a cut at 0 leaves one column
    assert (torch.linalg.svdvals(scan_matrices(*weights(20, 3)))[:, -1] > 1e-6).all()


def test_the_claim_does_not_hang_on_the_draw() -> None:
    for seed in range(20):
        last, beyond = CLAIMS["mamba.semiseparable"].check("quick", seed=seed).measured
        assert last.min() > 1e-3
        assert beyond.max() < 1e-14


def test_a_skip_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_skip(u, *args, **fields):
        return selective_scan(u, *args, **fields) + u

    monkeypatch.setattr(semiseparable, "selective_scan", with_skip)
    assert not CLAIMS["mamba.semiseparable"].check("quick", seed=0).holds


def test_states_that_are_all_alike_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(u, dt, A, B, C, **fields):
        return selective_scan(u, dt, A[:, :1].expand_as(A), B[..., :1].expand_as(B), C, **fields)

    monkeypatch.setattr(semiseparable, "selective_scan", alike)
    assert not CLAIMS["mamba.semiseparable"].check("quick", seed=0).holds


def test_a_mask_that_is_no_product_of_decays_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semiseparable, "decay_mask", lambda decay: torch.rand(*decay.shape, decay.shape[-1], dtype=decay.dtype).tril())
    assert not CLAIMS["mamba.semiseparable"].check("quick", seed=0).holds
