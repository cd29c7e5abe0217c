"""The swap probe: who follows the context tokens scores 1, who does not scores 0."""

import numpy as np
import pytest
from hypothesis import assume, given
from strategies import STRATEGIES

from recall_lab.tasks import IGNORE, JointRecall, Stream, swapped_contexts
from recall_lab.tasks.joint_recall import SEP
from recall_lab.tasks.joint_recall_strategies import guesses

STREAM = Stream(seed=0)


def test_two_contexts_change_places_among_the_questions() -> None:
    task = JointRecall(contexts=3, keys=2, values=4, reveal=False)
    # v0 = 10, k0 = 14, c0 = 16
    table = [1, 16, 14, 10, 15, 11, 17, 14, 12, 15, 13, 18, 14, 10, 15, 10]
    tokens = np.array([[*table, SEP, 18, 15, 5, 14, 5, 16, 14, 5, 15, 5, 17, 14, 5, 15, 5]])
    swapped, targets = swapped_contexts(task, tokens)
    assert task.describe(swapped[0, 17:]) == "c0 k1 BLANK k0 BLANK c2 k0 BLANK k1 BLANK c1 k0 BLANK k1 BLANK"
    np.testing.assert_array_equal(swapped[0, :17], tokens[0, :17])
    # (c2, k1) has become (c0, k1), a question of another answer; (c0, k0) has become (c2, k0), of the same answer; (c1, k0) is what it was
    assert {position: target for position, target in enumerate(targets[0].tolist()) if target != IGNORE} == {18: 11}


@given(task=STRATEGIES["joint_recall"])
def test_labelled_are_the_first_questions_of_blocks_whose_answer_follows_the_context(task: JointRecall) -> None:
    assume(task.cells[0][0] > 1)
    tokens, before = task.sample(STREAM, 0, len(task.cells))
    swapped, targets = swapped_contexts(task, tokens)
    labelled = targets != IGNORE
    recalled, unmoved = task.solve(swapped), task.solve(tokens)
    np.testing.assert_array_equal(recalled[labelled], targets[labelled])
    assert (unmoved[labelled] != targets[labelled]).all()
    assert (task.stratum(tokens)[labelled] == 0).all()
    first = (before != IGNORE) & (task.stratum(tokens) == 0)
    np.testing.assert_array_equal(labelled, first & (recalled != before))
    assert swapped.dtype == targets.dtype == np.int32


@given(task=STRATEGIES["joint_recall"])
def test_only_two_contexts_of_the_second_half_change_and_they_change_places(task: JointRecall) -> None:
    assume(task.cells[0][0] > 1)
    tokens = task.sample(STREAM, 0, len(task.cells)).tokens
    swapped, _ = swapped_contexts(task, tokens)
    for old, new in zip(tokens.tolist(), swapped.tolist(), strict=True):
        middle = old.index(SEP)
        assert new[:middle] == old[:middle]
        asked = [token for token in old[middle:] if token >= task.first_context]
        first, second = list(dict.fromkeys(asked))[:2]
        places = {first: second, second: first}
        assert new[middle:] == [places.get(token, token) for token in old[middle:]]


@pytest.mark.parametrize("layout", ["paper", "triples"])
def test_a_recaller_follows_the_swap_and_a_reader_blind_to_contexts_does_not(layout) -> None:
    task = JointRecall(contexts=4, keys=3, values=64, layout=layout)
    tokens = task.sample(STREAM, 0, 200).tokens
    swapped, targets = swapped_contexts(task, tokens)
    labelled = targets != IGNORE
    assert labelled.sum() > 300
    for blind in ("bag", "context_blind", "context_token_blind"):
        answered = guesses(task, swapped, blind)
        np.testing.assert_array_equal(answered, guesses(task, tokens, blind))
        assert (answered == targets)[labelled].mean() < 0.4, "not above the luck of the unswapped samples"
    assert (task.solve(swapped) == targets)[labelled].all()
    assert not (task.solve(tokens) == targets)[labelled].any()


def test_a_sample_of_one_context_has_nothing_to_be_exchanged() -> None:
    task = JointRecall(contexts=(1, 2), keys=2)
    tokens = task.sample(STREAM, 0, 2).tokens
    with pytest.raises(ValueError, match="two contexts must be asked"):
        swapped_contexts(task, tokens)
    assert swapped_contexts(task, tokens[1:]).tokens.shape == (1, task.length)
