"""MQAR: its laws, its shortcuts and their controls, and that zoology's generator has the same law."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import chisquare, ks_2samp
from simulated import assert_mean

from recall_lab.tasks import IGNORE, MQAR, Stream, entropy_without_replacement

CONTROLLED = [
    MQAR(length=24, pairs=4, keys=6, values=8, power=0.01),
    MQAR(length=24, pairs=4, keys=6, values=8, order="shuffled"),
    MQAR(length=24, pairs=4, keys=6, values=3, iid_values=True),
    MQAR(length=24, pairs=4, keys=6, values=3, iid_values=True, order="shuffled"),
    MQAR(length=24, pairs=5, queries=2, keys=6, values=8),
    MQAR(length=30, pairs=3, queries=6, repeat_queries=True, keys=6, values=8),
    MQAR(length=24, pairs=4, keys=6, values=8, layout="scattered"),
    MQAR(length=24, pairs=4, keys=6, values=3, iid_values=True, layout="scattered"),
]

Guess = Callable[[MQAR, list[int], list[int], int, np.random.Generator], int]
"""(task, tokens of a sample, cells of its values, cell that asks, chance) to a guess; it may look at cells up to the one that asks"""


def seen(row: list[int], value_cells: list[int], at: int) -> list[int]:
    return [row[cell] for cell in value_cells if cell < at]


def any_value(task: MQAR, row: list[int], value_cells: list[int], at: int, chance: np.random.Generator) -> int:
    return task.keys + int(chance.integers(task.values))


def first_value(task: MQAR, row: list[int], value_cells: list[int], at: int, chance: np.random.Generator) -> int:
    return task.keys


def value_in_context(task: MQAR, row: list[int], value_cells: list[int], at: int, chance: np.random.Generator) -> int:
    counts = Counter(seen(row, value_cells, at))
    return int(chance.choice([value for value, count in counts.items() if count == max(counts.values())]))


def most_recent(task: MQAR, row: list[int], value_cells: list[int], at: int, chance: np.random.Generator) -> int:
    return seen(row, value_cells, at)[-1]


def key_blind(task: MQAR, row: list[int], value_cells: list[int], at: int, chance: np.random.Generator) -> int:
    """The value with the largest probability to be asked: by slot in the packed layout, by what may still wait in the scattered one."""
    if task.layout == "packed":
        waits = task.places.law[:, (at - 2 * task.pairs) // 2]
    else:
        waits, questions = np.zeros(task.pairs), [cell for cell, _ in task.questions(row)]
        for cell in sorted(value_cells + questions):
            if cell == at:
                break
            if cell in value_cells:
                waits[value_cells.index(cell)] = 1
            else:
                waits *= 1 - 1 / waits.sum()
    by_value: Counter[int] = Counter()
    for cell, probability in zip(value_cells, waits, strict=True):
        by_value[row[cell]] += probability
    return by_value.most_common(1)[0][0]


@pytest.mark.parametrize("control, guess", [
    ("chance", any_value),
    ("position_only", first_value),
    ("values_in_context", value_in_context),
    ("most_recent", most_recent),
    ("key_blind", key_blind),
])  # fmt: skip
@pytest.mark.parametrize("task", CONTROLLED, ids=lambda task: f"{task.layout}-{task.order}-{task.pairs}-{task.queries}-v{task.values}")
def test_a_control_is_what_its_strategy_scores(task: MQAR, control: str, guess: Guess) -> None:
    chance, accuracy = np.random.default_rng(0), []
    tokens, targets = task.sample(Stream(0), 0, 1_000)
    for row, labels in zip(tokens.tolist(), targets.tolist(), strict=True):
        value_cells = [cell for cell, token in enumerate(row) if task.keys <= token < task.keys + task.values]
        asked = [at for at, label in enumerate(labels) if label != IGNORE]
        accuracy.append(np.mean([guess(task, row, value_cells, at, chance) == labels[at] for at in asked]))
    assert_mean(np.array(accuracy), task.controls()[control])


@pytest.mark.parametrize(
    "length, pairs, expected",
    [(64, 4, 0.289), (64, 8, 0.167), (64, 16, 0.121), (128, 8, 0.155), (128, 32, 0.066), (256, 16, 0.083), (512, 64, 0.026)],
)
def test_with_race_order_a_key_blind_guess_beats_one_in_k(length: int, pairs: int, expected: float) -> None:
    control = MQAR(length=length, pairs=pairs).controls()["key_blind"]
    assert control == pytest.approx(expected, abs=0.0015)
    assert control > 1.05 / pairs


@pytest.mark.parametrize("pairs, values, expected", [(8, 32, 0.207), (16, 32, 0.149), (64, 4096, 0.022)])
def test_with_independent_values_the_most_frequent_one_beats_one_in_k(pairs: int, values: int, expected: float) -> None:
    task = MQAR(length=4 * pairs, pairs=pairs, values=values, iid_values=True, order="shuffled")
    assert task.controls()["values_in_context"] == pytest.approx(expected, abs=0.0015)


def test_shuffling_brings_every_key_blind_guess_to_one_in_k() -> None:
    controls = MQAR(pairs=8, order="shuffled").controls()
    assert controls["key_blind"] == controls["values_in_context"] == controls["most_recent"] == pytest.approx(1 / 8)


def zoology_rows(
    chance: np.random.RandomState, count: int, length: int, pairs: int, vocab: int, power: float
) -> tuple[np.ndarray, np.ndarray]:
    """zoology's law for slots and keys, a sample at a time."""
    space = (length - 2 * pairs) // 2
    weights = power * np.arange(1, space + 1) ** (power - 1.0)
    weights /= weights.sum()
    slots = [chance.choice(space, pairs, replace=False, p=weights) for _ in range(count)]
    keys = [chance.choice(np.arange(1, vocab // 2), pairs, replace=False) for _ in range(count)]
    return np.array(slots), np.array(keys)


@pytest.mark.parametrize("length, pairs, count", [(64, 4, 4_000), (512, 64, 800)])
def test_the_zoology_preset_has_the_law_of_sequential_draws_by_numpy(length: int, pairs: int, count: int) -> None:
    task = MQAR.zoology(vocab_size=512, input_seq_len=length, num_kv_pairs=pairs, power_a=0.01, random_non_queries=False)
    tokens = task.sample(Stream(0), 0, count).tokens
    distance = task.stratum(tokens)
    slots, keys = zoology_rows(np.random.RandomState(0), count, length, pairs, 512, 0.01)
    theirs = 2 * pairs + 2 * slots - 2 * np.arange(pairs) - 1
    assert ks_2samp(distance[distance > 0], theirs.ravel()).pvalue > 1e-3
    asked_at = np.array([[row.index(key, 2 * pairs) for key in row[: 2 * pairs : 2]] for row in tokens.tolist()])
    for pair in (0, pairs - 1):
        assert ks_2samp((asked_at[:, pair] - 2 * pairs) // 2, slots[:, pair]).pvalue > 1e-3
        assert ks_2samp(tokens[:, 2 * pair], keys[:, pair]).pvalue > 1e-3


def test_the_zoology_preset_has_its_token_ids() -> None:
    task = MQAR.zoology(vocab_size=64, input_seq_len=64, num_kv_pairs=8, random_non_queries=False)
    tokens, targets = task.sample(Stream(0), 0, 500)
    assert task.vocab_size == 64
    assert set(np.unique(tokens[:, :16:2])) == set(range(1, 32))
    assert set(np.unique(tokens[:, 1:16:2])) == set(np.unique(targets[targets != IGNORE])) == set(range(32, 64))
    assert set(np.unique(tokens[:, 17::2])) == {0}


def test_zoology_filler_repeats_keys_unasked_as_often_as_its_formula_says() -> None:
    task = MQAR.zoology(vocab_size=128, input_seq_len=64, num_kv_pairs=16)
    tokens, targets = task.sample(Stream(0), 0, 2_000)
    unasked = ((task.solve(tokens) != IGNORE) & (targets == IGNORE)).sum(axis=1)
    assert task.vocab_size == 128
    assert_mean(unasked, (64 - 3 * 16) * 16 / 128)  # 16 filler cells, each one of the 16 keys among 128 tokens


@pytest.mark.parametrize("blank_first", [False, True])
def test_any_filler_is_uniform_over_all_that_is_no_key_of_the_sample(blank_first: bool) -> None:
    task = MQAR(length=40, pairs=3, keys=5, values=4, filler="any", blank_first=blank_first)
    tokens = task.sample(Stream(0), 0, 4_000).tokens
    filler = tokens[:, 7::2]  # the second cell of each slot
    assert not (filler[:, :, None] == tokens[:, None, 0:6:2]).any()
    counts = np.bincount(filler.ravel(), minlength=task.vocab_size) / filler.size
    rest = task.vocab_size - 3
    expected = np.full(task.vocab_size, 1 / rest)
    first = int(blank_first)
    expected[first : first + 5] *= 2 / 5  # a key is none of the sample's three with probability 2/5
    np.testing.assert_allclose(counts, expected, atol=0.004)


def test_own_and_blank_filler_are_neither_keys_nor_values() -> None:
    own = MQAR(length=40, pairs=3, keys=5, values=4, fillers=7).sample(Stream(0), 0, 300).tokens
    assert set(np.unique(own[:, 7::2])) == set(range(9, 16))
    blank = MQAR(length=40, pairs=3, keys=5, values=4, filler="blank").sample(Stream(0), 0, 300).tokens
    assert set(np.unique(blank[:, 7::2])) == {9}


def test_values_repeat_within_a_sample_only_if_they_are_independent() -> None:
    drawn = [MQAR(pairs=8, values=8, iid_values=iid).sample(Stream(0), 0, 400).tokens[:, 1:16:2] for iid in (False, True)]
    repeats = [np.mean([len(set(row)) < 8 for row in values.tolist()]) for values in drawn]
    assert repeats[0] == 0
    assert repeats[1] > 0.9


def test_fewer_questions_ask_a_uniform_subset_and_race_gives_its_first_pair_the_first_slot() -> None:
    task = MQAR(length=16, pairs=5, queries=2)
    tokens, targets = task.sample(Stream(0), 0, 5_000)
    asked_at = np.nonzero(targets != IGNORE)[1].reshape(-1, 2)
    asked = np.argmax(np.take_along_axis(tokens, asked_at, axis=1)[:, :, None] == tokens[:, None, :10:2], axis=2)
    subsets = Counter(map(tuple, np.sort(asked, axis=1).tolist()))
    assert len(subsets) == 10
    assert chisquare(list(subsets.values())).pvalue > 1e-3
    first_slot = (asked_at[np.arange(5_000), asked.argmin(axis=1)] - 10) // 2
    weights = np.arange(1, 4) ** -0.99
    assert_mean(first_slot, np.arange(3) @ weights / weights.sum())


def test_stored_bits_are_those_of_the_values_shown() -> None:
    assert MQAR(pairs=4, values=16, iid_values=True).answer_bits == 16
    assert MQAR(pairs=4, values=16).answer_bits == pytest.approx(entropy_without_replacement(4, 16))
    assert MQAR(pairs=4, values=4).answer_bits == pytest.approx(np.log2(24))
    for task in (MQAR(pairs=4, queries=1), MQAR(pairs=4, queries=9, repeat_queries=True)):
        assert (task.stored, task.answer_bits) == (4, MQAR(pairs=4).answer_bits)


def test_all_questions_cross_the_end_of_the_context_and_some_the_middle_of_a_scattered_sample() -> None:
    for task in (MQAR(pairs=8), MQAR(pairs=8, layout="scattered")):
        tokens, targets = task.sample(Stream(0), 0, 200)
        crossing, shown_by = task.crossing(tokens), np.arange(task.length) - task.stratum(tokens)
        expected = (targets != IGNORE) & (np.arange(task.length) >= task.cut) & (shown_by < task.cut)
        np.testing.assert_array_equal(crossing, expected)
        assert crossing.any()
        assert (task.layout == "packed") == (crossing.sum() == 8 * 200)


def test_one_and_one_point_zero_name_the_same_stream() -> None:
    # in a process of its own: the type checks of the test run take no whole number for a float
    code = "from recall_lab.tasks import MQAR; assert MQAR(power=1).to_dict() == MQAR(power=1.0).to_dict(); print(MQAR(power=1).to_dict()['power'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "1.0"


def test_tokens_have_names() -> None:
    task = MQAR(length=8, pairs=2, keys=3, values=4, fillers=2)
    assert task.describe(np.array([2, 3, 0, 6, 0, 8, 2, 7])) == "k2 v0 k0 v3 k0 . k2 ."


@pytest.mark.parametrize("row", [[2, 3, 2, 6, 2, 8, 2, 7], [2, 3, 0, 1, 0, 8, 2, 7], [2, 3, 0, 6, 0, 8, 8, 7], [2, 3, 0, 6, 0, 2, 2, 7]])
def test_tokens_that_are_no_sample_are_refused(row: list[int]) -> None:
    with pytest.raises(ValueError, match="tokens must show pairs=2 and ask 2 times"):
        MQAR(length=8, pairs=2, keys=3, values=4, fillers=2).solve(np.array([row]))


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"pairs": 0}, r"pairs must lie in 1\.\.keys=64 .* got 0"),
        ({"pairs": 5, "keys": 4}, r"pairs must lie in 1\.\.keys=4 .* got 5"),
        ({"pairs": 5, "values": 4}, "values must be at least pairs=5 unless iid_values, got 4"),
        ({"keys": 0}, "keys must be at least 1, got 0"),
        ({"fillers": 0}, "fillers must be at least 1, got 0"),
        ({"keys": 2**31}, r"fewer than 2\*\*31"),
        ({"length": 15}, "length must be at least 16 .* got 15"),
        ({"queries": 5}, r"queries must lie in 1\.\.pairs=4.* got 5"),
        ({"power": -1.0}, r"power must be positive and at most 16 .*, got -1\.0"),
        ({"power": 300.0}, r"power must be positive and at most 16 .*, got 300\.0"),
        ({"blank_first": True}, "blank_first needs filler"),
        ({"layout": "scattered", "power": 1.0}, "power must stay unset"),
        ({"layout": "scattered", "queries": 2}, "queries must be None"),
        ({"layout": "scattered", "repeat_queries": True}, "queries must be None"),
        ({"layout": "scattered", "filler": "any"}, "filler must be own or blank"),
        ({"layout": "scattered", "length": 11}, "length must be at least 12 .* got 11"),
    ],
)
def test_fields_out_of_range_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MQAR.from_dict(fields)


@pytest.mark.parametrize("field", ["layout", "order", "filler"])
def test_unknown_words_are_refused_with_the_known_ones(field: str) -> None:
    task = MQAR()
    object.__setattr__(task, field, "no such")  # past the type checks of the test run, as a user without them would get it
    with pytest.raises(ValueError, match=f"{field} must be one of .*, got 'no such'"):
        task.__post_init__()


def test_what_is_not_the_result_stays_small() -> None:
    code = (
        "import tracemalloc; from recall_lab.tasks import MQAR, Stream; task = MQAR(length=128, pairs=16, keys=4096, values=4096)\n"
        "task.sample(Stream(0), 0, 10); tracemalloc.start(); batch = task.sample(Stream(0), 0, 40_000)\n"
        "print(tracemalloc.get_traced_memory()[1] - batch.tokens.nbytes - batch.targets.nbytes)"
    )
    extra = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert extra < 40 * 2**20
