"""Recall with overwriting: the latest value counts."""

import numpy as np
import pytest
from scipy.stats import chisquare
from simulated import assert_mean

from recall_lab.tasks import IGNORE, MQARUpdate, Stream, entropy_without_replacement

TASKS = [
    MQARUpdate(length=40, pairs=5, updates=2, keys=7, values=9),
    MQARUpdate(length=40, pairs=5, updates=2, keys=7, values=9, order="shuffled"),
    MQARUpdate(length=40, pairs=5, updates=0, keys=7, values=9),
    MQARUpdate(length=40, pairs=5, updates=5, keys=7, values=12),
]


def read(task: MQARUpdate, row: list[int], labels: list[int]) -> tuple[dict[int, int], dict[int, int], list[int]]:
    """First values and updates by key, and the cells that ask."""
    shown = list(zip(row[: task.cut : 2], row[1 : task.cut : 2], strict=True))
    return dict(shown[: task.pairs]), dict(shown[task.pairs :]), [at for at, label in enumerate(labels) if label != IGNORE]


@pytest.mark.parametrize("task", TASKS)
def test_controls_are_what_their_strategies_score(task: MQARUpdate) -> None:
    tokens, targets = task.sample(Stream(0), 0, 2_000)
    law, controls = task.places.law, task.controls()
    scores: dict[str, list[float]] = {name: [] for name in controls}
    chance = np.random.default_rng(0)
    for row, labels in zip(tokens.tolist(), targets.tolist(), strict=True):
        first, updates, asked = read(task, row, labels)
        keep_first, keep_update, blind, any_value = [], [], [], []
        for at in asked:
            of_pair = law[:, (at - task.cut) // 2]
            by_update = bool(updates) and of_pair.sum() / task.pairs > of_pair.max() * (1 - task.updates / task.pairs)
            blind.append(labels[at] == (next(iter(updates.values())) if by_update else list(first.values())[of_pair.argmax()]))
            keep_first.append(labels[at] == first[row[at]])
            keep_update.append(labels[at] == updates.get(row[at]))
            any_value.append(labels[at] == task.keys + chance.integers(task.values))
        for name, right in zip(("first_value", "latest", "key_blind", "chance"), (keep_first, keep_update, blind, any_value), strict=True):
            scores[name].append(float(np.mean(right)))
    for name, per_sample in scores.items():
        assert_mean(np.array(per_sample), controls[name])


def test_updates_hit_a_uniform_choice_of_keys_with_new_values() -> None:
    task = TASKS[0]
    tokens, targets = task.sample(Stream(0), 0, 4_000)
    chosen = np.zeros((5, 5), np.int64)
    for row, labels in zip(tokens.tolist(), targets.tolist(), strict=True):
        first, updates, _ = read(task, row, labels)
        assert len(updates) == 2
        assert len(set(first.values()) | set(updates.values())) == 7
        chosen[tuple(list(first).index(key) for key in updates)] += 1
    assert chisquare(chosen[~np.eye(5, dtype=bool)]).pvalue > 1e-3


def test_the_answer_is_the_latest_value() -> None:
    task = MQARUpdate(length=10, pairs=2, updates=1, keys=3, values=4, fillers=1)
    solved = task.solve(np.array([[0, 3, 1, 4, 0, 6, 1, 7, 0, 7]]))
    assert solved[0].tolist() == [IGNORE] * 6 + [4, IGNORE, 6, IGNORE]
    assert task.stratum(np.array([[0, 3, 1, 4, 0, 6, 1, 7, 0, 7]]))[0, [6, 8]].tolist() == [3, 3]


def test_what_is_stored_are_the_latest_values() -> None:
    task = TASKS[0]
    assert (task.stored, task.answers, task.cut) == (5, 5, 14)
    assert task.answer_bits == pytest.approx(entropy_without_replacement(5, 9))


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"pairs": 0}, r"pairs must lie in 1\.\.keys=64, got 0"),
        ({"updates": 5}, r"updates must lie in 0\.\.pairs=4 .* got 5"),
        ({"updates": -1}, r"updates must lie in 0\.\.pairs=4 .* got -1"),
        ({"values": 5}, r"values must be at least pairs \+ updates = 6 .* got 5"),
        ({"length": 19}, "length must be at least 20"),
        ({"power": 0.0}, "power must be positive"),
    ],
)
def test_fields_out_of_range_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MQARUpdate.from_dict(fields)


@pytest.mark.parametrize("row", [[0, 3, 1, 4, 2, 6, 1, 7, 0, 7], [0, 3, 1, 7, 0, 6, 1, 7, 0, 7], [0, 3, 1, 4, 0, 6, 7, 7, 0, 7]])
def test_tokens_that_are_no_sample_are_refused(row: list[int]) -> None:
    with pytest.raises(ValueError, match="tokens must show pairs=2 keys and ask each once"):
        MQARUpdate(length=10, pairs=2, updates=1, keys=3, values=4, fillers=1).solve(np.array([row]))
