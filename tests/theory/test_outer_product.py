"""The capacity curve of linear attention with random codes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.theory import CLAIMS, outer_product, outer_product_accuracy, outer_product_bits_per_scalar, outer_product_k50
from recall_lab.theory.outer_product import simulate

Shape = tuple[int, int, int]


def named(shape: Shape) -> dict[str, int]:
    return dict(zip(("key_width", "value_width", "candidates"), shape, strict=True))


@pytest.mark.parametrize(
    "shape, expected",
    [((16, 16, 256), 21.5), ((32, 32, 1024), 75.9), ((64, 64, 4096), 270.9), ((32, 128, 1024), 311.5), ((128, 32, 1024), 306.8)],
)
def test_half_is_recalled_at_the_specified_load_near_the_leading_law(shape: Shape, expected: float) -> None:
    half = outer_product_k50(**named(shape))
    assert half == pytest.approx(expected, abs=0.06)
    assert half == pytest.approx(shape[0] * shape[1] / (2 * math.log(shape[2])), rel=0.11)
    assert outer_product_accuracy(half, **named(shape)) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((32, 32, 1024), {32: 0.948, 64: 0.613, 128: 0.223, 256: 0.064}),
        ((64, 64, 4096), {64: 0.999, 128: 0.944, 256: 0.541}),
        ((32, 128, 1024), {128: 0.939, 256: 0.622}),
    ],
)
def test_the_curve_goes_through_the_specified_points(shape: Shape, expected: dict[int, float]) -> None:
    for pairs, accuracy in expected.items():
        assert outer_product_accuracy(float(pairs), **named(shape)) == pytest.approx(accuracy, abs=0.001)


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((16, 16, 256), 0.284),
        ((32, 32, 1024), 0.337),
        ((64, 64, 1024), 0.362),
        ((64, 64, 4096), 0.383),
        ((256, 256, 8192), 0.417),
    ],
)
def test_the_best_load_certifies_the_specified_bits_a_scalar(shape: Shape, expected: float) -> None:
    assert outer_product_bits_per_scalar(**named(shape)) == pytest.approx(expected, abs=0.0015)


@given(key_width=st.integers(1, 64), value_width=st.integers(2, 64), candidates=st.integers(2, 500), load=st.floats(0, 1))
def test_the_curve_falls_from_one(key_width: int, value_width: int, candidates: int, load: float) -> None:
    shape = (key_width, value_width, candidates)
    pairs = 1 + load * (candidates - 2)
    fewer, more = (outer_product_accuracy(each, **named(shape)) for each in (pairs, pairs + 1))
    assert 0 <= more <= fewer + 1e-6
    assert outer_product_accuracy(1.0, **named(shape)) == pytest.approx(1.0, abs=1e-12)


def test_half_is_always_recalled_where_the_codes_run_out_first() -> None:
    assert outer_product_k50(key_width=64, value_width=64, candidates=64) == math.inf
    bits = outer_product_bits_per_scalar(key_width=64, value_width=64, candidates=64)
    assert bits == pytest.approx(64 * 6 / 64**2, rel=0.01)  # all 64 pairs of 6 bits each


@pytest.mark.parametrize(
    "fields", [{"pairs": 0.5}, {"pairs": 9.0}, {"pairs": 2.0, "key_width": 0}, {"pairs": 2.0, "value_width": 1}, {"pairs": 2.0, "heads": 0}]
)
def test_what_no_memory_is_like_is_refused(fields: dict) -> None:
    with pytest.raises(ValueError, match=r"must (lie|be)"):
        outer_product_accuracy(**{"key_width": 4, "value_width": 4, "candidates": 8, **fields})


def test_the_simulated_memory_is_the_sum_of_outer_products() -> None:
    random = np.random.default_rng(5)
    keys, codes = (random.standard_normal(shape) for shape in ((20, 8), (50, 8)))
    keys, codes = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (keys, codes))
    memory = sum(np.outer(key, code) for key, code in zip(keys, codes, strict=False))
    recalled = np.argmax(keys @ memory @ codes.T, axis=1) == np.arange(20)
    assert 0.2 < recalled.mean() < 0.8
    assert simulate(pairs=20, key_width=8, value_width=8, candidates=50, draws=1, seed=5)[0] == recalled.mean()


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_heads_average_the_overlaps_of_their_keys(heads: int) -> None:
    shape = {"pairs": 8, "key_width": 4, "value_width": 32, "candidates": 32, "heads": heads}
    recalled = simulate(**shape, draws=400, seed=1)
    law = outer_product_accuracy(**shape)
    assert law == pytest.approx(recalled.mean(), abs=0.09)
    if heads > 1:  # one head's law would be further off than what is claimed
        assert abs(outer_product_accuracy(**{**shape, "heads": 1}) - recalled.mean()) > 0.15


def test_a_memory_that_forgets_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def decaying(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        age = torch.arange(key.shape[2]).flip(0)[:, None]
        return outer_product_kernel(query, key * 0.99**age, value)

    outer_product_kernel = outer_product.linear_attention
    monkeypatch.setattr(outer_product, "linear_attention", decaying)
    assert not CLAIMS["recall.outer_product"].check("quick", seed=0).holds


def test_the_evidence_ends_each_shape_with_the_bits_a_scalar_that_the_claim_states() -> None:
    evidence = CLAIMS["recall.outer_product"].check("quick", seed=0)
    for (key_width, value_width, candidates, heads), law in zip(
        evidence.arrays["shapes"].tolist(), np.asarray(evidence.predicted), strict=True
    ):
        if heads == 1:
            best = outer_product_bits_per_scalar(key_width=key_width, value_width=value_width, candidates=candidates)
            assert law[-1] == pytest.approx(best, abs=0.001)


def test_a_memory_that_certifies_more_bits_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def simulated_better(**shape: int) -> np.ndarray:
        return np.minimum(simulate(**shape) + 0.05, 1.0)

    monkeypatch.setattr(outer_product, "simulate", simulated_better)
    evidence = CLAIMS["recall.outer_product"].check("quick", seed=0)
    inside = np.asarray(evidence.tolerance) - np.abs(np.asarray(evidence.measured) - np.asarray(evidence.predicted))
    assert (inside[:, -1] < 0).any()  # what a better accuracy certifies is more than the claim allows


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(32, 32, 1024), (64, 64, 4096), (128, 32, 1024)])
def test_simulated_half_load_is_at_most_eight_percent_beyond_the_law(shape: Shape) -> None:
    half = outer_product_k50(**named(shape))
    at, beyond = (simulate(pairs=round(load * half), **named(shape), draws=100, seed=0).mean() for load in (0.98, 1.08))
    assert beyond < 0.5 < at
