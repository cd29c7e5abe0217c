"""A scan as a quotient of two sums."""

import math

import pytest
import torch

from recall_lab.theory import CLAIMS
from recall_lab.theory.mamba import cumsum_overflow
from recall_lab.theory.mamba.cumsum_overflow import LARGEST_EXPONENT, by_scan, by_two_sums


def test_the_sums_are_the_scan_as_long_as_they_last() -> None:
    u, steps, rates = torch.rand(100, 3).double(), torch.rand(100, 3).double() / 10, torch.tensor([1.0, 2.0, 5.0]).double()
    torch.testing.assert_close(by_two_sums(steps * u, steps * rates), by_scan(u, steps, rates), rtol=0, atol=1e-12)


def test_float32_ends_at_128_times_the_logarithm_of_two() -> None:
    assert pytest.approx(128 * math.log(2), abs=1e-6) == LARGEST_EXPONENT
    for exponent, finite in ((LARGEST_EXPONENT - 1e-4, True), (LARGEST_EXPONENT + 1e-4, False)):
        assert torch.tensor(exponent, dtype=torch.float32).exp().isfinite() == finite


def test_a_constant_step_fails_at_the_token_that_the_sum_predicts() -> None:
    steps = torch.full((1000, 1), 0.25)
    answers = by_two_sums(0.1 * steps, steps)
    assert answers[: int(LARGEST_EXPONENT / 0.25)].isfinite().all()
    assert not answers[int(LARGEST_EXPONENT / 0.25) :].isfinite().any()


@pytest.mark.parametrize("exponent", [LARGEST_EXPONENT - 2, LARGEST_EXPONENT + 2])
def test_another_range_breaks_the_claim(monkeypatch: pytest.MonkeyPatch, exponent: float) -> None:
    monkeypatch.setattr(cumsum_overflow, "LARGEST_EXPONENT", exponent)
    assert not CLAIMS["mamba.cumsum_overflow"].check("quick", seed=0).holds


def test_sums_in_float64_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cumsum_overflow, "by_two_sums", lambda x, exponents: by_two_sums(x.double(), exponents.double()))
    assert not CLAIMS["mamba.cumsum_overflow"].check("quick", seed=0).holds


def test_a_scan_in_half_precision_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded(u, steps, rates):
        return by_scan(u.bfloat16().to(u.dtype) if u.dtype == torch.float32 else u, steps, rates)

    monkeypatch.setattr(cumsum_overflow, "by_scan", rounded)
    assert not CLAIMS["mamba.cumsum_overflow"].check("quick", seed=0).holds
