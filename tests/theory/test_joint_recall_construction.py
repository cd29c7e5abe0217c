"""Two blocks of Mamba-2: one holds the context, one the table."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.models import broken_contract
from recall_lab.tasks import IGNORE, JointRecall, Stream
from recall_lab.theory import joint_recall_construction
from recall_lab.theory.constructions.joint_recall import ANSWER, features, joint_recall_state, latching_model, mamba_of
from recall_lab.theory.constructions.mqar import answered

PAPER = JointRecall(contexts=16, keys=16)


@given(
    contexts=st.integers(1, 16),
    keys=st.integers(1, 16),
    values=st.integers(2, 16),
    smaller=st.integers(0, 2),
    layout=st.sampled_from(["paper", "triples"]),
    reveal=st.booleans(),
)
@settings(max_examples=20)
def test_every_question_is_answered_whatever_the_task(
    contexts: int, keys: int, values: int, smaller: int, layout: str, reveal: bool
) -> None:
    ranges = ((max(1, contexts - smaller), contexts), (max(1, keys - smaller), keys))
    task = JointRecall(contexts=ranges[0], keys=ranges[1], values=values, layout=layout, reveal=reveal)
    assert answered(joint_recall_construction(task), task.sample(Stream(0, "test"), 0, len(task.cells))).all()


def test_with_weights_rounded_to_bfloat16_every_question_is_still_answered() -> None:
    model = joint_recall_construction(PAPER)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.bfloat16())
    assert answered(model, PAPER.sample(Stream(0, "test"), 0, 3)).all()


@pytest.mark.parametrize("pattern", ["sw", "d", "sw+d", "a", "lsh", "ks", "hax"])
def test_beside_an_attention_that_counts_nothing_every_question_is_answered(pattern: str) -> None:
    alone, beside = joint_recall_construction(PAPER), latching_model(PAPER, "hax", pattern=pattern)
    for source, block in zip(alone.stack, beside.stack, strict=True):
        mamba_of(block).load_state_dict(source.mixer.state_dict())
        assert not block.mixer.E.any()
    assert answered(beside, PAPER.sample(Stream(0, "test"), 0, 2)).all()


def test_a_model_twice_as_wide_answers_every_question() -> None:
    assert answered(joint_recall_construction(PAPER, width=128), PAPER.sample(Stream(0, "test"), 0, 2)).all()


def test_the_first_block_writes_the_current_context_with_the_length_of_a_code() -> None:
    task = JointRecall(contexts=4, keys=3, layout="triples")
    tokens = task.sample(Stream(0, "test"), 0, 2).tokens
    model = joint_recall_construction(task)
    with torch.inference_mode():
        held = model.stack[0](model.embedding(torch.from_numpy(tokens).long()))[..., features(task).current].numpy()
    expected = np.zeros_like(held)
    for row, read in zip(expected, tokens, strict=True):
        for position in range(1, len(read)):
            latest = max(at for at in range(position + 1) if read[at] >= task.first_context)
            row[position, read[latest] - task.first_context] = 1.0
    np.testing.assert_allclose(held, expected, atol=1e-4)


def test_the_right_value_outweighs_the_token_itself_and_nothing_else_is_said() -> None:
    batch = PAPER.sample(Stream(0, "test"), 0, 1)
    with torch.inference_mode():
        logits = joint_recall_construction(PAPER)(torch.from_numpy(batch.tokens).long())[torch.from_numpy(batch.targets != IGNORE)]
    scale = math.sqrt(64 / (ANSWER**2 + 2))  # of the last norm: token, context and answer
    best = logits.topk(3, dim=1).values / scale
    torch.testing.assert_close(best[:, :2], torch.tensor([ANSWER, 1.0]).expand(256, 2), rtol=1e-3, atol=0)
    assert (best[:, 2] <= ANSWER / PAPER.values + 1e-4).all()  # tokens that show nothing lie between all values


def test_the_unembedding_is_the_embedding() -> None:
    model = joint_recall_construction(PAPER)
    torch.testing.assert_close(model.unembedding.weight, model.embedding.weight, rtol=0, atol=0)


def test_token_by_token_it_is_the_same_in_a_state_as_stated() -> None:
    task = JointRecall(contexts=(1, 3), keys=(2, 3), values=4, reveal=False)
    model = joint_recall_construction(task)
    assert broken_contract(model, torch.from_numpy(task.sample(Stream(0, "test"), 0, 6).tokens).long()) is None
    assert {model.state_size(length) for length in (1, 44, 10**6)} == {joint_recall_state()} == {9344}


def test_other_sizes_serve_as_long_as_the_table_has_room() -> None:
    task = JointRecall(contexts=6, keys=8, values=5)
    sizes = {"width": 32, "state_width": 24, "head_width": 32, "conv": 2}
    model = joint_recall_construction(task, **sizes)
    assert answered(model, task.sample(Stream(0, "test"), 0, 4)).all()
    assert model.state_size(1) == joint_recall_state(**sizes) == 2 * (64 * 24 + 64 + 48)


@pytest.mark.parametrize(
    "sizes, wanted",
    [
        ({"width": 48}, "width >= 64"),
        ({"head_width": 8}, "head_width >= 16"),
        ({"conv": 1}, "conv >= 2"),
        ({"state_width": 31}, "state_width >= 32"),
    ],
)
def test_too_little_room_is_refused(sizes: dict[str, int], wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        joint_recall_construction(PAPER, **sizes)
    with pytest.raises(ValueError, match="head_width >= 20"):
        joint_recall_construction(JointRecall(contexts=4, keys=4, values=20))
