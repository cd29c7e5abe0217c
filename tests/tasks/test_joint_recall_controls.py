"""Controls of joint recall: formulas held against readers who play on samples, and what those readers do not look at."""

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import assert_mean
from strategies import STRATEGIES

from recall_lab.tasks import IGNORE, JointRecall, Stream
from recall_lab.tasks.joint_recall import PAD
from recall_lab.tasks.joint_recall_controls import mode_accuracy
from recall_lab.tasks.joint_recall_strategies import Blind, guesses

STREAM = Stream(seed=0)
BLIND = get_args(Blind)
FORMS = list(itertools.product(["paper", "triples"], [True, False]))
PUBLISHED = [
    ({}, {"chance": 6.25, "bag": 16.71, "context_blind": 39.26, "key_blind": 39.26, "context_token_blind": 92.02}),
    ({"reveal": False}, {"bag": 11.27, "context_blind": 23.66, "key_blind": 23.66, "context_token_blind": 23.66}),
    ({"layout": "triples"}, {"bag": 16.71, "context_blind": 39.26, "key_blind": 39.26, "context_token_blind": 39.26}),
    ({"contexts": 16, "keys": 16}, {"bag": 12.35, "context_blind": 31.89, "context_token_blind": 94.52}),
    ({"contexts": 5, "keys": 5}, {"bag": 26.71, "context_blind": 51.41, "context_token_blind": 89.08}),
    ({"contexts": 16, "keys": 16, "reveal": False}, {"bag": 9.15, "context_blind": 19.24}),
    ({"contexts": 5, "keys": 5, "reveal": False}, {"bag": 16.37, "context_blind": 30.74}),
]
"""sizes of the paper with what the specification gives for them in percent, to the digits of the exact formulas"""


def right(task: JointRecall, count: int, blind: str) -> np.ndarray:
    """1 where a question of the first samples is guessed, 0 where it is not, NaN where nothing is asked."""
    tokens, targets = task.sample(STREAM, 0, count)
    return np.where(targets == IGNORE, np.nan, guesses(task, tokens, blind) == targets)


def assert_reached(task: JointRecall, count: int, blind: str) -> None:
    """The player's accuracy is the control, held against samples size by size, so that no spread between sizes hides a difference."""
    by_size = [replace(task, contexts=contexts, keys=keys).controls()[blind] for contexts, keys in task.cells]
    assert task.controls()[blind] == pytest.approx(np.mean(by_size), rel=1e-12)
    beyond = np.nanmean(right(task, count, blind), axis=1) - np.resize(by_size, count)
    assert_mean(beyond, 0)


@pytest.mark.parametrize(("layout", "reveal"), FORMS)
@pytest.mark.parametrize("blind", BLIND)
def test_a_control_is_what_its_player_reaches(layout, reveal, blind) -> None:
    task = JointRecall(contexts=(2, 4), keys=(1, 3), values=3, layout=layout, reveal=reveal)
    assert_reached(task, 1800, blind)


def test_every_control_has_a_player() -> None:
    assert set(BLIND) == JointRecall().controls().keys()


@pytest.mark.parametrize(("fields", "expected"), PUBLISHED, ids=str)
def test_controls_of_the_published_sizes(fields, expected) -> None:
    controls = JointRecall(**fields).controls()
    assert {name: round(100 * controls[name], 2) for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "samples", "blind"),
    [
        ({}, 720, "context_token_blind"),
        ({}, 720, "context_blind"),
        ({"reveal": False}, 720, "context_blind"),
        ({"contexts": 16, "keys": 16}, 200, "context_token_blind"),
        ({"contexts": 5, "keys": 5}, 3000, "context_token_blind"),
    ],
    ids=str,
)
def test_players_reach_the_published_figures_on_the_published_sizes(fields, samples, blind) -> None:
    assert_reached(JointRecall(**fields), samples, blind)


def test_the_expected_top_counts_are_the_rational_numbers_of_their_generating_function() -> None:
    """P(no value occurs more than t times in r draws) = r! / v^r [x^r] (sum_{a <= t} x^a / a!)^v, here in fractions."""
    found = mode_accuracy(16, 16) * np.arange(1, 17)
    exact = [_expected_top_count(draws, 16) for draws in range(1, 17)]
    np.testing.assert_allclose(found, [float(mean) for mean in exact], rtol=1e-13)
    assert exact[:3] == [1, 1 + Fraction(1, 16), Fraction(303, 256)]
    assert [round(float(exact[draws - 1]), 4) for draws in (1, 2, 3, 4, 5, 16)] == [1, 1.0625, 1.1836, 1.3486, 1.5368, 3.0782]


def _expected_top_count(draws: int, values: int) -> Fraction:
    return sum(((1 - _none_above(limit, draws, values)) for limit in range(draws)), Fraction(0))


def _none_above(limit: int, draws: int, values: int) -> Fraction:
    power = [Fraction(1)] + [Fraction(0)] * draws
    for _ in range(values):
        power = [
            sum((power[degree - a] / math.factorial(a) for a in range(min(limit, degree) + 1)), Fraction(0)) for degree in range(draws + 1)
        ]
    return power[draws] * math.factorial(draws) / values**draws


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((5, 16), [0.3736, 0.8659, 0.9904, 0.9994]),
        (16, [0.3189, 0.8194, 0.9864, 0.9991]),
        (5, [0.5141, 0.9439, 0.9963, 0.9998]),
    ],
    ids=str,
)
def test_a_matcher_of_blocks_climbs_from_slot_to_slot_of_the_published_sizes(sizes, expected) -> None:
    by_slot = JointRecall(contexts=sizes, keys=sizes).matcher_by_slot()
    assert [round(accuracy, 4) for accuracy in by_slot[:4]] == expected
    assert (np.diff(by_slot) > -1e-12).all()


@pytest.mark.parametrize(("layout", "reveal"), FORMS)
def test_accuracy_by_slot_is_that_over_all_questions_of_the_slot(layout, reveal) -> None:
    task = JointRecall(contexts=(1, 3), keys=(2, 4), values=4, layout=layout, reveal=reveal)
    expected = task.matcher_by_slot()
    found = right(task, 3600, "context_token_blind")
    slot = task.stratum(task.sample(STREAM, 0, 3600).tokens)
    assert len(expected) == 1 + slot[~np.isnan(found)].max()
    for number, accuracy in enumerate(expected):
        per_turn = np.where(slot == number, found, np.nan).reshape(-1, len(task.cells) * task.length)
        assert_mean(np.nanmean(per_turn, axis=1), accuracy)


@given(task=STRATEGIES["joint_recall"])
def test_in_one_size_a_matcher_begins_as_a_reader_of_keys_and_is_the_control_on_average(task: JointRecall) -> None:
    one_size = replace(task, contexts=3, keys=4)
    by_slot, controls = one_size.matcher_by_slot(), one_size.controls()
    assert by_slot[0] == pytest.approx(controls["context_blind"], rel=1e-12)
    assert by_slot.mean() == pytest.approx(controls["context_token_blind"], rel=1e-12)


@pytest.mark.parametrize("blind", ["chance", "bag", "context_blind", "context_token_blind"])
@given(task=STRATEGIES["joint_recall"])
def test_no_player_that_is_blind_to_context_tokens_reads_one(blind, task: JointRecall) -> None:
    tokens = task.sample(STREAM, 0, len(task.cells)).tokens
    all_alike = np.where(tokens >= task.first_context, np.int32(task.first_context), tokens)
    np.testing.assert_array_equal(guesses(task, all_alike, blind), guesses(task, tokens, blind))


@given(task=STRATEGIES["joint_recall"])
def test_a_player_that_is_blind_to_keys_reads_none(task: JointRecall) -> None:
    tokens = task.sample(STREAM, 0, len(task.cells)).tokens
    is_key = (tokens >= task.first_key) & (tokens < task.first_context)
    all_alike = np.where(is_key, np.int32(task.first_key), tokens)
    for blind in ("key_blind", "bag"):
        np.testing.assert_array_equal(guesses(task, all_alike, blind), guesses(task, tokens, blind))


@pytest.mark.parametrize("blind", BLIND)
@given(task=STRATEGIES["joint_recall"], share=st.floats(0, 1))
def test_no_guess_depends_on_what_comes_after_the_question(blind, task: JointRecall, share) -> None:
    tokens = task.sample(STREAM, 0, len(task.cells)).tokens
    whole = guesses(task, tokens, blind)
    kept = int(share * task.length)
    cut_off = tokens.copy()
    cut_off[:, kept:] = PAD
    np.testing.assert_array_equal(guesses(task, cut_off, blind)[:, :kept], whole[:, :kept])


@pytest.mark.parametrize("blind", BLIND)
@given(task=STRATEGIES["joint_recall"])
def test_every_question_gets_a_value_and_nothing_else_does(blind, task: JointRecall) -> None:
    tokens, targets = task.sample(STREAM, 0, len(task.cells))
    answered = guesses(task, tokens, blind)
    assert answered.dtype == np.int32
    np.testing.assert_array_equal(answered != IGNORE, targets != IGNORE)
    assert ((answered == IGNORE) | ((answered >= 10) & (answered < task.first_key))).all()
