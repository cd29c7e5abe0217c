"""The score of keys: what it is taught, that it learns it, and that nothing else is taught by it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.models import Auxiliary, LanguageModel, LanguageModelConfig, auxiliaries, ks_target
from recall_lab.models.key_selection import FEWEST, KeyScore, drawn, query_sums, ranking_loss


def heads(length: int, *, seed: int = 0, width: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    query, key = (torch.randn(2, 3, length, width, dtype=torch.float64, generator=draw) for _ in range(2))
    return query, key


@given(length=st.integers(1, 12), kind=st.sampled_from(["mean", "mass", "paper"]), data=st.data())
def test_targets_are_what_their_definitions_say(length, kind, data):
    query, key = heads(length)
    real = torch.tensor(data.draw(st.lists(st.lists(st.booleans(), min_size=length, max_size=length), min_size=2, max_size=2)))
    queries, keys = (
        torch.tensor([data.draw(st.permutations(range(length)))[:count] for _ in range(2)])
        for count in data.draw(st.tuples(st.integers(1, length), st.integers(1, length)))
    )
    found = ks_target(query, key, kind, queries=queries, keys=keys, mask=real)
    for b in range(2):
        for column, j in enumerate(keys[b].tolist()):
            if not real[b, j]:
                assert found[b, :, column].isnan().all()
                continue
            for h in range(3):
                liked = []
                for i in queries[b].tolist():
                    if not real[b, i] or i < j or (kind == "mean" and i == j):
                        continue
                    logit = (query[b, h, i] @ key[b, h, j] / 2).item()
                    if kind == "mass":
                        rivals = [(query[b, h, i] @ key[b, h, o] / 2).item() for o in keys[b].tolist() if o <= i and real[b, o]]
                        liked.append(math.exp(logit) / sum(map(math.exp, rivals)))
                    else:
                        liked.append(1 / (1 + math.exp(-logit)))
                if kind == "mean" and len(liked) < FEWEST:
                    assert found[b, h, column].isnan()
                else:
                    expected = sum(liked) / (len(liked) if kind == "mean" else 1)
                    assert found[b, h, column].item() == pytest.approx(expected, abs=1e-12)


def test_the_mean_does_not_rank_by_age_and_the_sum_of_the_paper_does():
    query, key = heads(600)
    position = torch.arange(596.0).double()

    def correlation(kind):
        target = ks_target(query, key, kind)[..., :596].flatten(0, 1)
        return torch.corrcoef(torch.cat([position[None], target]))[0, 1:]

    assert (correlation("paper") < -0.99).all()
    assert correlation("mean").abs().mean() < 0.1


def test_a_ranking_that_agrees_costs_less_and_unknown_keys_cost_nothing():
    target = torch.tensor([[[0.1, 0.5, 0.9, torch.nan]]])
    score = torch.tensor([[[-5.0, 0.0, 5.0, 100.0]]], requires_grad=True)
    loss = ranking_loss(score, target)
    assert loss < 0.01 < 5 < ranking_loss(-score, target)
    (gradient,) = torch.autograd.grad(loss, score)
    assert gradient[0, 0, 3] == 0
    assert ranking_loss(score, torch.full_like(target, torch.nan)) == 0
    torch.testing.assert_close(ranking_loss(torch.zeros(1, 1, 2), torch.ones(1, 1, 2)).item(), math.log(2))


def test_a_score_learns_to_rank_by_its_target():
    torch.manual_seed(0)
    score = KeyScore(4, kind="mean", learning_rate=1e-2)
    favourite = torch.tensor([1.0, -1.0, 0.5, 0.0])
    optimiser = torch.optim.AdamW(score.parameters(), lr=score.learning_rate)
    first = None
    for step in range(60):
        key = torch.randn(8, 1, 40, 4)
        query = favourite + 0.3 * torch.randn(8, 1, 40, 4)
        score(query, key)
        loss = score.loss(torch.ones(8, 40, dtype=torch.bool), torch.Generator().manual_seed(step))
        first = first or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    liked = (key * favourite).sum(dim=-1)
    assert loss.item() < 0.8 * first
    assert torch.corrcoef(torch.stack([score(query, key).flatten(), liked.flatten()]))[0, 1] > 0.8


def test_a_score_reads_the_direction_of_the_queries_so_far_and_nothing_of_later_ones():
    query, key = heads(9)
    torch.manual_seed(0)
    score = KeyScore(4, kind="mean", learning_rate=1e-2).double()
    sums = torch.stack([query[:, :, : t + 1].sum(dim=2) for t in range(9)], dim=2)
    torch.testing.assert_close(query_sums(query), sums)
    torch.testing.assert_close(score(7.0 * query, key), score(query, key))
    by_hand = score.mlp(torch.cat([key, sums / sums.norm(dim=-1, keepdim=True)], dim=-1))[..., 0]
    torch.testing.assert_close(score(query, key), by_hand.detach())


@given(length=st.integers(1, 30), count=st.integers(1, 40), data=st.data())
def test_what_is_read_is_drawn_before_what_is_not_and_nothing_twice(length, count, data):
    read = torch.tensor(data.draw(st.lists(st.lists(st.booleans(), min_size=length, max_size=length), min_size=1, max_size=3)))
    found = drawn(read, count, torch.Generator().manual_seed(0))
    assert found.shape == (len(read), min(count, length))
    for row, positions in zip(read, found, strict=True):
        assert len(set(positions.tolist())) == len(positions)
        assert row[positions].sum() == min(len(positions), int(row.sum()))


def test_short_samples_count_as_much_as_long_ones():
    target = torch.arange(4.0).expand(2, 1, 4).clone()
    target[1, 0, 2:] = torch.nan
    score = torch.tensor([[[0.0, 0, 0, 0]], [[3.0, 0, 0, 0]]])
    short = ranking_loss(score[1:], target[1:])
    torch.testing.assert_close(ranking_loss(score, target), (math.log(2) + short) / 2)


def model(name: str, pattern: str = "hax", **others: str) -> LanguageModel:
    torch.manual_seed(0)
    fields = {"width": 16, "pattern": pattern, "budget": 6, "hash_bits": 2} | others
    return LanguageModel(LanguageModelConfig(vocab_size=9, mixer=name, fields=fields))


TOKENS = torch.randint(9, (3, 40), generator=torch.Generator().manual_seed(0))
READ = torch.arange(40).expand(3, -1) < torch.tensor([[40], [30], [20]])


@pytest.mark.parametrize("name", ["hax", "hax_mamba", "sparse"])
def test_the_auxiliary_loss_reaches_the_score_alone_and_nothing_else_reaches_the_score(name):
    built = model(name)
    answers = built(TOKENS).logsumexp(dim=-1).mean()
    sides = auxiliaries(built)
    assert len(sides) == built.config.depth
    of_scores = {weight for side in sides for weight in side.parameters()}
    others = [weight for weight in built.parameters() if weight not in of_scores]
    loss = sum(side.loss(READ, torch.Generator().manual_seed(0)) for side in sides)
    assert all(gradient is None for gradient in torch.autograd.grad(loss, others, allow_unused=True, retain_graph=True))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, list(of_scores)))
    assert all(gradient is None for gradient in torch.autograd.grad(answers, list(of_scores), allow_unused=True))


@pytest.mark.parametrize("pattern", ["sw", "lsh", "full"])
def test_what_selects_no_keys_learns_nothing_by_itself(pattern):
    assert auxiliaries(model("hax", pattern)) == []


def test_what_is_padding_changes_no_loss():
    losses = []
    for filler in (0, 5):
        built = model("sparse")
        built(torch.where(READ, TOKENS, filler))
        losses.append([side.loss(READ, torch.Generator().manual_seed(0)).item() for side in auxiliaries(built)])
    assert losses[0] == losses[1]


def test_a_loss_is_of_the_last_pass_in_training_and_without_one_there_is_none():
    built = model("sparse")
    (first, _) = auxiliaries(built)
    assert isinstance(first, Auxiliary)

    def loss() -> float:
        return first.loss(READ, torch.Generator().manual_seed(0)).item()

    built.eval()(TOKENS)
    with torch.no_grad():
        built.train()(TOKENS)
    with pytest.raises(RuntimeError, match="no forward pass"):
        loss()
    built(TOKENS)
    of_tokens = loss()
    with pytest.raises(RuntimeError, match="no forward pass"):  # once read, they are let go
        loss()
    built(TOKENS.flip(1))
    built(TOKENS)
    assert loss() == of_tokens


def test_scores_are_taught_by_the_mean_unless_told_otherwise():
    assert {side.kind for side in auxiliaries(model("sparse"))} == {"mean"}
    for kind in ("mass", "paper"):
        assert {side.kind for side in auxiliaries(model("sparse", score_loss=kind))} == {kind}


def test_decoding_keeps_no_graph_of_scores():
    mixer = model("sparse").stack[0].mixer
    state = mixer.init_state(2)
    for _ in range(3):
        _, state = mixer.step(torch.randn(2, 16), state)
    *_, scores, total = state
    assert not scores.requires_grad
    assert not total.requires_grad
