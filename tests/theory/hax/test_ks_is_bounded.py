"""What key selection keeps, it keeps for an interval."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.kernels import causal_topk, pattern_mask
from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import ks_is_bounded
from recall_lab.theory.hax.ks_is_bounded import returns
from recall_lab.theory.hax.reach import seen


@given(scores=st.lists(st.integers(0, 4), min_size=2, max_size=90), k=st.integers(1, 20), data=st.data())
@settings(max_examples=60)
def test_what_is_held_later_is_held_at_the_cut(scores: list[int], k: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(scores) - 1))
    selection = causal_topk(torch.tensor(scores, dtype=torch.float64)[None, None], k)
    held = pattern_mask(selection, len(scores))[:, 0]
    best = sorted(range(cut), key=lambda j: (-scores[j], j))[:k]
    assert set(held[0, cut - 1].nonzero().flatten().tolist()) == set(best)
    assert set(seen(selection, len(scores), cut)[0].nonzero().flatten().tolist()) <= set(best)
    assert returns(held) == 0


@given(scores=st.lists(st.integers(0, 4), min_size=2, max_size=30), k=st.integers(1, 6), data=st.data())
@settings(max_examples=60)
def test_the_list_of_the_best_scores_at_the_cut_says_what_of_it_is_held_later(scores: list[int], k: int, data: st.DataObject) -> None:
    """The proof's memory: the survivors from the best down, without their positions."""
    cut = data.draw(st.integers(1, len(scores) - 1))
    held = pattern_mask(causal_topk(torch.tensor(scores, dtype=torch.float64)[None, None], k), len(scores))[0, 0]
    survivors = [(scores[j], j) for j in sorted(range(cut), key=lambda j: (-scores[j], j))[:k]]
    for i in range(cut, len(scores)):
        place = sum(score >= scores[i] for score, _ in survivors)
        survivors = [*survivors[:place], (scores[i], i), *survivors[place:]][:k]
        assert {j for _, j in survivors} == set(held[i].nonzero().flatten().tolist())


def test_a_return_is_counted_once_and_a_late_arrival_is_none() -> None:
    held = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]]).bool()
    assert returns(held[None]) == 2  # position 0 at 2; position 2, which was passed over when it came, at 3
    assert returns(torch.ones(1, 5, 5).tril().bool()) == 0


def test_a_choice_of_keys_by_each_query_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The k best for the query: no order that all queries share."""

    class ByQuery:
        def __init__(self, scores, k, *, backend):
            draw = torch.Generator().manual_seed(0)
            liking = torch.rand(*scores.shape, scores.shape[2], generator=draw).tril()
            self.mask = (liking >= liking.topk(min(k, scores.shape[2]), dim=-1).values[..., -1:]).tril()

    def mask_of(pattern, length):
        return pattern.mask

    monkeypatch.setattr(ks_is_bounded, "causal_topk", ByQuery)
    monkeypatch.setattr(ks_is_bounded, "pattern_mask", mask_of)
    monkeypatch.setattr(ks_is_bounded, "seen", lambda pattern, length, cut: pattern.mask[:, 0, cut:, :cut].any(dim=1))
    evidence = CLAIMS["hax.ks_is_bounded"].check("quick", seed=0)
    assert not evidence.holds
    assert evidence.arrays["reached"].max() > 2 * evidence.arrays["k"].max()


@pytest.mark.parametrize("body", ["eager", "reference"])
def test_one_key_more_in_either_body_breaks_the_claim(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr(
        ks_is_bounded, "causal_topk", lambda scores, k, *, backend: causal_topk(scores, k + (backend == body), backend=backend)
    )
    assert not CLAIMS["hax.ks_is_bounded"].check("quick", seed=0).holds
