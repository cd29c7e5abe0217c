"""Key selection: the definition, the laws of its sets, and that neither the future nor another row has a say."""

from unittest.mock import patch

import pytest
import torch
from heads import Heads
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from sparse_calls import LENGTHS, Sparse, sparse_calls
from torch import Tensor

from recall_lab.kernels import Backend, TopK, causal_topk, pattern_mask
from recall_lab.kernels.causal_topk import check_scores, eager

BLOCK = 128
"""positions that the Triton body looks at together"""
sizes = st.sampled_from([1, 2, 63, 64, 65, 300]) | st.integers(1, 300)
torch_body = pytest.mark.parametrize("backend", ["reference", "eager"])
every_body = pytest.mark.parametrize("backend", ["reference", "eager", pytest.param("triton", marks=pytest.mark.interpreter)])


def held(selected: TopK) -> Tensor:
    return pattern_mask(selected, selected.rank.shape[2])


@given(case=sparse_calls(), k=sizes)
def test_eager_is_the_definition(case: Sparse, k: int) -> None:
    with patch.object(eager, "MOST", 1 << 14):  # a few blocks at a time
        got, want = (causal_topk(case.scores(), k, backend=backend) for backend in ("eager", "reference"))
    for name in ("rank", "threshold", "evicted_at"):
        assert torch.equal(getattr(got, name), getattr(want, name)), name


@pytest.mark.interpreter
@settings(phases=[Phase.explicit, Phase.reuse, Phase.generate], max_examples=settings().max_examples // 5)
@given(case=sparse_calls(), k=sizes)
@example(case=Sparse(heads=Heads(length=BLOCK + 1)), k=BLOCK)
@example(case=Sparse(levels=1, heads=Heads(length=2 * BLOCK)), k=1)
def test_triton_is_the_definition(case: Sparse, k: int) -> None:
    got, want = (causal_topk(case.scores(), k, backend=backend) for backend in ("triton", "reference"))
    for name in ("rank", "threshold", "evicted_at"):
        assert torch.equal(getattr(got, name), getattr(want, name)), name


@pytest.mark.interpreter
def test_the_registered_operator_keeps_its_contract() -> None:
    from recall_lab.kernels.causal_topk.triton import forward

    ranks = causal_topk(Sparse(heads=Heads(length=9)).scores(), 2).rank
    torch.library.opcheck(forward, (ranks, 2))
    torch.library.opcheck(forward, (ranks.transpose(0, 1), 8))


@torch_body
@given(case=sparse_calls(max_length=20), k=st.integers(1, 25))
def test_the_best_are_held_and_of_equals_the_earlier(backend: Backend, case: Sparse, k: int) -> None:
    scores = case.scores()
    mask = held(causal_topk(scores, k, backend=backend))
    for row, rows in zip(scores.flatten(0, 1).tolist(), mask.flatten(0, 1).tolist(), strict=True):
        for i, seen in enumerate(rows):
            best = sorted(range(i + 1), key=lambda j, row=row: (-row[j], j))[:k]
            assert [j for j, holds in enumerate(seen) if holds] == sorted(best)


@given(case=sparse_calls(), k=sizes)
def test_as_many_are_held_as_there_are_up_to_k(case: Sparse, k: int) -> None:
    mask = held(causal_topk(case.scores(), k))
    so_far = torch.arange(1, case.heads.length + 1)
    assert torch.equal(mask.sum(dim=-1), so_far.clamp(max=k).expand(mask.shape[:-1]))


@given(case=sparse_calls(), k=sizes)
def test_a_position_is_held_from_itself_to_its_eviction_and_never_again(case: Sparse, k: int) -> None:
    selected = causal_topk(case.scores(), k)
    i, j = torch.arange(case.heads.length)[:, None], torch.arange(case.heads.length)
    assert torch.equal(held(selected), (j <= i) & (i < selected.evicted_at[..., None, :]))
    assert (selected.evicted_at >= j).all()


@given(case=sparse_calls(), k=sizes)
def test_a_step_takes_in_one_position_at_most_and_drops_one_at_most(case: Sparse, k: int) -> None:
    mask = held(causal_topk(case.scores(), k))
    before, after = mask[..., :-1, :], mask[..., 1:, :]
    assert (after & ~before).sum(dim=-1).le(1).all()
    assert (before & ~after).sum(dim=-1).le(1).all()


@given(case=sparse_calls(), k=sizes)
def test_thresholds_never_fall_and_ranks_are_each_taken_once(case: Sparse, k: int) -> None:
    selected = causal_topk(case.scores(), k)
    assert torch.equal(selected.rank.sort(dim=-1).values, torch.arange(case.heads.length).expand_as(selected.rank))
    assert (selected.threshold.diff(dim=-1) >= 0).all()
    assert (selected.threshold[..., :k] == -1).all()
    assert (selected.threshold[..., k:] >= 0).all()


@torch_body
@given(case=sparse_calls(max_length=129), k=sizes, data=st.data())
def test_the_future_has_no_say_not_even_by_ties(backend: Backend, case: Sparse, k: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, case.heads.length), label="first position that changes")
    scores = case.scores()
    changed = torch.cat([scores[..., :cut], scores[..., :1].expand(scores[..., cut:].shape)], dim=-1)
    before, after = (held(causal_topk(x, k, backend=backend))[..., :cut, :] for x in (scores, changed))
    assert torch.equal(before, after)


@every_body
def test_equal_scores_keep_the_first(backend: Backend) -> None:
    mask = held(causal_topk(torch.zeros(1, 1, 70), 3, backend=backend))
    assert mask[0, 0, :, :3].equal(torch.ones(70, 3, dtype=torch.bool).tril())
    assert not mask[..., 3:].any()


def test_rising_scores_are_a_window() -> None:
    mask = held(causal_topk(torch.arange(200.0).view(1, 1, 200), 7))
    assert torch.equal(mask[0, 0], torch.ones(200, 200, dtype=torch.bool).tril().triu(-6))


@torch_body
@pytest.mark.parametrize("length", LENGTHS)
def test_rows_do_not_meet(backend: Backend, length: int) -> None:
    scores = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(length)).round(decimals=1)
    whole = causal_topk(scores, 5, backend=backend)
    for entry in range(2):
        for head in range(3):
            alone = causal_topk(scores[entry : entry + 1, head : head + 1], 5, backend=backend)
            assert torch.equal(alone.threshold[0, 0], whole.threshold[entry, head])
            assert torch.equal(alone.rank[0, 0], whole.rank[entry, head])


@every_body
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_only_the_order_of_scores_counts(backend: Backend, dtype: torch.dtype) -> None:
    scores = torch.randint(-9, 9, (1, 2, 70), generator=torch.Generator().manual_seed(0))
    scores[0, 0, 10], scores[0, 0, 11] = 0, 0
    want = causal_topk(scores.float(), 4)
    scaled = (scores.to(dtype) * 0.125).where(scores != 0, torch.tensor([-0.0, 0.0], dtype=dtype).repeat(35))
    got = causal_topk(scaled, 4, backend=backend)
    assert torch.equal(got.rank, want.rank)
    assert torch.equal(got.threshold, want.threshold)


@every_body
def test_infinite_scores_have_their_place(backend: Backend) -> None:
    scores = torch.tensor([[[0.0, -torch.inf, torch.inf, torch.inf, -torch.inf, 1.0]]])
    assert causal_topk(scores, 2, backend=backend).rank.tolist() == [[[2, 1, 5, 4, 0, 3]]]


@every_body
def test_scores_get_no_gradient(backend: Backend) -> None:
    selected = causal_topk(torch.randn(1, 1, 9, requires_grad=True), 2, backend=backend)
    assert not any(tensor.requires_grad for tensor in vars(selected).values())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"k must be at least 1 .*, got 0"):
        causal_topk(torch.zeros(1, 1, 3), 0)
    with pytest.raises(ValueError, match=r"scores must be floating .* got torch.float32 of shape \(3, 4\)"):
        check_scores(torch.zeros(3, 4), 1)
    with pytest.raises(ValueError, match=r"scores must be floating .* got torch.int64"):
        check_scores(torch.zeros(1, 1, 3, dtype=torch.int64), 1)
