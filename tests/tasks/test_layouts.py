"""The closed forms of both layouts against enumeration, and the scattered layout against its law."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import chisquare
from simulated import assert_mean

from recall_lab.tasks import MQAR, Stream, certified_bits, entropy_without_replacement
from recall_lab.tasks.layouts import Packed, Scattered


def words(seed: int, count: int, draws: int) -> np.ndarray:
    return np.random.Philox(key=seed).random_raw(count * draws).reshape(count, draws)


def scattered_by_enumeration(length: int, pairs: int) -> list[list[tuple[int, int]]]:
    """Cells (shown_at, asked_at) of the pairs, for each of the equally likely placements of both ends of every pair in squeezed cells."""
    placements = []
    for cells in itertools.permutations(range(length - pairs), 2 * pairs):
        ends = [sorted(cells[2 * i : 2 * i + 2]) for i in range(pairs)]
        placements.append([tuple(end + sum(first < end for first, _ in ends) for end in both) for both in ends])
    return placements


@pytest.mark.parametrize("length, pairs", [(3, 1), (6, 1), (6, 2), (8, 2), (9, 3)])
def test_what_crosses_a_cut_is_counted_as_by_enumeration(length: int, pairs: int) -> None:
    placements = scattered_by_enumeration(length, pairs)
    for cut in range(length + 1):
        counts = np.zeros((pairs + 1, pairs + 1))
        for placed in placements:
            shown = [(at, asked) for at, asked in placed if at + 2 <= cut]
            counts[len(shown), sum(asked >= cut for _, asked in shown)] += 1
        law = Scattered(length=length, pairs=pairs).crossing_law(cut)
        np.testing.assert_allclose(law, counts / len(placements), atol=1e-12)


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_what_was_seen_and_what_came_last_are_as_by_enumeration(pairs: int) -> None:
    placements = scattered_by_enumeration(3 * pairs, pairs)
    seen, latest = np.zeros(pairs + 1), 0
    for placed in placements:
        for shown_at, asked_at in placed:
            before = [at for at, _ in placed if at < asked_at]
            seen[len(before)] += 1
            latest += max(before) == shown_at
    layout = Scattered(length=3 * pairs, pairs=pairs)
    np.testing.assert_allclose(layout.seen_law, seen / seen.sum(), atol=1e-12)
    assert layout.latest == pytest.approx(latest / seen.sum())


def test_the_largest_load_of_eight_pairs_in_sixty_four_cells_is_just_above_four() -> None:
    layout = Scattered(length=64, pairs=8)
    loads = [float((layout.crossing_law(cut) @ np.arange(9)).sum()) for cut in range(65)]
    assert max(loads) == pytest.approx(4.05, abs=0.01)
    assert layout.load == loads[32]


@pytest.mark.parametrize("length, pairs", [(5, 1), (6, 2)])
def test_scattered_places_are_uniform_over_all_arrangements(length: int, pairs: int) -> None:
    layout = Scattered(length=length, pairs=pairs)
    shown_at, asked_at, _ = layout.place(words(1, 40_000, 2 * pairs), words(2, 40_000, 2 * pairs))
    counts = np.unique(np.hstack([shown_at, asked_at]), axis=0, return_counts=True)[1]
    assert len(counts) == len({tuple(placed) for placed in scattered_by_enumeration(length, pairs)})
    assert chisquare(counts).pvalue > 1e-3


def test_scattered_places_never_overlap_and_a_question_follows_its_pair() -> None:
    for length, pairs in ((64, 8), (24, 8), (3, 1)):
        layout = Scattered(length=length, pairs=pairs)
        shown_at, asked_at, _ = layout.place(words(3, 500, 2 * pairs), words(4, 500, 2 * pairs))
        assert (asked_at > shown_at + 1).all()
        used = np.sort(np.hstack([shown_at, shown_at + 1, asked_at]), axis=1)
        assert (np.diff(used, axis=1) > 0).all()
        assert used.min() >= 0
        assert used.max() < length


def test_about_half_of_the_scattered_pairs_start_at_an_odd_cell() -> None:
    layout = Scattered(length=64, pairs=8)
    assert float(np.mean(layout.place(words(5, 4_000, 16), words(6, 4_000, 16)).shown_at % 2)) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("iid_values", [True, False])
def test_stored_and_answer_bits_are_the_means_of_what_crosses_in_samples(iid_values: bool) -> None:
    task = MQAR(length=30, pairs=6, values=8, keys=10, layout="scattered", iid_values=iid_values)
    tokens = task.sample(Stream(0), 0, 4_000).tokens
    crossing = task.crossing(tokens).sum(axis=1)
    assert_mean(crossing, task.stored)
    value_seen = (tokens[:, : task.cut] >= 10) & (tokens[:, : task.cut] < 18)
    later = task.pairs - value_seen.sum(axis=1)
    left = [entropy_without_replacement(int(s), 8 - int(a)) for s, a in zip(crossing, later, strict=True)]
    assert_mean(crossing * 3.0 if iid_values else np.array(left), task.answer_bits)


def test_a_memory_of_some_waiting_values_certifies_no_more_than_it_holds() -> None:
    """At the cut it keeps what waits, up to two values; questions for the rest are guessed among the values it has not seen since or kept."""
    task = MQAR(length=30, pairs=6, values=7, keys=10, layout="scattered")
    layout = task.places
    right, held = 0.0, 0.0
    for (shown, waiting), probability in np.ndenumerate(layout.crossing_law(layout.cut)):
        kept, unknown = min(2, waiting), task.values - (task.pairs - shown)
        right += probability * (kept + (waiting - kept) / max(unknown - kept, 1))
        held += probability * entropy_without_replacement(kept, max(unknown, kept))
    certified = certified_bits(right / task.stored, stored=task.stored, values=task.values, entropy=task.answer_bits)
    assert 0.3 * held < certified <= held


@pytest.mark.parametrize("queries, repeat, order", [(5, False, "race"), (2, False, "race"), (2, False, "shuffled"), (7, True, "race")])
def test_the_law_of_packed_questions_is_what_is_drawn(queries: int, repeat: bool, order: str) -> None:
    layout = Packed(length=12 + 2 * queries, shown=5, pairs=5, queries=queries, power=0.01, order=order, repeat=repeat)
    count = 20_000
    for_slots, for_asked = (words(7 + i, count, draws) for i, draws in enumerate(layout.draws))
    _, asked_at, asked = layout.place(for_slots, for_asked)
    found = np.zeros((5, layout.space))
    np.add.at(found, (asked.ravel(), (asked_at.ravel() - 10) // 2), 1 / count)
    assert layout.law.sum() == pytest.approx(queries)
    assert np.all(np.abs(found - layout.law) <= 5 * np.sqrt(layout.law / count) + 1e-4)


def test_the_key_blind_control_of_equal_values_sums_their_pairs() -> None:
    layout = Packed(length=24, shown=3, pairs=3, queries=3, power=0.01, order="race")
    unused = np.empty((1, 0), np.uint64)
    assert layout.key_blind_among(np.array([[4, 5, 6]]), unused) == pytest.approx(layout.key_blind)
    assert layout.key_blind_among(np.array([[4, 4, 4]]), unused) == pytest.approx(1)
    summed = np.maximum(layout.law[0] + layout.law[2], layout.law[1]).sum() / 3
    assert layout.key_blind_among(np.array([[4, 5, 4]]), unused) == pytest.approx(summed)


def test_the_scattered_key_blind_control_of_distinct_values_is_the_value_shown_last() -> None:
    layout = Scattered(length=15, pairs=5)
    found = layout.key_blind_among(np.tile(np.arange(5), (20_000, 1)), words(9, 20_000, 10))
    assert found == pytest.approx(math.fsum(1 / odd for odd in (1, 3, 5, 7, 9)) / 5, abs=0.004)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"length": 11}, "length must be at least 12"),
        ({"power": 0.0}, "power must be positive"),
        ({"power": math.nan}, "power must be positive"),
        ({"queries": 0}, "queries must lie in"),
        ({"queries": 4}, "queries must lie in"),
    ],
)
def test_a_packed_layout_that_cannot_be_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Packed(**{"length": 20, "shown": 3, "pairs": 3, "queries": 3, "power": 1.0, "order": "race", **fields})


def test_a_scattered_layout_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="length must be at least 24"):
        Scattered(length=23, pairs=8)
