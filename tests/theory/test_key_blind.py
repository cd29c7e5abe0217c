"""What can be recalled without reading a key."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.tasks import MQAR, Stream
from recall_lab.theory import CLAIMS
from recall_lab.theory.key_blind import accuracy_by_slot, asked_pairs


@pytest.mark.parametrize(
    "length, pairs, expected",
    [(64, 4, 0.289), (64, 8, 0.167), (64, 16, 0.121), (128, 8, 0.155), (128, 32, 0.066), (256, 16, 0.083)],
)
def test_race_order_gives_more_than_a_guess_away(length: int, pairs: int, expected: float) -> None:
    ceiling = MQAR(length=length, pairs=pairs, order="race").controls()["key_blind"]
    assert ceiling == pytest.approx(expected, abs=0.0011)
    assert ceiling > 1.05 / pairs
    assert MQAR(length=length, pairs=pairs, order="shuffled").controls()["key_blind"] == 1 / pairs


@given(pairs=st.integers(1, 8), spare=st.integers(0, 6), power=st.sampled_from([0.01, 0.5, 1.0]), data=st.data())
def test_race_order_gives_something_away_iff_two_questions_or_more_take_uneven_slots(
    pairs: int, spare: int, power: float, data: st.DataObject
) -> None:
    queries = data.draw(st.integers(1, pairs))
    task = MQAR(length=4 * pairs + 2 * spare, pairs=pairs, queries=queries, power=power, order="race")
    ceiling = task.controls()["key_blind"]
    if queries > 1 and power < 1:
        assert ceiling > 1 / pairs + 1e-6
    else:
        assert ceiling == pytest.approx(1 / pairs, abs=1e-9)


def test_questions_are_counted_where_they_stand() -> None:
    task = MQAR(length=32, pairs=3)
    counts = asked_pairs(task, Stream(0, "test"), 50)
    assert counts.shape == (3, 13)
    np.testing.assert_array_equal(counts.sum(axis=1), [50, 50, 50])  # every pair is asked once in every sample
    assert counts[0, 0] > counts[2, 0]  # the first slot is the likeliest, and goes to the first pair first


def test_the_best_strategy_names_the_likeliest_pair_of_each_slot() -> None:
    counts = np.array([[3, 1], [1, 2], [0, 1]])
    assert accuracy_by_slot(counts, counts.astype(np.float64)) == 5 / 8
    assert accuracy_by_slot(counts, np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])) == 1 / 8


def test_one_in_pairs_as_a_ceiling_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MQAR, "controls", lambda task: {"key_blind": 1 / task.pairs})
    assert not CLAIMS["recall.key_blind"].check("quick", seed=0).holds


def test_the_ceiling_of_all_questions_taken_for_that_of_some_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    controls = MQAR.controls
    monkeypatch.setattr(MQAR, "controls", lambda task: controls(MQAR.from_dict({**task.to_dict(), "queries": None})))
    assert not CLAIMS["recall.key_blind"].check("quick", seed=0).holds
