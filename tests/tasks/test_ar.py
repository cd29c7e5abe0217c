"""Associative recall with a single question."""

import numpy as np
import pytest
from scipy.stats import chisquare
from simulated import assert_mean

from recall_lab.tasks import AR, IGNORE, Stream, entropy_without_replacement


def test_only_the_last_token_asks_and_every_pair_is_asked_alike() -> None:
    task = AR(pairs=5, gap=3)
    tokens, targets = task.sample(Stream(0), 0, 5_000)
    assert task.length == 14
    assert (targets[:, :-1] == IGNORE).all()
    assert (targets[:, -1] != IGNORE).all()
    asked = np.argmax(tokens[:, :10:2] == tokens[:, -1:], axis=1)
    assert chisquare(np.bincount(asked, minlength=5)).pvalue > 1e-3


def test_a_gap_in_a_range_is_uniform_and_the_cut_has_seen_every_pair() -> None:
    task = AR(pairs=3, keys=8, values=8, gap=(1, 4), filler="blank")
    tokens = task.sample(Stream(0), 0, 4_000).tokens
    shown = tokens[:, :-1] != task.vocabulary.blank
    assert (shown.sum(axis=1) == 6).all()
    last = task.length - 2 - np.argmax(shown[:, ::-1], axis=1)
    gaps = task.length - 2 - last
    assert chisquare(np.bincount(gaps)[1:]).pvalue > 1e-3
    assert task.cut == last.max() + 1
    assert task.crossing(tokens).sum() == len(tokens)


@pytest.mark.parametrize("gap, cut, length", [(0, 16, 17), (5, 16, 22), ((0, 5), 21, 22), ((2, 2), 16, 19)])
def test_the_cut_lies_before_the_question(gap: int | tuple[int, int], cut: int, length: int) -> None:
    task = AR(pairs=8, gap=gap)
    assert (task.cut, task.length) == (cut, length)


def test_all_pairs_are_stored_though_one_is_asked() -> None:
    assert AR(pairs=4, values=16, iid_values=True).answer_bits == 16
    assert AR(pairs=4, values=16).answer_bits == pytest.approx(entropy_without_replacement(4, 16))
    assert (AR(pairs=4).stored, AR(pairs=4).answers) == (4, 1)


@pytest.mark.parametrize("iid_values", [False, True])
def test_controls_are_what_their_strategies_score(iid_values: bool) -> None:
    task = AR(pairs=4, keys=9, values=6, iid_values=iid_values)
    tokens, targets = task.sample(Stream(0), 0, 6_000)
    chance = np.random.default_rng(0)
    assert_mean(targets[:, -1] == chance.integers(9, 15, 6_000), task.controls()["chance"])
    values = tokens[:, 1:8:2]
    counts = (values[:, :, None] == values[:, None, :]).sum(axis=2)
    most_frequent = values[np.arange(6_000), counts.argmax(axis=1)]
    assert_mean(targets[:, -1] == most_frequent, task.controls()["values_in_context"])


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"pairs": 0}, r"pairs must lie in 1\.\.keys=64 .* got 0"),
        ({"pairs": 9, "values": 8}, "values must be at least pairs=9 unless iid_values, got 8"),
        ({"gap": -1}, "gap must be at least 0"),
        ({"gap": [3, 2]}, "gap must be at least 0, and low at most high"),
        ({"filler": "zoology"}, "filler must be own, blank or any"),
    ],
)
def test_fields_out_of_range_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AR.from_dict(fields)


@pytest.mark.parametrize("row", [[1, 6, 2, 7, 3], [1, 6, 2, 7, 6], [1, 2, 2, 7, 1]])
def test_tokens_that_are_no_sample_are_refused(row: list[int]) -> None:
    with pytest.raises(ValueError, match="tokens must end with a key"):
        AR(pairs=2, keys=5, values=5).solve(np.array([row]))
