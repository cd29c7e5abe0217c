"""Weights set by hand for joint recall on the capacity figure."""

import pytest
from lab.tiny import point

from recall_lab.models import LanguageModel
from recall_lab.plots.capacity import built
from recall_lab.tasks import JointRecall
from recall_lab.theory.constructions.joint_recall import joint_recall_state

TASK = JointRecall(contexts=(2, 3), keys=4, values=5)


def test_weights_set_by_hand_for_joint_recall_stand_where_their_state_is_and_answer_everything():
    found = {each.mixer: each for each in built([point(task=TASK, mixer=mixer) for mixer in ("mamba2", "hax", "attention")])}
    assert list(found) == ["mamba2", "hax"]
    assert found["mamba2"].state_bits == 32 * joint_recall_state()
    assert found["hax"].state_bits == 32 * (joint_recall_state() + 2 * (TASK.cut * (32 + 128) + 1))
    assert all(each.certified_bits == pytest.approx(TASK.answer_bits) for each in found.values())


def test_a_table_that_has_no_room_in_the_papers_shapes_is_left_out():
    assert not built([point(task=JointRecall(contexts=17, keys=2), mixer="mamba2")])


def test_a_construction_whose_state_is_counted_too_small_is_not_drawn(monkeypatch):
    monkeypatch.setattr(LanguageModel, "state_size", lambda model, length: 1)
    with pytest.raises(AssertionError, match=r"mamba2: .* bits certified by a state of 32"):
        built([point(task=JointRecall(contexts=4, keys=5, values=6), mixer="mamba2")])
