"""Sparse attention inside mixers: nothing comes from later positions, steps give the parallel form, and choices are functions of the weights."""

from typing import get_args
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recall_lab.kernels import pattern_mask
from recall_lab.kernels.sparse_attention import eager
from recall_lab.models import LanguageModel, LanguageModelConfig, Mixer, mixer_class
from recall_lab.models.hybrid import Hybrid
from recall_lab.models.sparse import Sparse
from recall_lab.models.sparse_reader import Reads, SparseReader

WIDTH = 8
LENGTHS = (1, 2, 63, 64, 65, 257)
"""about the sides of blocks and of the dense body"""
BODIES = {"dense": 10**9, "tiles": -1}
"""the longest sequence that is attended to densely"""
CHOOSING = ("lsh", "ks", "hax")
FAMILY = [("sparse", pattern) for pattern in get_args(Reads)] + [("hax", pattern) for pattern in CHOOSING] + [("hax_mamba", "hax")]


def make(name: str, pattern: str, *, dtype: torch.dtype = torch.float64, budget: int = 6, hash_bits: int = 2, seed: int = 0) -> Mixer:
    torch.manual_seed(seed)
    fields = {"width": WIDTH, "pattern": pattern, "budget": budget, "dilation": 5, "hash_bits": hash_bits}
    fields |= {"heads": 2} if name == "sparse" else {"state_width": 3}
    kind = mixer_class(name)
    mixer = kind(kind.Config(**fields)).to(dtype)
    if isinstance(mixer, Hybrid):
        torch.nn.init.normal_(mixer.E)  # else it is 1, and could be left out unseen
    return mixer


def reader_of(mixer: Mixer) -> SparseReader:
    assert isinstance(mixer, Sparse | Hybrid)
    return mixer.reader


def inputs(length: int, *, seed: int = 1, kinds: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """`[2, length, WIDTH]`; of so many different rows if `kinds` are given, so that bins are crowded."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2, kinds or length, WIDTH, dtype=torch.float64, generator=draw)
    return (x[:, torch.randint(kinds, (length,), generator=draw)] if kinds else x).to(dtype)


def decode(mixer: Mixer, x: Tensor) -> Tensor:
    state, outputs = mixer.init_state(len(x)), []
    for now in x.unbind(1):
        y, state = mixer.step(now, state)
        outputs.append(y)
    return torch.stack(outputs, dim=1)


def level_scores(mixer: Mixer) -> None:
    """All keys score alike: nothing but ties."""
    if reader_of(mixer).score is not None:
        torch.nn.init.zeros_(reader_of(mixer).score.mlp[-1].weight)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("name", "pattern"), FAMILY)
@given(length=st.sampled_from(LENGTHS[1:]), kinds=st.sampled_from([0, 2]), training=st.booleans(), ties=st.booleans(), data=st.data())
def test_no_output_depends_on_a_later_input(name, pattern, body, length, kinds, training, ties, data):
    mixer = make(name, pattern).train(training)
    if ties:
        level_scores(mixer)
    t = data.draw(st.integers(0, length - 2))
    x = inputs(length, kinds=kinds).requires_grad_()
    edited = x.detach().clone()
    edited[:, t + 1 :] = (
        edited[:, data.draw(st.integers(0, t))][:, None] if data.draw(st.booleans()) else 100 * inputs(length, seed=2)[:, t + 1 :]
    )
    with patch.object(eager, "CROSSOVER", BODIES[body]):
        out = mixer(x)
        (gradient,) = torch.autograd.grad(out[:, : t + 1].square().sum(), x)
        assert (gradient[:, t + 1 :] == 0).all()
        torch.testing.assert_close(mixer(edited)[:, : t + 1], out[:, : t + 1], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("name", "pattern"), FAMILY)
@given(length=st.sampled_from([1, 2, 7, 40]), kinds=st.sampled_from([0, 3]), ties=st.booleans(), budget=st.sampled_from([2, 8, 600]))
def test_steps_give_the_parallel_form_across_evictions_and_full_bins(name, pattern, length, kinds, ties, budget):
    mixer, x = make(name, pattern, budget=budget), inputs(length, kinds=kinds)
    if ties:
        level_scores(mixer)
    torch.testing.assert_close(decode(mixer, x), mixer(x), atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize(("name", "pattern"), FAMILY)
def test_steps_give_the_parallel_form_in_float32(name, pattern):
    mixer, x = make(name, pattern, dtype=torch.float32), inputs(257, dtype=torch.float32)
    torch.testing.assert_close(decode(mixer, x), mixer(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pattern", [each for each in get_args(Reads) if each != "full"])
@given(length=st.sampled_from(LENGTHS), kinds=st.sampled_from([0, 3]), seed=st.integers(0, 100))
def test_a_query_reads_no_more_than_its_budget(pattern, length, kinds, seed):
    mixer, x = make("sparse", pattern, seed=seed), inputs(length, kinds=kinds)
    reader = reader_of(mixer)
    query, key = mixer.split(mixer.query(x)), mixer.split(mixer.key(x))
    seen = pattern_mask(reader.selection(query, key), length)
    count, position = seen.sum(dim=-1), torch.arange(length)
    if pattern in ("d", "sw+d"):
        dilated = (position + 1) // 5
        assert (count <= dilated + (0 if pattern == "d" else 3)).all()
        assert (count >= dilated).all()
        return
    assert (count <= 6).all()
    if pattern in ("sw", "ks"):
        assert (count == (position + 1).clamp(max=6)).all()
    if pattern == "ks":
        came, went = (seen[..., 1:, :] & ~seen[..., :-1, :]).sum(dim=-1), (seen[..., :-1, :] & ~seen[..., 1:, :]).sum(dim=-1)
        assert (came <= 1).all()
        assert (went <= 1).all()
    if pattern == "lsh":
        matches = (reader.bins(query)[..., :, None] == reader.bins(key)[..., None, :]).tril().sum(dim=-1)
        assert (count == matches.clamp(max=6)).all()


@pytest.mark.parametrize("pattern", get_args(Reads))
def test_weights_sum_to_one_or_to_nothing_where_nothing_may_be_read(pattern):
    mixer, x = make("sparse", pattern, hash_bits=8), inputs(40)
    query, key = mixer.split(mixer.query(x)), mixer.split(mixer.key(x))
    sums = mixer.mixing_matrix(x).sum(dim=-1)
    reads = (
        torch.ones_like(sums) if pattern == "full" else pattern_mask(reader_of(mixer).selection(query, key), 40).any(dim=-1).expand_as(sums)
    )
    torch.testing.assert_close(sums, reads.double())
    if pattern in ("d", "lsh"):
        assert (sums == 0).any()


def test_heads_hash_by_planes_of_their_own():
    reader = reader_of(make("sparse", "lsh", hash_bits=8))
    alike = torch.randn(1, 1, 50, reader.width, dtype=torch.float64).expand(-1, 2, -1, -1)
    first, second = reader.bins(alike)[0]
    assert (first != second).any()


@pytest.mark.parametrize(("name", "pattern"), [case for case in FAMILY if case[1] in ("lsh", "hax")])
def test_what_is_hashed_by_is_saved_and_the_same_whenever_it_is_used(name, pattern):
    mixer, x = make(name, pattern), inputs(70)
    assert any(key.endswith("reader.planes") for key in mixer.state_dict())
    first = mixer.train()(x)
    torch.manual_seed(99)
    torch.testing.assert_close(mixer.eval()(x), first, rtol=0, atol=0)
    other = make(name, pattern, seed=5)
    other.load_state_dict(mixer.state_dict())
    torch.testing.assert_close(other(x), first, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "pattern"), FAMILY)
def test_padding_changes_nothing_before_it(name, pattern):
    mixer, x = make(name, pattern), inputs(80)
    padded = torch.cat([x, x[:, :1].expand(-1, 60, -1)], dim=1)
    torch.testing.assert_close(mixer(padded)[:, :80], mixer(x), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("pattern", "other", "fields"), [("full", "attention", {}), ("sw", "sliding_window", {"window": 6})])
def test_with_the_weights_of_an_attention_it_is_that_attention(pattern, other, fields):
    mixer, kind = make("sparse", pattern), mixer_class(other)
    attention = kind(kind.Config(width=WIDTH, heads=2, **fields)).double()
    mixer.load_state_dict(attention.state_dict(), strict=False)
    torch.testing.assert_close(mixer(inputs(70)), attention(inputs(70)), atol=1e-12, rtol=1e-12)


def test_cost_counts_what_is_read_hashed_scored_and_sorted():
    length, width, heads, share, bits = 100, 4, 2, 6, 3
    pairs = share * (share + 1) // 2 + (length - share) * share
    mixing, sort = 4 * width * heads * pairs, heads * length * 7  # log2 of 100, rounded up
    hashing, scoring = 2 * 2 * length * width * bits * heads, 2 * length * heads * (2 * 8 * 8 + 8) + 2 * length * heads * width
    costs = {"lsh": mixing + hashing + 2 * sort, "ks": mixing + scoring + sort}
    for pattern, flops in costs.items():
        mixer = make("sparse", pattern, budget=share, hash_bits=bits)
        assert mixer.cost(length).flops - mixer.projection_cost(length).flops == flops


@pytest.mark.parametrize("name", ["hax", "hax_mamba"])
def test_a_hybrid_whose_attention_counts_nothing_is_its_base(name):
    mixer = make(name, "hax")
    torch.nn.init.zeros_(mixer.E)
    torch.testing.assert_close(mixer(inputs(70)), mixer.base(inputs(70)), atol=1e-12, rtol=1e-12)
    assert mixer.cost(70).flops > mixer.base.cost(70).flops


@pytest.mark.parametrize("name", ["hax", "hax_mamba", "sparse"])
def test_new_names_for_tokens_change_nothing_but_the_names(name):
    fields = {"width": WIDTH, "pattern": "hax", "budget": 6, "hash_bits": 2}
    torch.manual_seed(0)
    model = LanguageModel(LanguageModelConfig(vocab_size=11, mixer=name, fields=fields)).double()
    tokens = torch.randint(11, (2, 70), generator=torch.Generator().manual_seed(1))
    logits, renamed = model(tokens), torch.randperm(11, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for weight in (model.embedding.weight, model.unembedding.weight):
            weight[renamed] = weight.clone()
    torch.testing.assert_close(model(renamed[tokens])[..., renamed], logits, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"budget": 3}, "budget must be a positive multiple of 2, the parts of 'hax', got 3"),
        ({"pattern": "ks", "budget": 0}, "budget must be a positive multiple of 1"),
        ({"hash_bits": 32}, "hash_bits must lie in 1..31"),
        ({"dilation": 0}, "dilation must be at least 1"),
        ({"score_rate": 0.0}, "score_rate must be positive and finite"),
    ],
)
def test_a_configuration_out_of_range_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        mixer_class("sparse").Config(**fields)
