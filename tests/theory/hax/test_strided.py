"""What a strided pattern knows at each question."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.kernels import Strided
from recall_lab.tasks import JointRecall
from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import strided
from recall_lab.theory.hax.strided import before_questions, certified_at, known_answers


@given(stride=st.integers(2, 40), contexts=st.integers(1, 4), keys=st.integers(1, 4))
@settings(max_examples=50)
def test_a_question_sees_as_many_positions_as_the_formula_says(stride: int, contexts: int, keys: int) -> None:
    task = JointRecall(contexts=contexts, keys=keys, layout="triples")
    at = task.cut + 1 + 3 * np.arange(task.answers)
    seen = before_questions(stride, task)
    np.testing.assert_array_equal(seen.sum(axis=1), at // stride + (at + 1) // stride)
    assert (seen.sum(axis=1) <= 2 * -(-task.length // stride)).all()
    assert not seen[np.arange(task.length) >= at[:, None]].any()


def test_each_question_knows_the_whole_table_by_a_stride_of_six_and_a_part_by_longer_ones() -> None:
    task = JointRecall(contexts=8, keys=8, layout="triples")
    for stride, known in ((6, 64), (16, 24), (64, 6)):
        found = known_answers(before_questions(stride, task), stride, task.cut + 1, task.answers)
        assert found.min() == known
        assert found.max() <= known + 2


def test_where_nothing_is_known_nothing_is_certified_and_where_all_is_what_is_open() -> None:
    np.testing.assert_allclose(certified_at(np.array([0, 0, 0]), 3), 0, atol=1e-9)
    np.testing.assert_allclose(certified_at(np.array([3, 3, 3]), 3), [12, 8, 4])


def test_all_answers_taken_for_open_at_every_question_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """n in place of n - t + 1: but a state may forget what was asked."""

    def of_all(known, answers):
        return certified_at(known, answers) * answers / np.arange(answers, 0, -1)

    monkeypatch.setattr(strided, "certified_at", of_all)
    assert not CLAIMS["hax.strided"].check("quick", seed=0).holds


def test_half_the_stride_that_is_said_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern_mask = strided.pattern_mask
    monkeypatch.setattr(strided, "pattern_mask", lambda pattern, length: pattern_mask(Strided(pattern.step // 2), length))
    assert not CLAIMS["hax.strided"].check("quick", seed=0).holds


def test_a_code_with_a_table_in_every_residue_class_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strided, "known_answers", lambda seen, stride, up_to_sep, answers: np.full(len(seen), answers))
    assert not CLAIMS["hax.strided"].check("quick", seed=0).holds
