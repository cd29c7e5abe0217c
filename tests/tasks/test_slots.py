"""The law of query slots against enumeration of small cases, against simulation of large ones, and in its limits."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.tasks import race, slot_law
from recall_lab.tasks.slots import slot_weights


def by_enumeration(space: int, pairs: int, power: float) -> np.ndarray:
    """Every order in which slots can be drawn, one weighted draw after another."""
    weights, law = slot_weights(space, power), np.zeros((pairs, space))
    for slots in itertools.permutations(range(space), pairs):
        left, probability = 1.0, 1.0
        for slot in slots:
            probability *= weights[slot] / left
            left -= weights[slot]
        law[range(pairs), slots] += probability
    return law


@pytest.mark.parametrize("space, pairs", [(2, 1), (4, 2), (5, 4), (6, 3), (5, 5)])
@pytest.mark.parametrize("power", [0.01, 0.5, 1.0, 3.0])
def test_the_law_is_that_of_weighted_draws_one_after_another(space: int, pairs: int, power: float) -> None:
    np.testing.assert_allclose(slot_law(space, pairs, power), by_enumeration(space, pairs, power), atol=1e-9)


def test_the_law_is_what_the_race_does_at_the_largest_published_shape() -> None:
    space, pairs, count = 192, 64, 20_000
    words = np.random.Philox(key=1).random_raw(count * space).reshape(count, space)
    slots = race(words, slot_weights(space, 0.01), pairs)
    law = slot_law(space, pairs, 0.01)
    for pair in (0, 1, 20, 63):
        found = np.bincount(slots[:, pair], minlength=space) / count
        assert np.all(np.abs(found - law[pair]) <= 5 * np.sqrt(law[pair] / count) + 1e-4)


@given(space=st.integers(1, 40), data=st.data(), power=st.floats(0.01, 4))
@settings(max_examples=40, deadline=None)
def test_each_pair_takes_one_slot_and_a_slot_serves_one_pair(space: int, data: st.DataObject, power: float) -> None:
    law = slot_law(space, data.draw(st.integers(1, space)), power)
    assert law.min() >= -1e-12
    np.testing.assert_allclose(law.sum(axis=1), 1, atol=1e-9)
    assert law.sum(axis=0).max() <= 1 + 1e-9


def test_uniform_weights_tell_nothing_about_the_pair() -> None:
    np.testing.assert_allclose(slot_law(30, 12, 1.0), 1 / 30, atol=1e-9)


def test_with_as_many_pairs_as_slots_every_slot_is_used() -> None:
    np.testing.assert_allclose(slot_law(16, 16, 0.01).sum(axis=0), 1, atol=1e-9)


def test_shuffled_pairs_share_the_mean_of_the_rows() -> None:
    shuffled = slot_law(20, 5, 0.01, "shuffled")
    np.testing.assert_allclose(shuffled, np.tile(slot_law(20, 5, 0.01).mean(axis=0), (5, 1)), atol=1e-12)


@pytest.mark.parametrize(
    "space, pairs, power, field", [(3, 4, 1.0, "pairs"), (3, 0, 1.0, "pairs"), (3, 1, 0.0, "power"), (3, 1, np.inf, "power")]
)
def test_what_has_no_law_is_refused(space: int, pairs: int, power: float, field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must"):
        slot_law(space, pairs, power)
