"""Sparse attention along walks: that they meet every pair that is seen, once, in linear work; and in Triton's interpreter, that it is the definition."""

from collections.abc import Iterator

import pytest
import torch
from heads import TOLERANCE, Heads, assert_close
from hypothesis import Phase, example, given, settings
from sparse_calls import Sparse, attend, outcome, sparse_calls
from torch import Tensor

from recall_lab.kernels import BackendUnavailable, Pattern, TopK, Window, bin_ranges, causal_topk, pattern_mask, sparse_attention
from recall_lab.kernels.sparse_attention.patterns import parts_of
from recall_lab.kernels.sparse_attention.tiles import packed
from recall_lab.kernels.sparse_attention.walks import BLOCK, Walk, codes, over_keys, over_queries

HAX = (("topk", 7), ("ranges", 9))
WALKED = 32
"""places that a program of the Triton body meets at a time"""
NEVER = TopK(rank=torch.arange(70).expand(2, 2, -1), threshold=torch.full((2, 2, 70), 70), evicted_at=torch.arange(70).expand(2, 2, -1))
"""a selection of nothing"""


def programs(walk: Walk, owned: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """The row of every program, its owners, and whom it meets, each once."""
    for row, (own, begin, end) in enumerate(zip(walk.own, walk.begin, walk.end, strict=True)):
        for at in range(0, len(own), owned):
            first, last = begin[at : at + owned], end[at : at + owned]
            if (needs := first < last).any():
                yield row, own[at : at + owned], walk.along[first[needs].min() : last.max()]


def met(walk: Walk, owned: int, rows: int, length: int) -> Tensor:
    """How often each owner meets each of the other kind."""
    times = torch.zeros(rows, length + 1, length, dtype=torch.int64)  # the last stands for none
    for row, own, others in programs(walk, owned):
        times[row, own.long()[:, None], others.long()] += 1
    return times[:, :-1]


@pytest.mark.parametrize("owned", [16, 64])
@given(case=sparse_calls(max_length=129))
@example(case=Sparse(parts=HAX, levels=1, bins=1, heads=Heads(length=257)))
def test_every_pair_that_a_part_holds_is_met_once(owned: int, case: Sparse) -> None:
    batch, heads, length = case.heads.batch, case.heads.heads, case.heads.length
    if 0 in (batch, length):
        return
    parts = parts_of(case.pattern())
    shape = (batch, heads, length)
    tensors = packed(case.pattern(), shape, torch.device("cpu"))
    in_order = [*(p for p in parts if isinstance(p, TopK)), *(p for p in parts if not isinstance(p, TopK))]
    both = zip(over_keys(*tensors), over_queries(*tensors), codes(*tensors), in_order, strict=True)
    for over, (under, _), (code, low, high), part in both:
        mask = pattern_mask(part, length).expand(*shape, length).flatten(0, 1)
        holds = (low[..., None] <= code[:, None]) & (code[:, None] < high[..., None])
        assert torch.equal(holds.tril(), mask)
        for times in (met(over, owned, batch * heads, length), met(under, owned, batch * heads, length).mT):
            assert torch.equal(times[mask], torch.ones_like(times[mask]))
            assert times.max() <= 1


@given(case=sparse_calls(max_length=129))
def test_the_shares_of_a_key_lie_side_by_side(case: Sparse) -> None:
    seen = causal_topk(case.scores(), 5)
    if not seen.rank.numel():
        return
    ((walk, (into, shares)),) = over_queries(*packed(seen, tuple(seen.rank.shape), torch.device("cpu")))
    assert shares is not None
    key = walk.own + torch.arange(len(walk.own))[:, None] * case.heads.length
    places, order = into[into >= 0].sort()
    assert torch.equal(places, torch.arange(int(shares.sum())))
    assert torch.equal(key[into >= 0][order], torch.repeat_interleave(shares))


LENGTH, BUDGET = 4096, 32
NUMBERS = torch.arange(LENGTH)
NOISE = torch.randn(LENGTH, generator=torch.Generator().manual_seed(0))
SCORES = {"random": NOISE, "rising": NUMBERS.float(), "falling": -NUMBERS.float(), "rising with noise": NUMBERS / 64 + NOISE}
BINS = {
    "one": (0 * NUMBERS, 0 * NUMBERS),
    "a few": (NUMBERS * 7919 % 5, NUMBERS * 7919 % 5),
    "as many as positions": (NUMBERS, NUMBERS),
    "few queries in a crowd": ((NUMBERS % 97 > 0).long(), 0 * NUMBERS),
    "few keys of many queries": (0 * NUMBERS, (NUMBERS % 97 > 0).long()),
}


def work(seen: Pattern, owned: int) -> list[float]:
    """Pairs for each position where queries own, and where keys do."""
    tensors = packed(seen, (1, 1, LENGTH), torch.device("cpu"))
    walks = *over_keys(*tensors), *(walk for walk, _ in over_queries(*tensors))
    return [sum(owned * -(-len(others) // WALKED) * WALKED for _, _, others in programs(walk, owned)) / LENGTH for walk in walks]


@pytest.mark.parametrize("owned", [16, 64])
@pytest.mark.parametrize("bins", BINS)
def test_the_work_is_linear_however_crowded_a_bin_is(bins: str, owned: int) -> None:
    queries, keys = BINS[bins]
    over, under = work(bin_ranges(queries.view(1, 1, -1), keys.view(1, 1, -1), BUDGET), owned)
    assert over <= BUDGET + owned + WALKED
    assert under <= BUDGET + 2 * owned + WALKED


@pytest.mark.parametrize("owned", [16, 64])
@pytest.mark.parametrize("scores", SCORES)
def test_the_work_of_key_selection_is_linear_whatever_the_scores(scores: str, owned: int) -> None:
    over, under = work(causal_topk(SCORES[scores].view(1, 1, -1), BUDGET), owned)
    assert over <= BUDGET + BLOCK + WALKED
    assert under <= BUDGET + 2 * BLOCK


def test_a_key_has_as_many_shares_as_blocks_hold_it() -> None:
    seen = causal_topk(NOISE.view(1, 1, -1), BUDGET)
    ((walk, (_, shares)),) = over_queries(*packed(seen, (1, 1, LENGTH), torch.device("cpu")))
    assert shares is not None
    blocks = pattern_mask(seen, LENGTH)[0, 0].view(-1, BLOCK, LENGTH).any(dim=1).sum(dim=0)
    assert torch.equal(shares, blocks)
    assert shares.sum() <= LENGTH * (BUDGET / BLOCK + 1)
    assert walk.own.numel() <= LENGTH * (BUDGET / BLOCK + 2)


CASES = {
    "one token": Sparse(parts=HAX, heads=Heads(batch=1, length=1, width=16, value_width=16)),
    "ties": Sparse(parts=(("topk", 3),), levels=2, heads=Heads(batch=1, heads=1, length=129, width=16, value_width=32)),
    "a crowded bin": Sparse(parts=(("ranges", 40),), bins=1, heads=Heads(batch=1, heads=1, length=129, width=32, value_width=16)),
    "no match": Sparse(parts=(("ranges", 5),), apart=True, heads=Heads(batch=1, heads=1, length=64)),
    "overlap": Sparse(parts=(("topk", 20), ("ranges", 20), ("window", 5)), bins=2, heads=Heads(batch=1, heads=1, length=70)),
    "all fixed": Sparse(
        parts=(("sink", 2), ("dilated", 4), ("strided", 9)), heads=Heads(batch=1, heads=1, length=64, width=5, value_width=17)
    ),
    "rows": Sparse(parts=HAX, heads=Heads(length=7, width=3, value_width=1)),
    "none of a batch": Sparse(parts=HAX, heads=Heads(batch=0)),
    "no tokens": Sparse(parts=HAX, heads=Heads(length=0)),
}


@pytest.mark.interpreter
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_triton_is_the_definition_in_outputs_and_gradients(case: Sparse) -> None:
    tensors, seen = case.tensors(), case.pattern()
    untouched = [x.clone() for x in tensors]
    assert_close(outcome("triton", tensors, seen), outcome("reference", tensors, seen), TOLERANCE[torch.float64])
    assert all(map(torch.equal, tensors, untouched)), "an input was written to"


@pytest.mark.slow
@pytest.mark.interpreter
@settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(case=sparse_calls(max_length=129))
def test_triton_is_the_definition_of_every_pattern_on_every_shape(case: Sparse) -> None:
    tensors, seen = case.tensors(), case.pattern()
    assert_close(outcome("triton", tensors, seen), outcome("reference", tensors, seen), TOLERANCE[torch.float64])


@pytest.mark.slow
@pytest.mark.interpreter
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize("length", [1, 7, 64, 129])
def test_triton_is_the_definition_up_to_rounding(dtype: torch.dtype, width: int, length: int) -> None:
    case = Sparse(parts=HAX, levels=5, bins=2, heads=Heads(batch=1, length=length, width=width, value_width=width))
    tensors, seen = case.tensors(dtype), case.pattern()
    assert_close(outcome("triton", tensors, seen), outcome("reference", [x.double() for x in tensors], seen), TOLERANCE[dtype])


@pytest.mark.interpreter
def test_a_selection_of_nothing_gives_zero() -> None:
    got = outcome("triton", Heads(length=70).tensors(), NEVER)
    assert got["nothing"].all()
    assert not any(got[name].any() for name in ("output", "query", "key", "value"))


@pytest.mark.slow
@pytest.mark.interpreter
def test_the_future_has_no_say_in_output_or_gradient() -> None:
    case, cut = Sparse(parts=(*HAX, ("window", 3)), heads=Heads(batch=1, heads=1, length=100)), 65
    *inputs, _ = case.tensors()
    changed = [torch.cat([x[:, :, :cut], 9.0 - x[:, :, cut:]], dim=2) for x in inputs]
    for before, after in zip(*(attend("triton", *x, pattern=case.pattern()) for x in (inputs, changed)), strict=True):
        assert torch.equal(before[:, :, :cut], after[:, :, :cut])
    leaves = [x.requires_grad_() for x in inputs]
    out, _ = attend("triton", *leaves, pattern=case.pattern())
    for grad in torch.autograd.grad(out[:, :, :cut].square().sum(), leaves):
        assert not grad[:, :, cut:].any()


@pytest.mark.interpreter
def test_heads_wider_than_registers_are_refused() -> None:
    query, key, value, _ = Heads(length=3, value_width=129).tensors()
    with pytest.raises(BackendUnavailable, match=r"heads may be 128 wide, got 129; backend='eager' can"):
        sparse_attention(query, key, value, Window(2), backend="triton")


@pytest.mark.interpreter
def test_the_registered_operators_keep_their_contract() -> None:
    from recall_lab.kernels.sparse_attention.triton import backward, forward

    case = Sparse(parts=HAX, heads=Heads(batch=1, heads=1, length=5, width=3, value_width=2))
    query, key, value, grad = (x.flatten(0, 1).contiguous() for x in case.tensors(torch.float16))
    parts = packed(case.pattern(), (1, 1, 5), torch.device("cpu"))
    out, log_sums = forward(query, key, value, *parts, 0.5)
    torch.library.opcheck(forward, (*(x.clone().requires_grad_() for x in (query, key, value)), *parts, 0.5))
    torch.library.opcheck(backward, (grad.float(), log_sums.sin(), query, key, value, out, log_sums, *parts, 0.5))
