"""What answers are worth, held against numbers found by hand, by another library and by resampling."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.tiny import TASK, as_users_call
from scipy.stats import binomtest

from recall_lab.score import STRATA, Z95, accuracy_by_stratum, beyond_the_wall, certified_at, clustered_wilson_low, score, wall_bits
from recall_lab.tasks import IGNORE, MQAR, Batch, Stream

COIN = MQAR(length=8, pairs=1, keys=4, values=2, iid_values=True, order="shuffled")
"""one question a sample, worth one bit"""


def sampled(task: MQAR, count: int = 64) -> Batch:
    return task.sample(Stream(0, "test"), 0, count)


def answers(batch: Batch) -> np.ndarray:
    """The right answers, and what no token is wherever nothing is asked."""
    return batch.targets.astype(np.int64)


def wilson_low(right: int, answers: int) -> float:
    """Lower end of the ordinary Wilson interval, by scipy."""
    return float(binomtest(right, answers).proportion_ci(0.95, method="wilson").low)


def one_a_sample(right: int, answers: int) -> tuple[np.ndarray, np.ndarray]:
    """So many right answers among samples of one question each."""
    asked = np.ones((answers, 1), np.bool_)
    return np.arange(answers)[:, None] < right, asked


def test_all_right_is_worth_every_bit_and_surely_a_little_less() -> None:
    batch = sampled(TASK)
    found = score(TASK, batch.tokens, batch.targets, answers(batch))
    assert found["accuracy"] == found["accuracy_macro"] == 1.0
    assert found["certified_bits"] == pytest.approx(TASK.answer_bits) == pytest.approx(math.log2(8 * 7))
    assert found["certified_low"] == pytest.approx(certified_at(TASK, 1 / (1 + Z95**2 / 64)))
    assert 0 < found["certified_low"] < TASK.answer_bits


def test_nothing_right_is_worth_nothing() -> None:
    batch = sampled(TASK)
    found = score(TASK, batch.tokens, batch.targets, np.zeros(batch.tokens.shape, np.int64))
    assert (found["accuracy"], found["accuracy_macro"], found["certified_bits"], found["certified_low"]) == (0, 0, 0, 0)


def test_guessing_is_worth_nothing() -> None:
    batch = sampled(TASK, 2000)
    guesses = TASK.keys + np.random.default_rng(0).integers(TASK.values, size=batch.tokens.shape)
    found = score(TASK, batch.tokens, batch.targets, guesses)
    assert found["accuracy"] == pytest.approx(1 / 8, abs=4 * math.sqrt(1 / 8 * 7 / 8 / 4000))
    assert found["certified_low"] == 0


def test_three_coins_of_four_are_worth_what_fano_says() -> None:
    batch = sampled(COIN, 400)
    said = answers(batch)
    said[::4] = np.where(said[::4] == IGNORE, IGNORE, 2 * COIN.keys + 1 - said[::4])  # the other of the two values, keys and keys + 1
    found = score(COIN, batch.tokens, batch.targets, said)
    assert found["accuracy"] == 0.75
    assert found["certified_bits"] == pytest.approx(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25) + 1)
    assert found["certified_low"] == pytest.approx(certified_at(COIN, wilson_low(300, 400)))


def test_accuracy_counts_questions_and_its_macro_form_samples() -> None:
    batch = sampled(TASK, 2)
    targets = batch.targets.copy()
    targets[0, np.flatnonzero(targets[0] != IGNORE)[0]] = IGNORE  # as if the first sample asked once
    said = np.where(np.arange(2)[:, None] == 0, targets, IGNORE).astype(np.int64)
    found = score(TASK, batch.tokens, targets, said)
    assert (found["accuracy"], found["accuracy_macro"]) == (pytest.approx(1 / 3), 0.5)


@given(seed=st.integers(0, 2**16))
def test_what_is_said_where_nothing_is_asked_is_not_read(seed: int) -> None:
    batch = sampled(TASK, 8)
    draws = np.random.default_rng(seed)
    said = np.where(draws.random(batch.targets.shape) < 0.5, answers(batch), TASK.keys)
    noise = draws.integers(-200, 200, size=said.shape)
    noisy = np.where(batch.targets == IGNORE, noise, said)
    assert score(TASK, batch.tokens, batch.targets, noisy) == score(TASK, batch.tokens, batch.targets, said)


def test_only_questions_that_cross_the_cut_certify_bits() -> None:
    task = MQAR(length=24, pairs=4, keys=8, values=8, layout="scattered")
    batch = sampled(task, 200)
    crossing = task.crossing(batch.tokens)
    assert 0.2 < crossing.sum() / (batch.targets != IGNORE).sum() < 0.8
    across = score(task, batch.tokens, batch.targets, np.where(crossing, answers(batch), 0))
    assert across["accuracy"] == pytest.approx(crossing.sum() / 800)
    assert across["certified_bits"] == pytest.approx(task.answer_bits)
    assert across["certified_low"] > 0
    elsewhere = score(task, batch.tokens, batch.targets, np.where(crossing, 0, answers(batch)))
    assert elsewhere["accuracy"] == pytest.approx(1 - across["accuracy"])
    assert (elsewhere["certified_bits"], elsewhere["certified_low"]) == (0, 0)


@pytest.mark.parametrize("wrong", ["tokens", "targets", "predictions"])
def test_arrays_of_different_shapes_are_refused_with_their_shapes(wrong: str) -> None:
    batch = sampled(TASK, 4)
    arrays = {"tokens": batch.tokens, "targets": batch.targets, "predictions": answers(batch)}
    arrays[wrong] = arrays[wrong][:3]
    with as_users_call(), pytest.raises(ValueError, match=r"must have one shape, got .*\(3, 16\)"):
        score(TASK, **arrays)


@given(answers=st.integers(2, 400), share=st.floats(0, 1))
def test_with_one_question_a_sample_the_interval_is_wilsons(answers: int, share: float) -> None:
    right = round(share * answers)
    assert clustered_wilson_low(*one_a_sample(right, answers)) == pytest.approx(wilson_low(right, answers), abs=1e-12)


@given(samples=st.integers(2, 100), questions=st.integers(1, 8), share=st.floats(0, 1))
def test_questions_answered_alike_count_as_one(samples: int, questions: int, share: float) -> None:
    right, asked = one_a_sample(round(share * samples), samples)
    whole = clustered_wilson_low(np.repeat(right, questions, axis=1), np.repeat(asked, questions, axis=1))
    assert whole == pytest.approx(clustered_wilson_low(right, asked), abs=1e-12)


@given(st.integers(0, 2**16), st.integers(1, 12), st.integers(1, 6))
def test_the_clustered_end_is_never_above_the_one_that_takes_answers_as_independent(seed: int, samples: int, questions: int) -> None:
    draws = np.random.default_rng(seed)
    asked = draws.random((samples, questions)) < 0.8
    right = asked & (draws.random((samples, questions)) < draws.random())
    count = int(asked.sum())
    low = clustered_wilson_low(right, asked)
    assert 0 <= low <= (wilson_low(int(right.sum()), count) if count else 0) + 1e-12


def test_the_clustered_end_is_that_of_resampled_samples() -> None:
    draws = np.random.default_rng(1)
    samples, questions = 500, 4
    ability = draws.beta(1.2, 0.8, size=(samples, 1))  # answers of one sample go together
    asked = np.arange(questions) < draws.integers(1, questions + 1, size=(samples, 1))
    right = asked & (draws.random((samples, questions)) < ability)
    chosen = draws.integers(samples, size=(2000, samples))
    resampled = right.sum(axis=1)[chosen].sum(axis=1) / asked.sum(axis=1)[chosen].sum(axis=1)
    accuracy = right.sum() / asked.sum()
    below, independent = accuracy - np.quantile(resampled, 0.025), accuracy - wilson_low(int(right.sum()), int(asked.sum()))
    assert accuracy - clustered_wilson_low(right, asked) == pytest.approx(below, rel=0.08)  # 2000 quantiles, 500 samples: some per cent
    assert independent < 0.85 * below


def test_a_single_sample_counts_as_one_observation() -> None:
    right = np.array([[True, True, True, False]])
    n, p, z = 1, 0.75, Z95
    by_hand = (p + z**2 / (2 * n) - z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))) / (1 + z**2 / n)
    assert clustered_wilson_low(right, np.ones_like(right)) == pytest.approx(by_hand)
    assert by_hand < wilson_low(3, 4)


def test_samples_that_ask_nothing_say_nothing() -> None:
    right, asked = one_a_sample(30, 40)
    padded = [np.concatenate([array, np.zeros((25, 1), np.bool_)]) for array in (right, asked)]
    assert clustered_wilson_low(*padded) == clustered_wilson_low(right, asked)
    all_right = [np.concatenate([asked, np.zeros((25, 1), np.bool_)])] * 2
    assert clustered_wilson_low(*all_right) == clustered_wilson_low(asked, asked)
    nothing = np.zeros((3, 2), np.bool_)
    assert clustered_wilson_low(nothing, nothing) == 0


def test_strata_by_hand() -> None:
    stratum = np.array([[3, 4, 9, 20], [3, 35, 4, 7]], np.int32)
    asked = np.array([[1, 1, 1, 0], [1, 1, 1, 0]], np.bool_)
    right = np.array([[1, 0, 1, 0], [1, 0, 0, 0]], np.bool_)
    # 3 .. 35 are 33 strata, so 16 bins must be 3 broad
    assert accuracy_by_stratum(stratum, asked, right) == [[3, 5, 4, 2], [9, 11, 1, 1], [33, 35, 1, 0]]
    assert accuracy_by_stratum(stratum, np.zeros_like(asked), right) == []


@given(st.integers(0, 2**16), st.integers(1, 8), st.integers(1, 8), st.integers(1, 200))
def test_strata_hold_every_question_once(seed: int, samples: int, length: int, breadth: int) -> None:
    draws = np.random.default_rng(seed)
    stratum = draws.integers(0, breadth, size=(samples, length)).astype(np.int32)
    asked = draws.random(stratum.shape) < 0.6
    right = asked & (draws.random(stratum.shape) < 0.5)
    rows = accuracy_by_stratum(stratum, asked, right)
    assert len(rows) <= STRATA
    assert sum(row[2] for row in rows) == asked.sum()
    for low, high, count, good in rows:
        within = asked & (low <= stratum) & (stratum <= high)
        assert (within.sum(), (within & right).sum()) == (count, good)
        assert count > 0
    assert all(before[1] < after[0] for before, after in pairwise(rows))


def test_the_wall_is_thirty_two_bits_a_scalar_and_only_what_is_sure_can_break_it() -> None:
    assert wall_bits(10) == 320
    assert not beyond_the_wall({"certified_bits": 400.0, "certified_low": 320.0, "state_bits": 320})
    assert beyond_the_wall({"certified_bits": 400.0, "certified_low": 320.1, "state_bits": 320})
