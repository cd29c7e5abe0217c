"""Sparse attention: the definition, the laws of patterns, and that what a query does not see has no say, in no body and in no gradient."""

import os
import subprocess
import sys
from functools import partial

import pytest
import torch
from heads import ORDERS, TOLERANCE, Heads, assert_close
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from sparse_calls import BODIES, LENGTHS, Sparse, attend, outcome, pattern, sparse_calls
from torch import Tensor

from recall_lab.kernels import (
    Dilated,
    Pattern,
    Sink,
    Strided,
    Union,
    Window,
    bin_ranges,
    causal_topk,
    hash_bins,
    pattern_mask,
    softmax_attention,
    sparse_attention,
)
from recall_lab.kernels.sparse_attention import eager
from recall_lab.kernels.sparse_attention.patterns import check_pattern
from recall_lab.kernels.sparse_attention.tiles import SELECTED, SORTED, packed, tiles

EAGER = ["dense", "tiles"]
TORCH = ["reference", *EAGER]
triton = pytest.param("triton", marks=pytest.mark.interpreter)
slow_triton = pytest.param("triton", marks=[pytest.mark.interpreter, pytest.mark.slow])
"""in the interpreter a call with its gradient takes a second or several; laws that follow from the definition are tested on the others alone"""
torch_body = pytest.mark.parametrize("body", TORCH)
every_body = pytest.mark.parametrize("body", [*TORCH, triton])
every_body_slowly = pytest.mark.parametrize("body", [*TORCH, slow_triton])
eager_body = pytest.mark.parametrize("body", EAGER)
fast_body = pytest.mark.parametrize("body", [*EAGER, triton])
fast_body_slowly = pytest.mark.parametrize("body", [*EAGER, slow_triton])
HAX = (("topk", 7), ("ranges", 9))
EMPTY = Sparse(parts=(("ranges", 3),), apart=True, heads=Heads(length=70))
KINDS = {
    "window": (("window", 9),),
    "sink and window": (("sink", 5), ("window", 9)),
    "window and dilated": (("window", 9), ("dilated", 4)),
    "strided": (("strided", 3),),
    "key selection": (("topk", 7),),
    "hash": (("ranges", 9),),
    "both": HAX,
}
"""the patterns of the paper, and strides"""
every_kind = pytest.mark.parametrize("parts", KINDS.values(), ids=KINDS)


@eager_body
@settings(max_examples=3 * settings().max_examples)
@given(case=sparse_calls())
@example(case=EMPTY)
@example(case=Sparse(parts=(("sink", 3),), heads=Heads(length=129)))
@example(case=Sparse(parts=(("dilated", 4), ("strided", 5)), heads=Heads(length=129)))
@example(case=Sparse(parts=HAX, levels=1, bins=1, heads=Heads(length=257)))
@example(case=Sparse(parts=(("topk", 300), ("ranges", 300)), bins=1, heads=Heads(length=257)))
def test_eager_is_the_definition_in_outputs_and_gradients(body: str, case: Sparse) -> None:
    tensors, seen = case.tensors(), case.pattern()
    untouched = [x.clone() for x in tensors]
    got, want = (outcome(name, tensors, seen) for name in (body, "reference"))
    assert_close(got, want, TOLERANCE[torch.float64])
    assert all(map(torch.equal, tensors, untouched)), "an input was written to"


SETS = {
    "window": lambda i, j, n: i - n < j,
    "sink": lambda i, j, n: j < n,
    "dilated": lambda i, j, n: j % n == n - 1,
    "strided": lambda i, j, n: (i - j) % n == 0,
}


@given(length=st.integers(0, 40), parts=st.lists(st.tuples(st.sampled_from(sorted(SETS)), st.integers(1, 50)), min_size=1, max_size=3))
def test_a_fixed_pattern_is_the_set_it_says_and_a_union_what_any_part_sees(length: int, parts: list[tuple[str, int]]) -> None:
    nothing = torch.zeros(1, 1, length)
    mask = pattern_mask(pattern(tuple(parts), nothing, nothing, nothing), length)
    want = [[j <= i and any(SETS[name](i, j, size) for name, size in parts) for j in range(length)] for i in range(length)]
    assert mask.tolist() == [[want]]


@every_body_slowly
def test_the_output_is_a_mean_of_values_weighted_by_exponentials(body: str) -> None:
    case = Sparse(heads=Heads(length=70, width=3, value_width=2))
    query, key, value, _ = case.tensors()
    out, log_sum = attend(body, query, key, value, pattern=case.pattern())
    mask = pattern_mask(case.pattern(), 70)
    for at in ((0, 1, 0), (1, 0, 13), (1, 1, 69)):
        weights = torch.stack([(query[at] @ key[*at[:2], j] / 3**0.5).exp() for j in mask[at].nonzero()[:, 0]])
        values = value[at[:2]][mask[at]]
        torch.testing.assert_close(out[at], (weights[:, None] * values).sum(dim=0) / weights.sum(), rtol=0, atol=1e-12)
        torch.testing.assert_close(log_sum[at], weights.sum().log(), rtol=0, atol=1e-12)


@torch_body
@given(case=sparse_calls(), data=st.data())
def test_what_several_parts_see_counts_once(body: str, case: Sparse, data: st.DataObject) -> None:
    *inputs, _ = case.tensors()
    whole = case.pattern()
    again = Union(whole, data.draw(st.sampled_from(whole.parts if isinstance(whole, Union) else [whole])))
    for once, twice in zip(attend(body, *inputs, pattern=whole), attend(body, *inputs, pattern=again), strict=True):
        torch.testing.assert_close(twice, once, rtol=0, atol=1e-12)


@torch_body
@settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(case=sparse_calls(), weaker=st.integers(1, 9))
def test_the_order_of_parts_does_not_matter(body: str, case: Sparse, weaker: int) -> None:
    *inputs, _ = case.tensors()
    parts = (*case.parts, ("window", weaker))
    orders = (pattern(given, case.scores(), *case.binned()) for given in (parts, parts[::-1]))
    for one, other in zip(*(attend(body, *inputs, pattern=seen) for seen in orders), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@every_body_slowly
def test_disjoint_sets_are_joined_by_their_log_sums(body: str) -> None:
    *inputs, _ = Heads(length=70).tensors()
    halves = [attend(body, *inputs, pattern=seen) for seen in (Dilated(2), Union(Strided(2), Strided(2)))]
    odd, same = pattern_mask(Dilated(2), 70), pattern_mask(Strided(2), 70)
    rows = ~(odd & same).any(dim=-1)[0, 0]  # where the two do not meet: even positions
    assert rows.sum() == 35
    weights = torch.stack([log_sum for _, log_sum in halves]).softmax(dim=0)
    joined = sum(weight[..., None] * out for weight, (out, _) in zip(weights, halves, strict=True))
    whole, _ = attend(body, *inputs, pattern=Union(Dilated(2), Strided(2)))
    torch.testing.assert_close(joined[:, :, rows], whole[:, :, rows], rtol=0, atol=1e-12)


@torch_body
@pytest.mark.parametrize(
    "seen", [Window(300), Sink(300), Dilated(1), Strided(1), Union(Dilated(2), Strided(2), Window(2), Sink(300))], ids=str
)
@pytest.mark.parametrize("length", [1, 64, 257])
def test_a_pattern_that_sees_the_whole_past_is_softmax_attention(body: str, seen: Pattern, length: int) -> None:
    *inputs, _ = Heads(length=length).tensors()
    want = softmax_attention(*inputs, backend="reference")
    torch.testing.assert_close(attend(body, *inputs, pattern=seen)[0], want, rtol=0, atol=1e-12)


@torch_body
@pytest.mark.parametrize("length", LENGTHS)
def test_a_window_is_the_window_of_softmax_attention(body: str, length: int) -> None:
    *inputs, _ = Heads(length=length).tensors()
    want = softmax_attention(*inputs, window=9, backend="reference")
    torch.testing.assert_close(attend(body, *inputs, pattern=Window(9))[0], want, rtol=0, atol=1e-12)


@every_body
@pytest.mark.parametrize("case", [EMPTY, Sparse(parts=(("dilated", 9),), heads=Heads(length=70))], ids=["no key matches", "dilated"])
def test_a_row_that_sees_nothing_gives_zero_and_gradients_stay_finite(body: str, case: Sparse) -> None:
    nothing = ~pattern_mask(case.pattern(), 70).any(dim=-1).expand(2, 2, 70)
    assert nothing[..., :8].all()
    got = outcome(body, case.tensors(), case.pattern())
    assert torch.equal(got["nothing"].bool(), nothing)
    assert not got["output"][nothing].any()
    assert not got["query"][nothing].any()
    assert all(torch.isfinite(x).all() for x in got.values())


PLANES = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def hashed(parts: tuple[tuple[str, int], ...], query: Tensor, key: Tensor) -> Pattern:
    """A pattern made of the sequence itself, as a layer makes it: bins by planes, scores by a rounded sum, with ties."""
    return pattern(parts, (2 * key.sum(dim=-1)).round(), hash_bins(query, PLANES), hash_bins(key, PLANES))


@torch_body
@every_kind
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 257])
def test_the_future_changes_nothing_of_the_past(body: str, parts: tuple[tuple[str, int], ...], length: int) -> None:
    *inputs, _ = Heads(batch=1, length=length).tensors()
    for cut in {0, length // 3, length - 1}:
        last = slice(max(0, cut - 1), max(1, cut))  # repeated, it makes ties and crowds its bin
        for later in ([9.0 - x[:, :, cut:] for x in inputs], [x[:, :, last].expand_as(x[:, :, cut:]) for x in inputs]):
            changed = [torch.cat([x[:, :, :cut], y], dim=2) for x, y in zip(inputs, later, strict=True)]
            outs = (attend(body, *x, pattern=hashed(parts, *x[:2])) for x in (inputs, changed))
            for before, after in zip(*outs, strict=True):
                torch.testing.assert_close(after[:, :, :cut], before[:, :, :cut], rtol=0, atol=1e-12)


@torch_body
@every_kind
@pytest.mark.parametrize("length", [2, 65, 257])
def test_no_gradient_reaches_the_future(body: str, parts: tuple[tuple[str, int], ...], length: int) -> None:
    *inputs, _ = Heads(batch=1, length=length).tensors()
    leaves, cut = [x.requires_grad_() for x in inputs], length // 2
    out, _ = attend(body, *leaves, pattern=hashed(parts, *leaves[:2]))
    for grad in torch.autograd.grad(out[:, :, :cut].square().sum(), leaves):
        assert not grad[:, :, cut:].any()


@every_body_slowly
def test_what_the_pattern_was_made_from_gets_no_gradient(body: str) -> None:
    *inputs, grad = Heads(length=70).tensors()
    leaves = [x.requires_grad_() for x in inputs]
    planes, scores = torch.randn(4, 3, dtype=torch.float64, requires_grad=True), torch.randn(2, 2, 70, requires_grad=True)
    seen = Union(causal_topk(scores, 5), bin_ranges(hash_bins(leaves[0], planes), hash_bins(leaves[1], planes), 6))
    constant = Union(causal_topk(scores.detach(), 5), bin_ranges(*(hash_bins(x.detach(), planes.detach()) for x in leaves[:2]), 6))
    out, _ = attend(body, *leaves, pattern=seen)
    *found, in_planes, in_scores = torch.autograd.grad(out, [*leaves, planes, scores], grad, allow_unused=True)
    assert in_planes is None
    assert in_scores is None
    want = outcome(body, [*(x.detach() for x in leaves), grad], constant)
    assert len(found) == 3
    alone, _ = attend(body, *leaves, pattern=constant)
    for mine, its in zip(found, torch.autograd.grad(alone, leaves, grad), strict=True):
        assert torch.equal(mine, its)
    assert torch.equal(out, want["output"])


@every_body_slowly
@every_kind
def test_the_gradient_is_the_derivative(body: str, parts: tuple[tuple[str, int], ...]) -> None:
    case = Sparse(parts=parts, heads=Heads(batch=1, heads=1, length=12, width=2, value_width=2))
    *inputs, _ = case.tensors()
    seen, rows = case.pattern(), pattern_mask(case.pattern(), 12).any(dim=-1)

    def call(*args: Tensor) -> tuple[Tensor, Tensor]:
        out, log_sum = attend(body, *args, pattern=seen)
        return out, log_sum.where(rows, 0.0)

    assert torch.autograd.gradcheck(call, [x.requires_grad_() for x in inputs], fast_mode=body == "triton")


@fast_body
@pytest.mark.parametrize("output", [0, 1])
def test_one_output_may_be_differentiated_alone(body: str, output: int) -> None:
    case = Sparse(heads=Heads(batch=1, heads=1, length=70))
    leaves = [x.requires_grad_() for x in case.tensors()[:3]]
    sums = [attend(name, *leaves, pattern=Union(Window(3), case.pattern()))[output].sum() for name in (body, "reference")]
    for mine, its in zip(*(torch.autograd.grad(x, leaves, materialize_grads=True) for x in sums), strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-12)


@torch_body
@every_kind
def test_heads_and_batch_entries_do_not_meet(body: str, parts: tuple[tuple[str, int], ...]) -> None:
    case = Sparse(parts=parts, heads=Heads(length=70))
    *inputs, _ = case.tensors()
    whole, _ = attend(body, *inputs, pattern=case.pattern())
    for entry in range(2):
        for head in range(2):
            one = (slice(entry, entry + 1), slice(head, head + 1))
            seen = pattern(parts, case.scores()[one], *(bins[one] for bins in case.binned()))
            alone, _ = attend(body, *(x[one] for x in inputs), pattern=seen)
            torch.testing.assert_close(alone, whole[one], rtol=0, atol=1e-12)


@fast_body_slowly
@pytest.mark.parametrize("layout", ORDERS)
def test_the_layout_in_memory_does_not_matter(body: str, layout: str) -> None:
    case = Sparse(parts=(*HAX, ("window", 3)), heads=Heads(length=70, layouts=(layout,) * 4))
    got, want = (outcome(name, case.tensors(), case.pattern()) for name in (body, "reference"))
    assert_close(got, want, TOLERANCE[torch.float64])


@fast_body
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_fewer_digits_cost_no_more_than_their_rounding(body: str, dtype: torch.dtype) -> None:
    case = Sparse(parts=(*HAX, ("window", 3)), heads=Heads(batch=1, heads=1, length=129, width=8))
    tensors = case.tensors(dtype)
    got, want = outcome(body, tensors, case.pattern()), outcome("reference", [x.double() for x in tensors], case.pattern())
    assert_close(got, want, TOLERANCE[dtype])
    assert {got[name].dtype for name in ("output", "query", "key", "value")} == {dtype}
    assert got["log_sum"].dtype == torch.float32


@every_body_slowly
@pytest.mark.parametrize("size", [1e-30, 1e4, 1e15])
def test_scores_of_any_size_give_finite_outputs_and_gradients(body: str, size: float) -> None:
    case = Sparse(parts=(*HAX, ("window", 3)), heads=Heads(length=129))
    query, key, value, grad = case.tensors(torch.float32)
    result = outcome(body, [size * query, size * key, value, grad], case.pattern())
    assert all(torch.isfinite(x).all() for x in result.values())


@every_body_slowly
@pytest.mark.parametrize("scale", [0.0, -0.5, 2.0])
def test_the_scale_multiplies_the_scores(body: str, scale: float) -> None:
    query, key, value, _ = Heads(length=70).tensors()
    backend, _ = BODIES[body]
    got = sparse_attention(query, key, value, Window(5), scale=scale, backend=backend)
    want = sparse_attention(scale * query, key, value, Window(5), scale=1.0, backend="reference")
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bins", ["one", "a few", "as many as positions", "one query in a crowd"])
def test_the_work_is_linear_however_crowded_a_bin_is(bins: str) -> None:
    length, budget = 4096, 32
    numbers = torch.arange(length)
    keys = {"one": 0 * numbers, "a few": numbers * 7919 % 5, "as many as positions": numbers, "one query in a crowd": 0 * numbers}[bins]
    queries = keys if bins != "one query in a crowd" else (numbers % 97 > 0).long()
    seen = bin_ranges(queries.view(1, 1, -1), keys.view(1, 1, -1), budget)
    shapes = [tile.seen.shape for tile in tiles(*packed(seen, (1, 1, length), numbers.device), 160)]
    assert max(keys for _, _, keys in shapes) <= budget + SORTED
    assert sum(count for count, _, _ in shapes) <= (1 if bins == "one" else 2) * length / SORTED


def test_the_work_of_key_selection_is_linear() -> None:
    length, k = 4096, 32
    seen = causal_topk(torch.randn(1, 1, length, generator=torch.Generator().manual_seed(0)), k)
    pairs = sum(tile.seen.numel() for tile in tiles(*packed(seen, (1, 1, length), torch.device("cpu")), 160))
    assert pairs == length * (k + SELECTED)


@given(case=sparse_calls())
def test_every_pair_that_is_seen_is_in_one_tile(case: Sparse) -> None:
    heads = case.heads
    shape = (heads.batch, heads.heads, heads.length)
    met = torch.zeros(heads.batch * heads.heads * heads.length + 1, heads.length, dtype=torch.int64)
    for tile in tiles(*packed(case.pattern(), shape, torch.device("cpu")), 1 << 13):
        queries, keys = (x.expand(tile.seen.shape)[tile.seen] for x in (tile.queries[..., None], tile.keys[:, None]))
        assert torch.equal(queries // heads.length, keys // heads.length), "a key of another row"
        met.index_put_((queries, keys % heads.length), torch.tensor(1), accumulate=True)
    mask = pattern_mask(case.pattern(), heads.length)
    assert torch.equal(met[:-1].view(*shape, heads.length), mask.expand(*shape, heads.length).long())


def test_eager_keeps_inputs_and_outputs_alone() -> None:
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    case = Sparse(parts=HAX, heads=Heads(batch=1, heads=1, length=1024, width=8, value_width=8))
    query, key, value, _ = (x.requires_grad_() for x in case.tensors(torch.float32))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        attend("tiles", query, key, value, pattern=case.pattern())
    assert sum(kept.values()) <= 1025 * 4 * (4 * 8 + 1) + 1024 * 8 * 6


def test_a_short_sequence_is_attended_to_densely_and_a_long_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(eager, "dense", lambda *args, dense=eager.dense: ran.append(args[0].shape[2]) or dense(*args))
    for length in (eager.CROSSOVER, eager.CROSSOVER + 1):
        sparse_attention(*Heads(batch=1, heads=1, length=length).tensors()[:3], Window(3))
    assert ran == [eager.CROSSOVER]


@every_body
def test_a_second_derivative_is_right_or_refused(body: str) -> None:
    case = Sparse(parts=HAX, heads=Heads(batch=1, heads=1, length=4, width=2, value_width=2))
    leaves = [x.requires_grad_() for x in case.tensors()[:3]]
    attention = partial(attend, body, pattern=case.pattern())
    if body in ("tiles", "triton"):
        (first,) = torch.autograd.grad(attention(*leaves)[0].square().sum(), leaves[:1], create_graph=True)
        with pytest.raises(RuntimeError, match=r"not implemented|autograd formula"):
            torch.autograd.grad(first.sum(), leaves)
    else:
        assert torch.autograd.gradgradcheck(lambda *args: attention(*args)[0], leaves, fast_mode=True)


def test_the_registered_operators_keep_their_contract() -> None:
    case = Sparse(parts=(*HAX, ("window", 2)), heads=Heads(batch=1, heads=2, length=5, width=3, value_width=2))
    query, key, value, grad = (x.flatten(0, 1).contiguous() for x in case.tensors())
    parts = packed(case.pattern(), (1, 2, 5), torch.device("cpu"))
    out, log_sum = eager.forward(query, key, value, *parts, 0.5)
    torch.library.opcheck(eager.forward, (*(x.clone().requires_grad_() for x in (query, key, value)), *parts, 0.5))
    torch.library.opcheck(eager.backward, (grad, log_sum.sin(), query, key, value, out, log_sum, *parts, 0.5))


COMPILED = """
import torch
from heads import Heads
from recall_lab.kernels import Dilated, Strided, Union, Window, bin_ranges, causal_topk, hash_bins, sparse_attention

def call(query, key, value, planes, backend):
    hashed = bin_ranges(hash_bins(query, planes), hash_bins(key, planes), 6)
    best = causal_topk(key.sum(dim=-1), 7, backend=backend)
    return sparse_attention(query, key, value, Union(best, hashed, Window(3), Dilated(4), Strided(5)), backend=backend)

for length, backend in ((100, "eager"), (300, "eager"), (100, "triton")):  # dense, in tiles, and along walks
    leaves = [x.requires_grad_() for x in Heads(length=length).tensors()[:3]]
    planes = torch.randn(4, 3, dtype=torch.float64)
    torch.compiler.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    both = (each(*leaves, planes, backend).square().sum() for each in (compiled, call))
    for mine, its in zip(*(torch.autograd.grad(loss, leaves) for loss in both), strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-12)
"""


@pytest.mark.slow
def test_it_compiles_as_one_graph_selection_included() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}  # without the hooks of the test run
    subprocess.run([sys.executable, "-c", COMPILED], env=environment, check=True, timeout=300)


def test_a_union_within_a_union_is_spliced() -> None:
    assert Union(Window(3), Union(Sink(2), Union(Dilated(4)))) == Union(Window(3), Sink(2), Dilated(4))


def test_what_does_not_fit_is_refused() -> None:
    query, key, value, _ = Heads(length=5).tensors()
    short = causal_topk(torch.zeros(2, 2, 4), 2)
    with pytest.raises(ValueError, match=r"TopK.rank must have query's batch, heads and length \(2, 2, 5\) on cpu, got \(2, 2, 4\) on cpu"):
        sparse_attention(query, key, value, Union(Window(2), short))
    with pytest.raises(ValueError, match=r"TopK.rank must have query's .* got \(2, 2, 4\) on cpu"):
        check_pattern(short, query[:, :, :4].to("meta"))
    with pytest.raises(ValueError, match=r"TopK.rank must be of length 5, got 4"):
        pattern_mask(short, 5)
    for make in (Window, Sink, Dilated, Strided):
        with pytest.raises(ValueError, match=r"must be at least 1, got 0"):
            make(0)
    with pytest.raises(ValueError, match="a Union must have at least one part, got none"):
        Union()
