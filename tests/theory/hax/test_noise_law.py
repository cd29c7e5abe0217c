"""The noise of a memory that adds up outer products."""

from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.kernels import linear_attention
from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import noise_law
from recall_lab.theory.hax.noise_law import accuracy, gaussian_accuracy, noise, simulate

sizes = {"pairs": st.integers(1, 20), "values": st.integers(2, 9), "width": st.integers(1, 12)}


@given(**sizes)
def test_the_law_of_the_noise_has_the_variance_that_is_claimed(pairs: int, values: int, width: int) -> None:
    law = noise(pairs, values, width)
    x = np.arange(len(law)) - len(law) // 2
    assert law.sum() == pytest.approx(1)
    assert law @ x == pytest.approx(0, abs=1e-9)
    assert law @ x**2 / width**2 == pytest.approx((pairs - 1) / (values * width), abs=1e-9)


@given(**sizes)
def test_the_law_of_the_noise_is_a_sum_of_signs_of_random_length(pairs: int, values: int, width: int) -> None:
    law = noise(pairs, values, width)
    summed = np.zeros(len(law))
    for m in range(pairs):
        chosen = comb(pairs - 1, m) * (values - 1) ** (pairs - 1 - m) / values ** (pairs - 1)
        for minus in range(m * width + 1):
            summed[len(law) // 2 + m * width - 2 * minus] += chosen * comb(m * width, minus) / 2 ** (m * width)
    np.testing.assert_allclose(law, summed, atol=1e-12)


@given(**sizes)
def test_an_accuracy_is_no_worse_than_a_guess_and_a_single_pair_is_always_recalled(pairs: int, values: int, width: int) -> None:
    assert 1 / values - 1e-9 <= accuracy(pairs, values, width) <= 1 + 1e-9
    assert accuracy(1, values, width) == pytest.approx(1)


def test_two_values_are_told_apart_as_often_as_a_sum_by_hand_says() -> None:
    # two pairs, N = 1: k.k' is 1 or -1. Right is certain unless the other pair has the other value and the same sign, a tie lost every other time,
    # or its own value and the other sign, which leaves two scores of 0
    drawn = simulate(2, 2, 1, draws=4000, random=np.random.default_rng(0))
    assert drawn[1].mean() == pytest.approx(3 / 4, abs=0.025)
    assert drawn[0].mean() == pytest.approx(1 / 2)


def test_the_simulated_memory_is_the_sum_of_outer_products() -> None:
    random = np.random.default_rng(3)
    keys, value = random.choice([-1.0, 1.0], (1, 1, 30, 16))[0, 0], random.integers(0, 8, (1, 30))[0]
    scores = keys @ sum(np.outer(key, np.eye(8)[v]) for key, v in zip(keys, value, strict=True)) / 16
    square, right = simulate(30, 8, 16, draws=1, random=np.random.default_rng(3))[:, 0]
    assert square == pytest.approx(((scores - np.eye(8)[value]) ** 2).mean())
    assert right == (scores.argmax(axis=1) == value).mean()


@pytest.mark.parametrize(
    "size, expected", [((256, 16, 32), 0.392), ((256, 16, 64), 0.595), ((256, 16, 128), 0.832), ((1024, 16, 64), 0.261)]
)
def test_with_many_pairs_of_a_value_both_laws_give_the_specified_accuracy(size: tuple[int, int, int], expected: float) -> None:
    assert gaussian_accuracy(*size) == pytest.approx(expected, abs=0.001)
    assert accuracy(*size) == pytest.approx(expected, abs=0.003)


def test_with_few_pairs_of_a_value_a_gaussian_is_too_good() -> None:
    assert gaussian_accuracy(256, 64, 32) == pytest.approx(0.675, abs=0.001)
    assert accuracy(256, 64, 32) == pytest.approx(0.620, abs=0.001)


@pytest.fixture(autouse=True)
def _two_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_law, "SIZES", [(256, 16, 32), (256, 64, 32)])


def broken() -> bool:
    return not CLAIMS["hax.noise_law"].check("quick", seed=0).holds


def test_a_gaussian_for_few_pairs_of_a_value_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_law, "CROWDED", 1)
    assert broken()


def test_a_gaussian_that_few_pairs_do_not_fall_short_of_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_law, "gaussian_accuracy", accuracy)
    assert broken()


def test_a_memory_that_fades_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def fading(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return linear_attention(query, key * 0.999 ** torch.arange(key.shape[2]).flip(0)[:, None], value)

    monkeypatch.setattr(noise_law, "linear_attention", fading)
    assert broken()


def test_keys_that_share_a_sign_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query, key = query.clone(), key.clone()
        query[..., 0], key[..., 0] = query[..., 0].abs(), key[..., 0].abs()
        return linear_attention(query, key, value)

    monkeypatch.setattr(noise_law, "linear_attention", alike)
    assert broken()
