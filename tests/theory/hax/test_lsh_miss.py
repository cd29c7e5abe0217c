"""Answers that a hash loses."""

from typing import Any

import numpy as np
import pytest
import torch

from recall_lab.models import LanguageModel
from recall_lab.models.hax import Hax
from recall_lab.tasks import JointRecall, Stream
from recall_lab.theory import CLAIMS, joint_recall_lsh_construction
from recall_lab.theory.constructions.joint_recall_lsh import Coding
from recall_lab.theory.hax import lsh_miss
from recall_lab.theory.hax.lsh_miss import foresee, keys_and_queries, lost_on_average, questions, sharing

TASKS = [JointRecall(contexts=(3, 4), keys=(2, 5), reveal=False), JointRecall(contexts=4, keys=3, layout="triples")]
every_task = pytest.mark.parametrize("task", TASKS, ids=["paper", "triples"])


def test_the_claim_holds_and_answers_were_lost_in_every_setting() -> None:
    evidence = CLAIMS["hax.lsh_miss"].check("quick", seed=4)
    assert evidence.holds
    assert (evidence.arrays["lost"] > 0).all()
    assert (evidence.arrays["luck"] < evidence.arrays["lost"]).all()


@every_task
@pytest.mark.parametrize("coding", ["plain", "simplex"])
def test_the_model_hashes_what_is_said_here(task: JointRecall, coding: Coding) -> None:
    tokens = task.sample(Stream(0, "test"), 3, 1).tokens
    model = joint_recall_lsh_construction(task, coding).double()
    first, second = model.stack
    assert isinstance(second.mixer, Hax)
    with torch.inference_mode():
        u = second.mixer.base.inside(second.norm(first(model.embedding(torch.from_numpy(tokens).long()))), None)[0].u
        query, key = (vectors[0, 0].numpy() for vectors in second.mixer.queries_and_keys(u))
    keys, queries = keys_and_queries(task, tokens[0], coding)
    asked, shown = questions(task, tokens[0], task.solve(tokens)[0])
    gain = np.linalg.norm(query[asked]) / np.linalg.norm(queries[asked])
    np.testing.assert_allclose(key[:, : keys.shape[1]], gain * keys, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(query[asked, : keys.shape[1]], gain * queries[asked], atol=1e-3)
    np.testing.assert_array_equal(key[:, keys.shape[1] :], 0)
    np.testing.assert_allclose(keys[shown], queries[asked], rtol=1e-12)


@every_task
@pytest.mark.parametrize("per_bin", [1, 2, 5])
def test_an_answer_is_lost_when_as_many_as_fit_came_after_it(task: JointRecall, per_bin: int) -> None:
    tokens, targets = (part[0] for part in task.sample(Stream(1, "test"), 2, 1))
    keys, queries = keys_and_queries(task, tokens, "simplex")
    planes = np.random.default_rng(0).standard_normal((keys.shape[1], 2))
    found = foresee(task, tokens, targets, planes, per_bin, "simplex")
    asked, shown = questions(task, tokens, targets)
    for question, (i, t) in enumerate(zip(asked, shown, strict=True)):
        assert tokens[t] == targets[i]
        same = [j for j in range(i + 1) if ((keys[j] @ planes > 0) == (queries[i] @ planes > 0)).all()]
        assert found.lost[question] == (t not in same[-per_bin:])
        others = [j for j in same[-per_bin:] if j != t]
        assert found.lucky[question] == any(tokens[j] == targets[i] or tokens[j] < 10 for j in others)
    assert found.lost.sum() > 0 or per_bin > 2


def test_vectors_share_a_bin_as_often_as_the_law_says() -> None:
    random = np.random.default_rng(0)
    queries, keys = random.standard_normal((3, 4)), random.standard_normal((5, 4))
    keys[0] = 0
    planes = random.standard_normal((20_000, 4, 2))
    same = ((queries @ planes > 0)[:, :, None] == (keys @ planes > 0)[:, None]).all(axis=3)
    np.testing.assert_allclose(same.mean(axis=0), sharing(queries, keys, 2), atol=0.015)


def test_more_planes_lose_less_and_the_bound_knows() -> None:
    few, many = (lost_on_average(TASKS[1], bits, 2, "simplex", 0) for bits in (2, 8))
    assert few[0] > 5 * many[0]
    assert few[2] > 5 * many[2]


def one_setting(monkeypatch: pytest.MonkeyPatch, setting: tuple[Coding, JointRecall, int, int]) -> None:
    monkeypatch.setattr(lsh_miss, "SETTINGS", (setting,))
    assert CLAIMS["hax.lsh_miss"].check("quick", seed=0).holds


def test_a_bin_of_another_size_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    one_setting(monkeypatch, ("plain", JointRecall(contexts=5, keys=16, layout="triples"), 6, 8))
    monkeypatch.setattr(lsh_miss, "foresee", lambda *args: foresee(*args[:4], args[4] + 1, args[5]))
    assert not CLAIMS["hax.lsh_miss"].check("quick", seed=0).holds


def test_tokens_that_show_nothing_read_like_others_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLANK hashed as if it were as long as a code."""
    one_setting(monkeypatch, ("simplex", JointRecall(contexts=13, keys=9, reveal=False), 8, 8))
    monkeypatch.setattr(lsh_miss, "FIRST_VALUE", 0)
    assert not CLAIMS["hax.lsh_miss"].check("quick", seed=0).holds


def test_planes_that_change_after_they_were_looked_at_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    one_setting(monkeypatch, ("plain", JointRecall(contexts=5, keys=16, layout="triples"), 6, 8))

    def rehashed(task: JointRecall, coding: Coding, **fields: Any) -> LanguageModel:
        model = joint_recall_lsh_construction(task, coding, **fields)
        reading = model.stack[1].mixer
        assert isinstance(reading, Hax)

        def redraw(*_: object) -> None:
            reading.reader.planes = reading.reader.planes.roll(1, dims=1)

        reading.register_forward_pre_hook(redraw)
        return model

    monkeypatch.setattr(lsh_miss, "joint_recall_lsh_construction", rehashed)
    assert not CLAIMS["hax.lsh_miss"].check("quick", seed=0).holds
