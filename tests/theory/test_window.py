"""The closed form of a sliding window's recall."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.tasks import IGNORE, MQAR, Stream
from recall_lab.theory import CLAIMS, window, window_accuracy, window_reach


@pytest.mark.parametrize(
    "length, pairs, expected",
    [
        (64, 4, {15: 0.580, 17: 0.619, 33: 0.826, 63: 1.0}),
        (64, 16, {15: 0.038, 17: 0.066, 33: 0.675, 63: 1.0}),
        (512, 64, {15: 0.0003, 31: 0.006, 63: 0.054, 127: 0.370}),
        (32, 4, {9: 0.533}),
        (32, 8, {9: 0.137}),
    ],
)
def test_the_law_gives_the_specified_figures_in_race_order(length: int, pairs: int, expected: dict[int, float]) -> None:
    task = MQAR(length=length, pairs=pairs, power=0.01, order="race")
    for reach, accuracy in expected.items():
        assert window_accuracy(task, reach) == pytest.approx(accuracy, abs=0.0006)


@pytest.mark.parametrize("pairs, expected", [(4, 0.522), (8, 0.234)])
def test_the_law_gives_the_specified_figures_in_shuffled_order(pairs: int, expected: float) -> None:
    assert window_accuracy(MQAR(length=32, pairs=pairs, order="shuffled"), 9) == pytest.approx(expected, abs=0.0006)


@given(pairs=st.integers(1, 8), spare=st.integers(0, 12), order=st.sampled_from(["race", "shuffled"]))
def test_even_weights_count_the_cells_of_a_triangle(pairs: int, spare: int, order: str) -> None:
    task = MQAR(length=4 * pairs + 2 * spare, pairs=pairs, power=1.0, order=order)
    space = pairs + spare
    for reach in range(task.length):
        cells = sum(2 * pairs + 2 * slot - 2 * pair - 1 <= reach for pair in range(pairs) for slot in range(space))
        assert window_accuracy(task, reach) == pytest.approx(cells / (pairs * space), abs=1e-7)


@given(reach=st.integers(0, 70), guess=st.floats(0, 1), order=st.sampled_from(["race", "shuffled"]))
def test_a_longer_reach_sees_more_and_the_rest_is_guessed(reach: int, guess: float, order: str) -> None:
    task = MQAR(length=64, pairs=8, order=order)
    seen = window_accuracy(task, reach)
    assert seen <= window_accuracy(task, reach + 1)
    assert window_accuracy(task, reach, guess=guess) == pytest.approx(seen + (1 - seen) * guess)
    assert window_accuracy(task, 0) == 0
    assert window_accuracy(task, 63) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("fields", [{"queries": 3}, {"queries": 12, "repeat_queries": True}, {"iid_values": True, "filler": "any"}])
def test_the_law_is_that_of_the_samples_whatever_is_asked(fields: dict) -> None:
    task = MQAR(length=64, pairs=6, **fields)
    batch = task.sample(Stream(0, "test"), 0, 2000)
    distance = task.stratum(batch.tokens)[batch.targets != IGNORE]
    for reach in (5, 11, 17, 31):
        assert window_accuracy(task, reach) == pytest.approx((distance <= reach).mean(), abs=0.02)


def test_a_convolution_lengthens_the_reach_by_all_taps_but_two() -> None:
    assert [window_reach(16, taps) for taps in (2, 3, 4)] == [15, 16, 17]


def test_no_reach_is_given_where_no_position_carries_a_key_with_its_value() -> None:
    with pytest.raises(ValueError, match="short_conv must be at least 2"):
        window_reach(16, 1)


def test_scattered_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="layout must be 'packed'"):
        window_accuracy(MQAR(length=64, pairs=4, layout="scattered"), 15)


def test_a_reach_that_forgets_the_convolution_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "window_reach", lambda window, short_conv: window - 1)
    assert not CLAIMS["recall.window"].check("quick", seed=0).holds


def test_a_law_that_takes_race_for_shuffled_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def shuffled(task: MQAR, reach: int) -> float:
        return window_accuracy(MQAR.from_dict({**task.to_dict(), "order": "shuffled"}), reach)

    monkeypatch.setattr(window, "window_accuracy", shuffled)
    evidence = CLAIMS["recall.window"].check("quick", seed=0)
    assert not evidence.holds
    np.testing.assert_array_equal(evidence.measured[1], evidence.predicted[1])  # the samples are what they were
