"""Two blocks of HAX: one holds the context, one attends to a hash bin."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.models import broken_contract
from recall_lab.tasks import IGNORE, JointRecall, Stream
from recall_lab.theory import joint_recall_lsh_construction
from recall_lab.theory.constructions.joint_recall_lsh import Coding, codes, simplex
from recall_lab.theory.constructions.mqar import answered

PAPER = JointRecall(contexts=16, keys=16)
every_coding = pytest.mark.parametrize("coding", ["plain", "simplex"])


@given(
    contexts=st.integers(1, 16),
    keys=st.integers(1, 16),
    values=st.integers(2, 16),
    layout=st.sampled_from(["paper", "triples"]),
    reveal=st.booleans(),
    coding=st.sampled_from(["plain", "simplex"]),
)
@settings(max_examples=20)
def test_attention_to_everything_answers_every_question(
    contexts: int, keys: int, values: int, layout: str, reveal: bool, coding: Coding
) -> None:
    task = JointRecall(contexts=(max(1, contexts - 1), contexts), keys=keys, values=values, layout=layout, reveal=reveal)
    model = joint_recall_lsh_construction(task, coding, pattern="full")
    assert answered(model, task.sample(Stream(0, "test"), 0, len(task.cells))).all()


def test_many_planes_lose_hardly_an_answer_and_one_that_all_share_loses_most() -> None:
    batch = PAPER.sample(Stream(0, "test"), 0, 2)
    accuracy = [answered(joint_recall_lsh_construction(PAPER, hash_bits=bits, budget=4), batch).mean() for bits in (24, 1)]
    assert accuracy[0] > 0.995
    assert accuracy[1] < 0.3


@pytest.mark.parametrize("pattern", ["sw", "d", "sw+d", "a"])
def test_the_same_weights_find_little_where_positions_say_what_is_read(pattern: str) -> None:
    batch = PAPER.sample(Stream(0, "test"), 0, 2)
    assert answered(joint_recall_lsh_construction(PAPER, pattern=pattern), batch).mean() < 0.2


@pytest.mark.parametrize("fields", [{"pattern": "full"}, {"hash_bits": 24, "budget": 4}], ids=["full", "24 planes"])
def test_blocks_of_the_table_in_another_order_leave_every_answer_as_it_is(fields: dict[str, Any]) -> None:
    batch = PAPER.sample(Stream(0, "test"), 0, 2)
    moved = batch.tokens.copy()
    blocks = moved[:, 1 : PAPER.cut].reshape(2, PAPER.most_contexts, -1)
    blocks[:] = blocks[:, np.random.default_rng(0).permutation(PAPER.most_contexts)]
    assert (moved != batch.tokens).any()
    np.testing.assert_array_equal(PAPER.solve(moved), batch.targets)
    model = joint_recall_lsh_construction(PAPER, **fields)
    with torch.inference_mode():
        said, said_of_moved = (model(torch.from_numpy(tokens).long()).argmax(dim=2).numpy() for tokens in (batch.tokens, moved))
    asked = batch.targets != IGNORE
    np.testing.assert_array_equal(said_of_moved[asked], said[asked])


@pytest.mark.parametrize("corners", [1, 2, 3, 17])
def test_corners_of_a_simplex_have_length_one_and_one_angle(corners: int) -> None:
    found = simplex(corners)
    assert found.shape == (corners, corners - 1)
    expected = torch.full((corners, corners), -1 / max(1, corners - 1)).fill_diagonal_(1.0 if corners > 1 else 0.0)
    torch.testing.assert_close(found @ found.T, expected, rtol=0, atol=1e-6)


@every_coding
def test_codes_of_the_paper_fit_its_states(coding: Coding) -> None:
    symbols, contexts = codes(PAPER, coding)
    assert len(symbols) == 17
    assert len(contexts) == 16
    assert symbols.shape[1] + contexts.shape[1] == (31 if coding == "simplex" else 32)


def test_planes_are_all_that_is_drawn_and_a_function_of_the_seed() -> None:
    first, again, other = (joint_recall_lsh_construction(PAPER, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    assert {name.rpartition(".")[2] for name, weight in first.items() if not torch.equal(weight, other[name])} == {"planes"}


@every_coding
def test_token_by_token_it_is_the_same(coding: Coding) -> None:
    task = JointRecall(contexts=(1, 3), keys=(2, 3), values=4, reveal=False)
    model = joint_recall_lsh_construction(task, coding, hash_bits=3, budget=2)
    assert broken_contract(model, torch.from_numpy(task.sample(Stream(0, "test"), 0, 6).tokens).long()) is None


@pytest.mark.parametrize(
    "fields, wanted",
    [({"state_width": 30}, "state_width >= 31"), ({"expand": 1}, r"expand \* width >= 66"), ({"width": 60}, "width >= 64")],
)
def test_too_little_room_is_refused(fields: dict[str, int], wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        joint_recall_lsh_construction(PAPER, **({"head_width": 20} if "width" in fields else {}), **fields)
