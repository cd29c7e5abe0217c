"""By what key selection is taught to rank keys."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recall_lab.models.key_selection import FEWEST, ks_target
from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import ks_target_bias
from recall_lab.theory.hax.ks_target_bias import KINDS, PLANTED, WIDTH, above, correlation_with_position, planted, targets

any_pair = {"length": st.integers(1, 40), "size": st.sampled_from([0.1, 1.0, 30.0]), "seed": st.integers(0, 99)}


def drawn(length: int, size: float, seed: int) -> tuple[Tensor, Tensor]:
    """Queries and keys."""
    query, key = size * torch.randn(2, length, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return query, key


@given(**any_pair)
def test_a_query_and_its_negative_like_all_keys_alike_in_a_mean_and_the_earlier_more_in_a_sum(length: int, size: float, seed: int) -> None:
    """What the expectations of the proof come from."""
    query, key = drawn(length, size, seed)
    by_sum, by_mean, _ = targets(query, key) + targets(-query, key)
    np.testing.assert_allclose(by_sum, length - np.arange(length), atol=1e-9)
    seen = max(0, length - FEWEST)
    np.testing.assert_allclose(by_mean[:seen], 1.0, atol=1e-9)
    assert np.isnan(by_mean[seen:]).all()


@given(**any_pair)
def test_a_sum_is_bounded_by_the_queries_to_come_and_mass_is_handed_out_once_by_each(length: int, size: float, seed: int) -> None:
    by_sum, by_mean, mass = targets(*drawn(length, size, seed))
    assert (by_sum <= length - np.arange(length)).all()
    assert (by_mean[~np.isnan(by_mean)] <= 1).all()
    assert mass.sum() == pytest.approx(length)


def test_like_keys_get_a_mass_that_falls_with_position() -> None:
    mass = targets(torch.zeros(6, 5, dtype=torch.float64), torch.zeros(6, 5, dtype=torch.float64))[KINDS.index("mass")]
    np.testing.assert_allclose(mass, [sum(1 / (i + 1) for i in range(j, 6)) for j in range(6)])


def test_correlation_with_position_goes_by_ranks_and_leaves_out_what_is_not_known() -> None:
    assert correlation_with_position(np.exp(np.arange(9.0))) == pytest.approx(1)
    assert correlation_with_position(-np.array([0.0, 1.0, np.nan, 7.0, np.nan])) == pytest.approx(-1)
    assert correlation_with_position(np.array([1.0, 2.0, 0.0])) == pytest.approx(-0.5)


def test_the_planted_key_is_liked_by_nearly_all_queries_and_the_others_are_left() -> None:
    draw = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1057, WIDTH, generator=draw, dtype=torch.float64)
    leaning, changed = planted(query, key, draw)
    assert ((leaning @ changed[PLANTED]).sigmoid() > 0.99).double().mean() > 0.99
    assert (changed != key).any(dim=1).nonzero().flatten().tolist() == [PLANTED]


def test_keys_above_the_planted_one_are_counted() -> None:
    target = np.arange(1000.0)
    target[-1] = np.nan
    assert above(target) == 1000 - PLANTED - 2


@pytest.mark.parametrize("kind, instead", [("paper", "mean"), ("mean", "paper"), ("mean", "mass"), ("mass", "mean")])
def test_another_target_breaks_the_claim(monkeypatch: pytest.MonkeyPatch, kind: str, instead: str) -> None:
    monkeypatch.setattr(ks_target_bias, "ks_target", lambda query, key, asked: ks_target(query, key, instead if asked == kind else asked))
    assert not CLAIMS["hax.ks_target_bias"].check("quick", seed=0).holds


def test_a_mean_over_all_queries_in_place_of_those_to_come_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def over_all(query: Tensor, key: Tensor, kind: str) -> Tensor:
        target = ks_target(query, key, kind)
        return ks_target(query, key, "paper") / key.shape[2] if kind == "mean" else target

    monkeypatch.setattr(ks_target_bias, "ks_target", over_all)
    assert not CLAIMS["hax.ks_target_bias"].check("quick", seed=0).holds
