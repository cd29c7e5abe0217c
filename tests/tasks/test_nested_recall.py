"""Nested joint recall: layout, law, oracle, and controls held against a reader who plays on samples."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from scipy.stats import chisquare
from simulated import assert_mean
from strategies import STRATEGIES

from recall_lab.tasks import IGNORE, NestedRecall, Stream
from recall_lab.tasks.joint_recall import BLANK, SEP

STREAM = Stream(seed=0)


def half(task: NestedRecall, row: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """(outer, inner, key, what follows) of each entry in one half, by counting cells from its head on."""
    (outer, inner), in_inner = task.levels, 1 + 2 * task.keys
    in_outer = 1 + inner * in_inner
    for i, j, k in itertools.product(range(outer), range(inner), range(task.keys)):
        of_outer = 1 + i * in_outer
        of_inner = of_outer + 1 + j * in_inner
        yield row[of_outer], row[of_inner], row[of_inner + 1 + 2 * k], row[of_inner + 2 + 2 * k]


def test_blocks_stand_in_blocks() -> None:
    task = NestedRecall(levels=(2, 3), keys=2)
    tokens, targets = task.build(np.array([0]), *(np.zeros((1, draws), np.uint64) for draws in task.draws))
    block = "d0 k0 v0 k1 v0 d1 k0 v0 k1 v0 d2 k0 v0 k1 v0"
    asked = block.replace("v0", "BLANK")
    assert task.describe(tokens[0]) == f"BOS c0 {block} c1 {block} SEP c0 {asked} c1 {asked}"
    assert targets[0][tokens[0] == SEP] == IGNORE
    np.testing.assert_array_equal(np.nonzero(targets[0] == 10)[0], np.nonzero(tokens[0][1:] == BLANK)[0])


@given(task=STRATEGIES["nested_recall"])
def test_the_table_is_shown_whole_and_asked_whole(task: NestedRecall) -> None:
    tokens, targets = task.sample(STREAM, 0, 5)
    ids = [range(task.first_outer, task.first_inner), range(task.first_inner, task.vocab_size), range(task.first_key, task.first_outer)]
    assert [len(block) for block in ids] == [*task.levels, task.keys]
    for row, answers in zip(tokens.tolist(), targets.tolist(), strict=True):
        shown, asked = ({entry[:3]: entry[3] for entry in half(task, part)} for part in (row[: task.cut], row[task.cut :]))
        assert shown.keys() == asked.keys() == set(itertools.product(*ids))
        assert set(asked.values()) == {BLANK}
        assert Counter(shown.values()) == Counter(answer for answer in answers if answer != IGNORE)


def test_all_orders_of_each_level_are_equally_likely_and_independent_of_those_beside_and_above() -> None:
    task = NestedRecall(levels=(2, 2), keys=3)
    tokens = task.sample(STREAM, 0, 6000).tokens
    of_outer = tokens.reshape(-1, 2, task.cut)[..., 1:].reshape(-1, 2, 2, 15)
    of_inner = of_outer[..., 1:].reshape(-1, 2, 2, 2, 7)
    outers, inners, keys = of_outer[..., 0], of_inner[..., 0], of_inner[..., 1::2]
    for orders, kinds in (
        (np.hstack([outers[:, 0], outers[:, 1], inners[:, 0, 0], inners[:, 1, 1]]), 2**4),
        (np.hstack([inners[:, part, outer] for part in (0, 1) for outer in (0, 1)]), 2**4),
        (np.hstack([keys[:, 0, 0, 0], keys[:, 1, 0, 1]]), 36),
        (np.hstack([keys[:, 0, 1, 0], keys[:, 0, 0, 1]]), 36),
    ):
        counts = Counter(map(tuple, orders.tolist()))
        assert len(counts) == kinds
        assert chisquare(list(counts.values())).pvalue > 1e-4


def test_values_are_uniform_and_independent_of_their_neighbours() -> None:
    task = NestedRecall(levels=(2, 2), keys=4, values=5)
    targets = task.sample(STREAM, 0, 3000).targets
    answers = targets[targets != IGNORE].reshape(-1, 2) - 10
    assert chisquare(np.bincount(answers @ [5, 1], minlength=25)).pvalue > 1e-4


def test_sizes_and_bits_are_those_of_the_formula() -> None:
    task = NestedRecall(levels=(3, 5), keys=7, values=16)
    assert task.length == 2 * 3 * (1 + 5 * (1 + 2 * 7)) + 2
    assert task.answers == 105
    assert task.answer_bits == 420
    assert task.vocab_size == 10 + 16 + 7 + 3 + 5
    assert (task.sample(STREAM, 0, 5).tokens[:, task.cut] == SEP).all()


def test_questions_are_told_apart_by_their_inner_block() -> None:
    task = NestedRecall(levels=(2, 3), keys=2)
    tokens, targets = task.sample(STREAM, 0, 4)
    assert [row.tolist() for row in task.stratum(tokens)[targets != IGNORE].reshape(4, -1)] == [[0, 0, 1, 1, 2, 2] * 2] * 4


GROUPS: dict[str, Callable[[int, int, int], tuple[int, ...]]] = {
    "bag": lambda outer, inner, key: (),
    "context_blind": lambda outer, inner, key: (key,),
    "outer_blind": lambda outer, inner, key: (inner, key),
    "inner_blind": lambda outer, inner, key: (outer, key),
    "key_blind": lambda outer, inner, key: (outer, inner),
}


def guessed(task: NestedRecall, row: list[int], group: Callable[[int, int, int], tuple[int, ...]]) -> list[int]:
    """For each question the most frequent value among the entries that a reader who lacks something cannot tell from the one asked."""
    candidates = defaultdict(Counter)
    for *entry, value in half(task, row[: task.cut]):
        candidates[group(*entry)][value] += 1
    return [candidates[group(*entry)].most_common(1)[0][0] for *entry, _ in half(task, row[task.cut :])]


@pytest.mark.parametrize("blind", GROUPS)
def test_a_control_is_what_its_player_reaches(blind) -> None:
    task = NestedRecall(levels=(4, 3), keys=2, values=5)
    tokens, targets = task.sample(STREAM, 0, 800)
    answers = targets[targets != IGNORE].reshape(800, -1)
    right = answers == [guessed(task, row, GROUPS[blind]) for row in tokens.tolist()]
    assert_mean(right.mean(axis=1), task.controls()[blind])


def test_controls_are_the_most_frequent_of_what_cannot_be_told_apart() -> None:
    controls = NestedRecall(levels=(5, 16), keys=2, values=16).controls()
    assert controls.keys() == GROUPS.keys() | {"chance"}
    assert (round(controls["outer_blind"], 4), round(controls["inner_blind"], 4)) == (0.3074, 0.1924)
    assert controls["key_blind"] == pytest.approx(1.0625 / 2)
    assert controls["bag"] < controls["context_blind"] < controls["inner_blind"]


# values 10 and 11, keys 12 and 13, outer contexts 14, inner contexts 15 and 16
GOOD = [1, 14, 15, 12, 10, 13, 11, 16, 12, 11, 13, 11, 4, 14, 16, 13, 5, 12, 5, 15, 12, 5, 13, 5]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({0: 3}, "must hold BOS"),
        ({12: 5}, "must hold BOS"),
        ({1: 15}, "must stand at position 1, got 15"),
        ({2: 12}, "must stand at position 2, got 12"),
        ({14: 13}, "must stand at position 14, got 13"),
        ({14: 14}, "must stand at position 15, got 13"),
        ({7: 14}, "must stand at position 8, got 12"),
        ({5: 12}, "c0 d0 k0 is shown twice"),
        ({5: 11}, "must stand at position 5, got 11"),
        ({11: 14, 10: 14}, "c0 d1 k1 is asked at position 15, but"),
        ({17: 13}, "c0 d1 k1 is asked at position 17, but"),
        ({19: 16}, "c0 d1 k0 is asked at position 20, but"),
        ({22: 15, 23: 15}, "c0 d0 k1 is shown but not asked"),
        ({22: 15, 23: 13}, "must stand at position 23, got 13"),
    ],
)
def test_tokens_that_are_no_sample_are_refused(changes, complaint) -> None:
    task = NestedRecall(levels=(1, 2), keys=2, values=2)
    row = [changes.get(position, token) for position, token in enumerate(GOOD)]
    with pytest.raises(ValueError, match=complaint):
        task.solve(np.array([row]))


def test_the_oracle_reads_all_but_what_follows_a_question() -> None:
    task = NestedRecall(levels=(1, 2), keys=2, values=2)
    revealed = [11 if token == BLANK else token for token in GOOD]
    for row in (GOOD, revealed):
        targets = task.solve(np.array([row]))[0]
        assert {at: target for at, target in enumerate(targets.tolist()) if target != IGNORE} == {15: 11, 17: 11, 20: 10, 22: 11}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"levels": (0, 2)}, r"levels must be .*, got \(0, 2\)"),
        ({"levels": (2, 2, 2)}, r"levels must be .*, got \(2, 2, 2\)"),
        ({"keys": 0}, "keys must be at least 1, got 0"),
        ({"values": 1}, "values must be at least 2"),
    ],
)
def test_fields_out_of_range_are_refused(fields, complaint, monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # a user's types are not checked
    with pytest.raises(ValueError, match=complaint):
        NestedRecall(**fields)
