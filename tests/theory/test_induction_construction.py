"""Induction heads by weights: with a selective step the last occurrence counts, without selection any one occurrence."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.models import LanguageModel, LanguageModelConfig, broken_contract
from recall_lab.tasks import IGNORE, Induction, Stream
from recall_lab.theory import CLAIMS, induction_construction, unselective_induction_construction
from recall_lab.theory.constructions import induction, slots
from recall_lab.theory.constructions.induction import VALUES, found, repeated
from recall_lab.theory.constructions.tables import last_logits

CONSTRUCTIONS = [induction_construction, unselective_induction_construction]
every_construction = pytest.mark.parametrize("construct", CONSTRUCTIONS)
STREAM = Stream(0, "test")


@every_construction
@given(values=st.integers(2, 20), triggers=st.integers(1, 5), spare=st.integers(0, 60))
@settings(max_examples=20)
def test_every_trigger_is_answered_at_every_length(construct, values: int, triggers: int, spare: int) -> None:
    task = Induction(length=2 * triggers + 1 + spare, values=values, triggers=triggers)
    batch = task.sample(STREAM, 0, 20)
    said = construct(task)(torch.from_numpy(batch.tokens).long())[:, -1].argmax(dim=1).numpy()
    np.testing.assert_array_equal(said, batch.targets[:, -1])


@every_construction
def test_state_and_what_is_selective_are_as_stated(construct) -> None:
    task = Induction(length=24, values=7)
    model = construct(task)
    assert broken_contract(model, torch.from_numpy(task.sample(STREAM, 0, 4).tokens).long()) is None
    assert {model.state_size(length) for length in (1, 24, 2**20)} == {2 * (7 + 1)}
    assert model.config.mixer_config.selective == (("dt",) if construct is induction_construction else ())
    assert model.config.mixer_config.state_width == 1


@given(occurrences=st.integers(1, 10), spare=st.integers(0, 30))
def test_a_repeated_trigger_asks_for_the_value_after_its_last_occurrence(occurrences: int, spare: int) -> None:
    samples = repeated(2 * occurrences + 1 + spare, occurrences, STREAM, 5)
    assert samples.tokens.max() == VALUES
    for row, answer in zip(samples.tokens.tolist(), samples.answers.tolist(), strict=True):
        assert row[-1] == VALUES
        after = [value for trigger, value in pairwise(row) if trigger == VALUES]
        assert len(after) == occurrences
        assert after[-1] == answer != IGNORE


def test_only_where_the_step_is_selective_does_the_last_of_several_occurrences_count() -> None:
    samples = repeated(100, 5, STREAM, 400)
    assert found(induction_construction(Induction(values=VALUES)), samples).right.all()
    adding = found(unselective_induction_construction(Induction(values=VALUES)), samples).right.mean()
    assert adding == pytest.approx(Induction(values=VALUES, triggers=5).controls()["key_blind"], abs=0.1)
    assert adding < 0.5


@pytest.mark.parametrize("mixer", ["mamba", "mamba2"])
def test_a_sequence_read_in_pieces_ends_in_the_same_logits_whatever_the_pieces(mixer: str) -> None:
    torch.manual_seed(0)
    model = LanguageModel(
        LanguageModelConfig(vocab_size=9, mixer=mixer, fields={"width": 8, "state_width": 3}, depth=2, short_conv=1)
    ).double()
    tokens = torch.randint(9, (3, 50))
    whole = model(tokens)[:, -1]
    for piece in (1, 2, 7, 16, 49, 50, 99):
        torch.testing.assert_close(last_logits(model, tokens, piece=piece), whole, rtol=1e-12, atol=1e-14)


def test_what_could_not_be_read_in_pieces_is_refused() -> None:
    for config in ({"short_conv": 2}, {"short_conv": 1, "mlp": 1}, {"short_conv": 1, "mixer": "attention"}):
        model = LanguageModel(LanguageModelConfig(**{"vocab_size": 9, "mixer": "mamba", "fields": {"width": 8}, "depth": 1} | config))
        with pytest.raises(ValueError, match="blocks must be Mamba or Mamba-2 with short_conv=1 and mlp=0"):
            last_logits(model, torch.zeros(1, 5, dtype=torch.long))


def test_a_step_that_leaves_more_than_is_said_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "GAIN", 10.0)
    assert not CLAIMS["mamba.induction_head"].check("quick", seed=0).holds


def test_a_selective_model_in_place_of_the_one_that_is_not_breaks_the_claim_on_what_selection_buys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(induction, "unselective_induction_construction", lambda task, log_rate=0.0: induction_construction(task))
    assert not CLAIMS["mamba.induction_without_selection"].check("quick", seed=0).holds


def test_one_that_adds_in_place_of_the_one_that_replaces_breaks_both_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(induction, "induction_construction", unselective_induction_construction)
    assert not CLAIMS["mamba.induction_head"].check("quick", seed=0).holds
    assert not CLAIMS["mamba.induction_without_selection"].check("quick", seed=0).holds
