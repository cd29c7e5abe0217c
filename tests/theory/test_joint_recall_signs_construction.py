"""The same two blocks of HAX with random signs for codes."""

import math

import pytest
import torch

from recall_lab.models import broken_contract
from recall_lab.tasks import JointRecall, Stream
from recall_lab.theory.constructions.joint_recall_signs import joint_recall_signs_construction
from recall_lab.theory.constructions.mqar import answered


@pytest.mark.parametrize(
    "task",
    [
        JointRecall(contexts=16, keys=16),
        JointRecall(contexts=(2, 3), keys=(24, 25), values=5, reveal=False),
        JointRecall(contexts=12, keys=14, layout="triples"),
    ],
    ids=["paper", "padded", "triples"],
)
def test_nearly_every_question_is_answered_with_most_codes(task: JointRecall) -> None:
    batch = task.sample(Stream(0, "test"), 0, 4)
    accuracy = [answered(joint_recall_signs_construction(task, seed=seed), batch).mean() for seed in range(3)]
    assert sorted(accuracy)[1] > 0.97


def test_every_token_is_as_long_as_any_other_and_unembedded_as_it_is_embedded() -> None:
    model = joint_recall_signs_construction(JointRecall(contexts=5, keys=7))
    torch.testing.assert_close(model.embedding.weight.norm(dim=1), torch.full((model.config.vocab_size,), math.sqrt(2)))
    torch.testing.assert_close(model.unembedding.weight, model.embedding.weight, rtol=0, atol=0)


def test_the_first_block_writes_a_code_of_the_current_context_and_of_nothing_else() -> None:
    task = JointRecall(contexts=5, keys=3)
    tokens = torch.from_numpy(task.sample(Stream(0, "test"), 0, 3).tokens).long()
    model = joint_recall_signs_construction(task)
    with torch.inference_mode():
        written = model.stack[0](model.embedding(tokens)) - model.embedding(tokens)
    torch.testing.assert_close(written[:, 1:].norm(dim=2), torch.ones(3, tokens.shape[1] - 1), rtol=1e-4, atol=0)
    assert written[:, 0].norm() < 1e-6
    is_context = tokens >= task.first_context
    codes = {}
    for row, seen, latched in zip(written, tokens, is_context, strict=True):
        for position in range(1, len(seen)):
            context = int(seen[: position + 1][latched[: position + 1]][-1])
            torch.testing.assert_close(row[position], codes.setdefault(context, row[position]), rtol=0, atol=1e-4)
    assert len(codes) == 5


def test_codes_and_planes_are_a_function_of_the_seed() -> None:
    task = JointRecall(contexts=3, keys=3)
    first, again, other = (joint_recall_signs_construction(task, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    changed = {name.rpartition(".")[2] for name, weight in first.items() if not torch.equal(weight, other[name])}
    assert "planes" in changed
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_token_by_token_it_is_the_same() -> None:
    task = JointRecall(contexts=(1, 3), keys=(2, 3), values=4)
    model = joint_recall_signs_construction(task)
    assert broken_contract(model, torch.from_numpy(task.sample(Stream(0, "test"), 0, 6).tokens).long()) is None
