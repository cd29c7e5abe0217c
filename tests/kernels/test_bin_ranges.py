"""Hashing: bins by signs, and the last keys of the query's bin as a run of the sorted keys."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sparse_calls import LENGTHS, Sparse, sparse_calls
from torch import Tensor

from recall_lab.kernels import Backend, BackendUnavailable, Ranges, bin_ranges, hash_bins, pattern_mask
from recall_lab.kernels.bin_ranges import check_bins

sizes = st.sampled_from([1, 2, 31, 32, 33, 300]) | st.integers(1, 300)
every_body = pytest.mark.parametrize("backend", ["reference", "eager"])


def held(ranges: Ranges) -> Tensor:
    return pattern_mask(ranges, ranges.start.shape[2])


@given(case=sparse_calls(), per_bin=sizes)
def test_eager_is_the_definition(case: Sparse, per_bin: int) -> None:
    got, want = (bin_ranges(*case.binned(), per_bin, backend=backend) for backend in ("eager", "reference"))
    for name in ("key_order", "query_order", "start", "end"):
        assert torch.equal(getattr(got, name), getattr(want, name)), name


@every_body
@given(case=sparse_calls(max_length=20), per_bin=st.integers(1, 25))
def test_the_last_keys_of_the_bin_are_held(backend: Backend, case: Sparse, per_bin: int) -> None:
    mask = held(bin_ranges(*case.binned(), per_bin, backend=backend)).flatten(0, 1).tolist()
    for asked, keys, rows in zip(*(bins.flatten(0, 1).tolist() for bins in case.binned()), mask, strict=True):
        for i, seen in enumerate(rows):
            assert [j for j, holds in enumerate(seen) if holds] == [j for j in range(i + 1) if keys[j] == asked[i]][-per_bin:]


@given(case=sparse_calls(), per_bin=sizes)
def test_as_many_are_held_as_match_up_to_the_budget(case: Sparse, per_bin: int) -> None:
    query_bins, key_bins = case.binned()
    matches = (query_bins[..., :, None] == key_bins[..., None, :]).tril().sum(dim=-1)
    ranges = bin_ranges(query_bins, key_bins, per_bin)
    assert torch.equal(held(ranges).sum(dim=-1), matches.clamp(max=per_bin))
    assert torch.equal(ranges.end - ranges.start, matches.clamp(max=per_bin))


@given(case=sparse_calls(), per_bin=sizes)
def test_neither_end_of_a_run_falls_along_the_order_of_queries(case: Sparse, per_bin: int) -> None:
    ranges = bin_ranges(*case.binned(), per_bin)
    for side in (ranges.start, ranges.end):
        assert (side.gather(-1, ranges.query_order).diff(dim=-1) >= 0).all()


@every_body
@given(case=sparse_calls(max_length=129), per_bin=sizes, data=st.data())
def test_the_future_has_no_say_not_even_by_crowding_a_bin(backend: Backend, case: Sparse, per_bin: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, case.heads.length), label="first position that changes")
    bins = case.binned()
    crowded = [torch.cat([x[..., :cut], x[..., :1].expand(x[..., cut:].shape)], dim=-1) for x in bins]
    before, after = (held(bin_ranges(*x, per_bin, backend=backend))[..., :cut, :] for x in (bins, crowded))
    assert torch.equal(before, after)


def test_one_bin_is_a_window() -> None:
    bins = torch.zeros(1, 1, 90, dtype=torch.int64)
    assert torch.equal(held(bin_ranges(bins, bins, 5))[0, 0], torch.ones(90, 90, dtype=torch.bool).tril().triu(-4))


@every_body
@pytest.mark.parametrize("length", LENGTHS)
def test_rows_do_not_meet(backend: Backend, length: int) -> None:
    query_bins, key_bins = torch.randint(4, (2, 2, 3, length), generator=torch.Generator().manual_seed(length))
    whole = held(bin_ranges(query_bins, key_bins, 5, backend=backend))
    for entry in range(2):
        for head in range(3):
            one = (slice(entry, entry + 1), slice(head, head + 1))
            assert torch.equal(held(bin_ranges(query_bins[one], key_bins[one], 5, backend=backend)), whole[one])


@every_body
def test_the_widest_bins_do_not_overflow(backend: Backend) -> None:
    bins = torch.tensor([[[2**31 - 1, 0, 2**31 - 1, 1]]]).repeat(1, 1, 20)
    small = torch.tensor([[[2, 0, 2, 1]]]).repeat(1, 1, 20)
    assert torch.equal(held(bin_ranges(bins, bins, 3, backend=backend)), held(bin_ranges(small, small, 3, backend=backend)))


def test_a_bin_has_a_bit_for_the_side_of_each_plane() -> None:
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    planes = torch.randn(4, 31, generator=torch.Generator().manual_seed(1))
    bins = hash_bins(x, planes)
    for b in range(31):
        assert torch.equal(bins >> b & 1, (torch.einsum("bhtd,d->bht", x, planes[:, b]) > 0).long())
    assert torch.equal(hash_bins(3.5 * x, planes), bins), "a bin depends on the direction alone"
    assert torch.equal(hash_bins(0 * x, planes), torch.zeros_like(bins))
    assert torch.equal(hash_bins(x, -planes), 2**31 - 1 - bins)


def test_a_head_may_have_planes_of_its_own() -> None:
    x, planes = torch.randn(2, 3, 5, 4), torch.randn(3, 4, 8)
    each = [hash_bins(x[:, head : head + 1], planes[head]) for head in range(3)]
    assert torch.equal(hash_bins(x, planes), torch.cat(each, dim=1))


@pytest.mark.parametrize("degrees", [0, 30, 90, 150, 180])
def test_bins_agree_the_more_often_the_smaller_the_angle(degrees: int) -> None:
    draws, bits, angle = 20_000, 4, math.radians(degrees)
    planes = torch.randn(draws, 2, bits, generator=torch.Generator().manual_seed(degrees))
    first, second = (torch.tensor([math.cos(a), math.sin(a)]).expand(1, draws, 1, 2) for a in (0.3, 0.3 + angle))
    expected = (1 - angle / math.pi) ** bits
    rate = (hash_bins(first, planes) == hash_bins(second, planes)).double().mean().item()
    assert abs(rate - expected) <= 4 * math.sqrt(expected * (1 - expected) / draws) + 1e-12


def test_vectors_and_planes_get_no_gradient() -> None:
    x, planes = torch.randn(1, 1, 5, 3, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    assert not hash_bins(x, planes).requires_grad


def test_what_does_not_fit_is_refused() -> None:
    bins, x = torch.zeros(1, 1, 3, dtype=torch.int64), torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match=r"per_bin must be at least 1 key, got 0"):
        bin_ranges(bins, bins, 0)
    with pytest.raises(ValueError, match=r"the same axes batch, heads, length, got \(1, 1, 3\) and \(1, 1, 2\)"):
        check_bins(bins, bins[..., :2], 1)
    with pytest.raises(ValueError, match=r"must be torch.int64, got torch.int64 and torch.int32"):
        check_bins(bins, bins.int(), 1)
    with pytest.raises(
        BackendUnavailable, match=r"bin_ranges cannot .*: it has no Triton body, and runs eager on a GPU too; backend='eager' can"
    ):
        bin_ranges(bins, bins, 1, backend="triton")
    with pytest.raises(ValueError, match=r"planes must be at most 31, got 32"):
        hash_bins(x, torch.zeros(4, 32))
    with pytest.raises(ValueError, match=r"got \(5, 4, 8\) for \(1, 2, 3, 4\)"):
        hash_bins(x, torch.zeros(5, 4, 8))
    with pytest.raises(ValueError, match=r"one floating dtype, got torch.float32 and torch.float64"):
        hash_bins(x, torch.zeros(4, 8, dtype=torch.float64))
