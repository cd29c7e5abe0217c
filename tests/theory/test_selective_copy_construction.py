"""Two blocks of Mamba: one counts, one stores under the count."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.models import broken_contract
from recall_lab.tasks import IGNORE, SelectiveCopy, Stream
from recall_lab.theory import CLAIMS, selective_copy_construction
from recall_lab.theory.constructions import selective_copy
from recall_lab.theory.constructions.mqar import answered
from recall_lab.theory.constructions.selective_copy import selective_copy_state


@given(
    content=st.integers(1, 20),
    spare=st.integers(0, 60),
    values=st.integers(2, 12),
    noise=st.integers(0, 4),
    placement=st.sampled_from(["scattered", "start", "mad"]),
)
@settings(max_examples=30)
def test_every_question_is_answered_whatever_the_task(content: int, spare: int, values: int, noise: int, placement: str) -> None:
    task = SelectiveCopy(length=2 * content + 1 + spare, content=content, values=values, noise=noise, placement=placement)
    assert answered(selective_copy_construction(task), task.sample(Stream(0, "test"), 0, 20)).all()


def test_one_model_answers_at_every_length() -> None:
    model = selective_copy_construction(SelectiveCopy(length=64, content=8, values=5, noise=2))
    for length in (17, 100, 3000):
        task = SelectiveCopy(length=length, content=8, values=5, noise=2)
        assert answered(model, task.sample(Stream(0, "test"), 0, 4)).all()


@pytest.mark.parametrize("content, share", [(4, 4e-6), (16, 2e-5), (64, 1e-4)])
def test_what_is_stored_elsewhere_hardly_reaches_the_logits(content: int, share: float) -> None:
    task = SelectiveCopy(length=200, content=content, values=6, noise=2)
    batch = task.sample(Stream(0, "test"), 0, 10)
    logits = selective_copy_construction(task)(torch.from_numpy(batch.tokens).long())
    best = logits[torch.from_numpy(batch.targets != IGNORE)].topk(2, dim=1).values
    assert (best[:, 1] / best[:, 0]).max() < share


def test_token_by_token_it_is_the_same_in_a_state_as_stated() -> None:
    task = SelectiveCopy(length=40, content=6, values=5, noise=2)
    model = selective_copy_construction(task)
    assert broken_contract(model, torch.from_numpy(task.sample(Stream(0, "test"), 0, 4).tokens).long()) is None
    assert {model.state_size(length) for length in (1, 40, 10**6)} == {selective_copy_state(task)} == {2 * 6 * 13}


@pytest.mark.parametrize("constant, fault", [("SHARPNESS", 0.3), ("RESET", 1.0)])
def test_ramps_without_a_bend_or_a_count_that_goes_on_break_the_claim(constant: str, fault: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selective_copy, constant, fault)
    assert not CLAIMS["mamba.selective_copy_construction"].check("quick", seed=0).holds
