"""Blocks that are recognised by what was revealed of them."""

import numpy as np
import pytest

from recall_lab.tasks import IGNORE, Batch, JointRecall, joint_recall
from recall_lab.tasks.joint_recall_controls import block_accuracy
from recall_lab.tasks.joint_recall_strategies import READERS
from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import block_shortcut, context_blind
from recall_lab.theory.hax.block_shortcut import slot_accuracy
from recall_lab.theory.hax.context_blind import best_accuracy, every_sample, without_contexts


@pytest.mark.parametrize("contexts, keys, values", [(2, 2, 2), (2, 2, 3), (3, 1, 3)])
def test_there_is_no_shortcut_without_blocks_or_without_revealed_answers(contexts: int, keys: int, values: int) -> None:
    def best(**fields) -> float:
        task = JointRecall(contexts=contexts, keys=keys, values=values, **fields)
        tokens, targets = every_sample(task)
        return best_accuracy(Batch(without_contexts(task, tokens), targets))

    revealed, hidden = best(layout="triples"), best(layout="triples", reveal=False)
    assert hidden < revealed
    assert best(reveal=False) == pytest.approx(hidden)
    if keys > 1:
        assert revealed < best() - 0.03
    else:
        assert best() == pytest.approx(revealed)  # nothing of a block is revealed before its only question


def test_accuracy_by_slot_counts_questions_of_a_slot_over_all_samples() -> None:
    slot = np.array([[0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 2, 2]], np.int32)
    targets = np.array([[9, 9, 9, 9, 9, IGNORE], [IGNORE, 9, 9, 9, 9, 9]], np.int32)
    found = np.array([[9, 1, 9, 9, 1, 9], [9, 1, 9, 9, 1, 9]], np.int32)
    accuracy, error = slot_accuracy(slot, targets, found)
    np.testing.assert_allclose(accuracy, [2 / 3, 1 / 2, 2 / 3])
    np.testing.assert_allclose(error, np.sqrt(np.array([2 * (2 / 3) ** 2, 2, 2 * (1 / 3) ** 2])) / [3, 4, 3])


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_shortcut, "SAMPLES", (144, 2, 2, 144))


def broken() -> bool:
    return not CLAIMS["hax.block_shortcut"].check("quick", seed=0).holds


def test_answers_that_are_thought_to_tell_less_of_a_block_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_less(contexts: int, keys: int, values: int) -> np.ndarray:
        accuracy = block_accuracy(contexts, keys, values)
        return np.concatenate([accuracy[:, :1], accuracy[:, :-1]], axis=1)

    monkeypatch.setattr(joint_recall, "block_accuracy", one_less)
    assert broken()


def test_a_reader_who_goes_by_keys_alone_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "context_token_blind", READERS["context_blind"])
    assert broken()


def test_readers_who_are_shown_contexts_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_blind, "without_contexts", lambda task, tokens: tokens)
    assert broken()
