"""Weights set by hand, in the very model that is trained."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.models import LanguageModel, count_scalars
from recall_lab.tasks import IGNORE, MQAR, Batch, Stream
from recall_lab.theory import CLAIMS, mqar_construction
from recall_lab.theory.constructions import mqar
from recall_lab.theory.constructions.mqar import answered


def samples(task: MQAR, count: int = 50) -> Batch:
    return task.sample(Stream(0, "test"), 0, count)


tasks = st.integers(1, 8).flatmap(
    lambda pairs: st.builds(
        MQAR,
        length=st.integers(4 * pairs, 4 * pairs + 40),
        pairs=st.just(pairs),
        keys=st.integers(pairs, 20),
        values=st.integers(max(2, pairs), 20),
        queries=st.none() | st.integers(1, pairs),
        order=st.sampled_from(["race", "shuffled"]),
        filler=st.sampled_from(["own", "blank", "any"]),
        iid_values=st.booleans(),
    )
)


@given(task=tasks, mixer=st.sampled_from(["attention", "linear_attention"]))
@settings(max_examples=30)
def test_every_question_is_answered_whatever_the_task(task: MQAR, mixer: str) -> None:
    fields = {"feature_width": task.keys} if mixer == "linear_attention" else {}
    assert answered(mqar_construction(task, mixer, **fields), samples(task)).all()


@pytest.mark.parametrize(
    "task",
    [
        MQAR(length=64, pairs=16, layout="scattered"),
        MQAR(length=64, pairs=4, queries=20, repeat_queries=True),
        MQAR.zoology(vocab_size=64, input_seq_len=64, num_kv_pairs=8, random_non_queries=False),
    ],
    ids=["scattered", "repeated", "zoology"],
)
@pytest.mark.parametrize("lags", [(0,), (0, 2)])
def test_other_layouts_repeated_questions_and_other_token_ids_change_nothing(task: MQAR, lags: tuple[int, ...]) -> None:
    assert answered(mqar_construction(task, lags=lags), samples(task)).all()


def test_the_right_answer_leads_by_the_factor_of_the_proof() -> None:
    task = MQAR(length=128, pairs=16)
    batch = samples(task)
    logits = mqar_construction(task)(torch.from_numpy(batch.tokens).long())
    asked = torch.from_numpy(batch.targets != IGNORE)
    best = logits[asked].topk(2, dim=1).values
    assert (best[:, 0] / best[:, 1]).min() > 0.98 / mqar.LEAK


@pytest.mark.parametrize("mixer", ["attention", "linear_attention"])
def test_token_by_token_it_answers_from_the_state_that_is_stated(mixer: str) -> None:
    task = MQAR(length=32, pairs=4, keys=10, values=12)
    model = mqar_construction(task, mixer, **({"feature_width": 10} if mixer == "linear_attention" else {}))
    batch, state = samples(task, 8), model.init_state(8)
    width = 2 * 10 + 12
    for t, token in enumerate(torch.from_numpy(batch.tokens).long().T, start=1):
        logits, state = model.step(token, state)
        target = torch.from_numpy(batch.targets[:, t - 1])
        assert torch.equal(logits.argmax(dim=1)[target != IGNORE], target[target != IGNORE].long())
        mixing = 2 * width * t if mixer == "attention" else 10 * width
        assert sum(count_scalars(block) for block in state) == model.state_size(t) == mixing + width


def test_a_window_forgets_what_left_it() -> None:
    task = MQAR(length=64, pairs=8, order="shuffled")
    batch = samples(task, 200)
    distance = task.stratum(batch.tokens)[batch.targets != IGNORE]
    right = answered(mqar_construction(task, "sliding_window", lags=(0, 2), window=12), batch)
    assert (right == (distance <= 13)).all()


@pytest.mark.parametrize(
    "call, complaint",
    [
        ({"lags": ()}, "lags must be"),
        ({"lags": (-1,)}, "lags must be"),
        ({"mixer": "linear_attention", "feature_width": 9}, "at least keys=10 features"),
    ],
)
def test_a_model_that_cannot_hold_the_weights_is_refused(call: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        mqar_construction(MQAR(length=32, pairs=4, keys=10, values=12), **call)


def test_a_softmax_that_tells_no_key_from_another_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqar, "LEAK", 63.0)
    assert not CLAIMS["recall.mqar_construction"].check("quick", seed=0).holds


def test_a_state_beyond_the_one_that_is_stated_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_a_feature_to_spare(task: MQAR, mixer: str = "attention", **fields: int) -> LanguageModel:
        return mqar_construction(task, mixer, **{name: size + 1 for name, size in fields.items()})

    monkeypatch.setattr(mqar, "mqar_construction", with_a_feature_to_spare)
    evidence = CLAIMS["recall.mqar_construction"].check("quick", seed=0)
    assert not evidence.holds
    assert (np.asarray(evidence.measured)[0] == 1).all()
