import itertools

import numpy as np
import pytest
from scipy.stats import chisquare

from recall_lab.tasks import IGNORE, Induction, Stream, certified_bits
from recall_lab.tasks.bigram import Bigram

STREAM = Stream(seed=0)


def test_every_placement_of_the_triggers_and_every_question_is_equally_likely() -> None:
    task = Induction(length=7, values=3, triggers=2)
    tokens = task.sample(STREAM, 0, 6000).tokens
    seen = [(tuple(row[:-1].tolist().index(trigger) for trigger in (3, 4)), row[-1]) for row in tokens]
    # six cells hold two pairs of (trigger, value) and two more values: pairs start two apart, and not in the last cell
    possible = [(places, asked) for places in itertools.permutations(range(5), 2) if abs(places[0] - places[1]) > 1 for asked in (3, 4)]
    counts = [seen.count(outcome) for outcome in possible]
    assert sum(counts) == 6000
    assert chisquare(counts).pvalue > 1e-4


def test_a_single_trigger_stands_anywhere_but_in_the_last_two_cells() -> None:
    task = Induction(length=12, values=3)
    tokens = task.sample(STREAM, 0, 3000).tokens
    counts = np.bincount((tokens == 3).argmax(axis=1))
    assert len(counts) == 10
    assert chisquare(counts).pvalue > 1e-4


def test_all_other_tokens_are_uniform_values() -> None:
    task = Induction(length=20, values=5, triggers=4)
    tokens, targets = task.sample(STREAM, 0, 1000)
    counts = np.bincount(tokens.ravel(), minlength=task.vocab_size)
    assert counts[:5].sum() == 15 * 1000
    assert chisquare(counts[:5]).pvalue > 1e-4
    assert chisquare(np.bincount(targets[targets != IGNORE], minlength=5)).pvalue > 1e-4


def test_a_bigram_sequence_repeats_one_token_that_was_followed() -> None:
    task = Bigram(length=6, values=7)
    tokens, targets = task.sample(STREAM, 0, 3000)
    assert all(len(set(row)) == 5 for row in tokens[:, :-1].tolist())
    asked = (tokens[:, :-1] == tokens[:, -1:]).argmax(axis=1)
    assert chisquare(np.bincount(asked, minlength=4)).pvalue > 1e-4
    assert asked.max() == 3
    assert chisquare(np.bincount(targets[:, -1])).pvalue > 1e-4


def test_one_bit_of_memory_answers_every_bigram_of_three_tokens_and_no_more_is_certified() -> None:
    task = Bigram(length=4, values=3)
    tokens, targets = task.sample(STREAM, 0, 500)
    step = (tokens[:, 1] - tokens[:, 0]) % 3  # 1 or 2: the whole memory, since the tokens shown are a cycle of three
    np.testing.assert_array_equal((tokens[:, -1] + step) % 3, targets[:, -1])
    assert certified_bits(1.0, stored=task.stored, values=task.values, entropy=task.answer_bits) == pytest.approx(1.0)


@pytest.mark.parametrize("task", [Induction(length=12), Induction(length=9, values=3, triggers=4), Bigram(length=6, values=8)], ids=str)
def test_controls_are_what_their_strategies_reach(task) -> None:
    tokens, targets = task.sample(STREAM, 0, 8000)
    generator = np.random.default_rng(0)
    guesses = {name: [] for name in task.controls()}
    values, keys = task.values, task.keys
    for *shown, asked in tokens.tolist():
        known = [token for token in shown if token < values and token != asked]
        followers = [value for key, value in itertools.pairwise(shown) if key in keys]
        guesses["chance"].append(generator.integers(values))
        guesses["values_in_context"].append(_mode(generator.permutation(known)))
        if "key_blind" in guesses:
            guesses["key_blind"].append(_mode(followers))
    for name, control in task.controls().items():
        right = np.array(guesses[name]) == targets[:, -1]
        assert right.mean() == pytest.approx(control, abs=4 * np.sqrt(control * (1 - control) / len(right))), name


def _mode(values):
    return max(values, key=list(values).count)


def test_with_several_triggers_it_shows_only_at_the_end_which_is_asked() -> None:
    task = Induction(length=9, values=4, triggers=3)
    assert (task.stored, task.answer_bits, task.cut) == (3, 6, 8)
    assert "key_blind" not in Induction(triggers=1).controls()  # there a reader need not know the key


@pytest.mark.parametrize("task", [Induction(length=9, values=4, triggers=2), Bigram(length=9, values=12)], ids=str)
def test_questions_are_told_apart_by_the_distance_to_their_answer(task) -> None:
    tokens, targets = task.sample(STREAM, 0, 50)
    distance = task.stratum(tokens)[:, -1]
    np.testing.assert_array_equal(tokens[np.arange(50), 8 - distance], targets[:, -1])


def test_two_samples_agree_no_more_often_than_the_collision_bound_says() -> None:
    task = Induction(length=4, values=2)
    here, there = task.sample(STREAM, 0, 4000).tokens, task.sample(Stream(seed=0, split="test"), 0, 4000).tokens
    share = (here == there).all(axis=1).mean()  # the trigger has two places, equally likely
    bound = task.collision_bound(1, 1)
    assert share == pytest.approx(bound / 2, abs=4 * np.sqrt(bound / 2 / 4000))


@pytest.mark.parametrize(
    ("task", "row"),
    [
        (Induction(length=5, values=4, triggers=2), [0, 4, 1, 2, 5]),  # not shown
        (Induction(length=5, values=4, triggers=2), [4, 0, 4, 1, 4]),  # shown twice
        (Induction(length=5, values=4, triggers=2), [0, 1, 2, 4, 4]),  # nothing after it
        (Induction(length=5, values=4, triggers=2), [0, 4, 5, 1, 4]),  # a trigger after it
        (Induction(length=5, values=4, triggers=2), [0, 4, 1, 5, 0]),  # a value asks
        (Bigram(length=5, values=4), [0, 1, 2, 3, 3]),
        (Bigram(length=5, values=4), [0, 1, 0, 3, 0]),
    ],
)
def test_tokens_that_are_no_sample_are_refused(task, row) -> None:
    with pytest.raises(ValueError, match="must"):
        task.solve(np.array([row]))


@pytest.mark.parametrize(
    ("task", "fields", "complaint"),
    [
        (Induction, {"triggers": 0}, r"triggers must lie in 1\.\.\(length-1\)//2=31"),
        (Induction, {"triggers": 32}, "got 32"),
        (Induction, {"values": 1}, "values must be at least 2"),
        (Bigram, {"length": 2}, "length must be at least 3"),
        (Bigram, {"length": 9, "values": 7}, "values must be at least length-1=8"),
    ],
)
def test_fields_out_of_range_are_refused(task, fields, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        task(**fields)


def test_a_sample_reads_as_a_line() -> None:
    assert Induction(length=5, values=4, triggers=2).describe(np.array([0, 5, 1, 2, 5])) == "v0 k1 v1 v2 k1"
