import itertools

import jaxtyping
import numpy as np
import pytest
from scipy.stats import binom, chisquare

from recall_lab.tasks import IGNORE, SelectiveCopy, Stream

STREAM = Stream(seed=0)


def test_scattered_content_stands_in_every_set_of_cells_equally_often() -> None:
    task = SelectiveCopy(length=8, values=2, content=2)  # two of five cells, then the copy token and two questions
    tokens, targets = task.sample(STREAM, 0, 5000)
    np.testing.assert_array_equal(task.solve(tokens), targets)
    places = [tuple(np.flatnonzero(row[: task.prefix] < task.values)) for row in tokens]
    counts = [places.count(cells) for cells in itertools.combinations(range(5), 2)]
    assert sum(counts) == 5000
    assert chisquare(counts).pvalue > 1e-4


def test_content_at_the_start_is_plain_copying() -> None:
    task = SelectiveCopy(length=12, values=4, content=3, placement="start")
    tokens, targets = task.sample(STREAM, 0, 50)
    np.testing.assert_array_equal(tokens[:, :3], targets[:, -3:])
    assert (tokens[:, 3:8] == task.blank).all()
    assert task.cut == 3


def test_the_mad_preset_has_the_tokens_of_the_suite() -> None:
    task = SelectiveCopy.mad()
    assert (task.length, task.vocab_size, task.content, task.blank, task.copy) == (256, 16, 16, 14, 15)
    tokens, targets = task.sample(STREAM, 0, 20)
    assert (tokens[:, 256 - 16 - 1] == 15).all()
    assert (tokens[:, -16:] == 14).all()
    assert (targets[:, :-16] == IGNORE).all()


def test_the_mad_preset_puts_each_blank_before_a_content_token_drawn_uniformly() -> None:
    task = SelectiveCopy.mad(vocab_size=6, seq_len=20, num_tokens_to_copy=4)
    tokens = task.sample(STREAM, 0, 4000).tokens
    content = tokens[:, : task.prefix] < task.values
    assert content[:, -1].all()  # no blank comes after the last one
    blanks, gaps = task.prefix - task.content, task.content
    before_first = np.bincount(content.argmax(axis=1), minlength=blanks + 1)
    enough = binom.pmf(np.arange(blanks + 1), blanks, 1 / gaps) * 4000 > 5
    expected = binom.pmf(np.flatnonzero(enough), blanks, 1 / gaps)
    assert chisquare(before_first[enough], expected / expected.sum() * before_first[enough].sum()).pvalue > 1e-4


@pytest.mark.parametrize("placement", ["scattered", "start", "mad"])
def test_content_and_noise_are_uniform_and_have_their_own_tokens(placement) -> None:
    task = SelectiveCopy(length=30, values=5, content=4, noise=3, placement=placement)
    tokens = task.sample(STREAM, 0, 1000).tokens[:, : task.prefix]
    counts = np.bincount(tokens.ravel(), minlength=task.vocab_size)
    assert counts[:5].sum() == 4 * 1000
    assert counts[task.blank] == counts[task.copy] == 0
    assert chisquare(counts[:5]).pvalue > 1e-4
    assert chisquare(counts[5:8]).pvalue > 1e-4


@pytest.mark.parametrize("task", [SelectiveCopy(), SelectiveCopy(length=7, values=2, content=3, noise=1), SelectiveCopy.mad()], ids=str)
def test_controls_are_what_their_strategies_reach(task: SelectiveCopy) -> None:
    targets = task.sample(STREAM, 0, 4000).targets[:, -task.content :]
    generator = np.random.default_rng(0)
    counts = (targets[:, :, None] == np.arange(task.values)).sum(axis=1)
    guesses = {
        "chance": generator.integers(task.values, size=targets.shape),
        "order_blind": counts.argmax(axis=1)[:, None],
        "any_content": np.take_along_axis(targets, generator.integers(task.content, size=targets.shape), axis=1),
    }
    assert guesses.keys() == task.controls().keys()
    for name, control in task.controls().items():
        accuracy = (guesses[name] == targets).mean(axis=1)
        assert accuracy.mean() == pytest.approx(control, abs=4 * accuracy.std() / np.sqrt(len(targets))), name


def test_questions_are_told_apart_by_their_place_in_the_list() -> None:
    task = SelectiveCopy(length=9, content=3)
    tokens, targets = task.sample(STREAM, 0, 5)
    assert task.stratum(tokens)[targets != IGNORE].reshape(5, 3).tolist() == [[0, 1, 2]] * 5


def test_two_samples_agree_as_often_as_the_collision_bound_says() -> None:
    task = SelectiveCopy(length=5, values=2, content=1)
    here, there = task.sample(STREAM, 0, 4000).tokens, task.sample(Stream(seed=0, split="test"), 0, 4000).tokens
    bound = task.collision_bound(1, 1)
    assert bound == pytest.approx(1 / 6)
    assert (here == there).all(axis=1).mean() == pytest.approx(bound, abs=4 * np.sqrt(bound * (1 - bound) / 4000))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ([0, 4, 1, 4, 4, 4, 4], "one copy token"),
        ([0, 4, 1, 5, 5, 4, 4], "one copy token"),
        ([0, 4, 4, 4, 5, 4, 4], "1 blanks"),
        ([0, 4, 1, 4, 5, 4, 0], "2 blanks"),
    ],
)
def test_tokens_that_are_no_sample_are_refused(row, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        SelectiveCopy(length=7, values=4, content=2).solve(np.array([row]))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"content": 0}, r"content must lie in 1\.\.\(length-1\)//2=31"),
        ({"content": 32}, "got 32"),
        ({"values": 1}, "values must be at least 2"),
        ({"noise": -1}, "noise must be at least 0, got -1"),
        ({"placement": "end"}, "placement must be one of scattered, start, mad, got 'end'"),
    ],
)
def test_fields_out_of_range_are_refused(fields, complaint, monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # a user's types are not checked
    with pytest.raises(ValueError, match=complaint):
        SelectiveCopy(**fields)


def test_a_sample_reads_as_a_line() -> None:
    assert SelectiveCopy(length=7, values=4, content=2, noise=2).describe(np.array([3, 4, 5, 1, 7, 6, 6])) == "v3 n0 n1 v1 COPY . ."
