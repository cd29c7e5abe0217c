"""Selection and attention without a matrix of length x length."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recall_lab.kernels import TopK, Union, Window, bin_ranges, causal_topk, sparse_attention
from recall_lab.kernels.sparse_attention import eager, tiles
from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import exact_subquadratic
from recall_lab.theory.hax.exact_subquadratic import CASES, SELECTED, SORTED, operations, scores


def test_no_case_is_short_enough_to_be_attended_to_densely() -> None:
    assert min(case.length for case in CASES) > eager.CROSSOVER


@given(blocks=st.integers(1, 8), k=st.integers(1, 80), per_bin=st.integers(1, 80), bins=st.integers(1, 20), seed=st.integers(0, 99))
def test_scores_are_at_most_those_that_are_claimed(blocks: int, k: int, per_bin: int, bins: int, seed: int) -> None:
    draw, length = torch.Generator().manual_seed(seed), 64 * blocks
    best = causal_topk(torch.rand(1, 1, length, generator=draw), k)
    query_bins, key_bins = (torch.randint(bins, (1, 1, length), generator=draw) for _ in range(2))
    same = bin_ranges(query_bins, key_bins, per_bin)
    assert scores(best, length) <= length * (k + SELECTED)
    assert scores(same, length) <= length * 2 * (per_bin + SORTED)
    assert scores(Union(best, same), length) == scores(best, length) + scores(same, length)


def test_a_window_of_one_takes_a_score_for_every_place_of_its_tiles() -> None:
    assert scores(Window(1), 320) == 320 * SORTED


def test_operations_are_those_of_the_selection() -> None:
    def select() -> TopK:
        torch.zeros(3, 1000).add(1)
        return causal_topk(torch.zeros(1, 1, 9), 2)

    counted, best = operations(select)
    assert isinstance(best, TopK)
    assert counted == 6000 + operations(lambda: causal_topk(torch.zeros(1, 1, 9), 2))[0]


def broken() -> bool:
    return not CLAIMS["hax.exact_subquadratic"].check("quick", seed=0).holds


def test_one_key_more_than_selected_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(importance: Tensor, k: int, *, backend=None) -> TopK:
        return causal_topk(importance, k + (backend == "eager"), backend=backend)

    monkeypatch.setattr(exact_subquadratic, "causal_topk", generous)
    assert broken()


def test_a_key_that_counts_twice_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_without", lambda before, found: found)
    assert broken()


def test_a_gradient_that_is_a_little_off_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(query: Tensor, key: Tensor, value: Tensor, pattern, *, backend=None) -> Tensor:
        out = sparse_attention(query, key, value, pattern, backend=backend)
        return out + (1e-6 * (key - key.detach()).sum() if backend == "eager" else 0)

    monkeypatch.setattr(exact_subquadratic, "sparse_attention", leaking)
    assert broken()


def test_scores_for_a_share_of_all_pairs_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def more(pattern, length: int) -> int:
        return scores(pattern, length) + length * length // 200

    monkeypatch.setattr(exact_subquadratic, "scores", more)
    assert broken()


def test_a_selection_that_compares_all_with_a_share_of_all_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def comparing(query_bins: Tensor, *args, **fields):
        torch.zeros(query_bins.shape[2], query_bins.shape[2] // 1024, dtype=torch.int8)
        return bin_ranges(query_bins, *args, **fields)

    monkeypatch.setattr(exact_subquadratic, "bin_ranges", comparing)
    assert broken()
