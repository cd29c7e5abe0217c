"""From results to points and capacities: what chooses, what is kept apart, and what is said of it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.tiny import TASK, outcome, point, tiny_model, tiny_run

from recall_lab.capacity import SATURATED, Capacity, Point, Spread, capacities, capacity_row, point_row, points
from recall_lab.run import Optimiser, Run
from recall_lab.tasks import MQAR, TASKS

RATES = (1e-3, 3e-3, 1e-2)


def results(grid: Mapping[tuple[float, int], Mapping[str, Any]]) -> tuple[list[Run], dict[str, dict[str, Any]]]:
    """Runs by learning rate and seed, with these results."""
    runs = {key: tiny_run(rate=key[0], seed=key[1]) for key in grid}
    return list(runs.values()), {run.hash: outcome(**grid[key]) for key, run in runs.items()}


def the_point(grid: Mapping[tuple[float, int], Mapping[str, Any]]) -> Point:
    [found] = points(*results(grid))
    return found


def capacity_of(*found: Point) -> Capacity:
    [capacity] = capacities(found)
    return capacity


def problem(pairs: int, length: int = 64) -> MQAR:
    return MQAR(length=length, pairs=pairs, keys=16, values=16, order="shuffled")


def labels(runs: Sequence[Run]) -> list[str]:
    return [found.label for found in points(runs, {run.hash: outcome() for run in runs})]


def difficulties(runs: Sequence[Run]) -> list[str]:
    return [found.difficulty for found in points(runs, {run.hash: outcome() for run in runs})]


def test_a_spread_is_the_worst_the_middle_and_the_best_seed() -> None:
    spread = Spread(each=(0.9, 0.1, 0.5, 0.7))
    assert (spread.low, spread.median, spread.high) == (0.1, 0.6, 0.9)


def test_validation_chooses_the_learning_rate_and_test_results_do_not() -> None:
    found = the_point(
        {
            (1e-3, 0): {"validation": 0.9, "accuracy": 1.0, "bits": 9.0},
            (1e-3, 1): {"validation": 0.1, "accuracy": 1.0, "bits": 9.0},
            (3e-3, 0): {"validation": 0.6, "accuracy": 0.2, "bits": 0.0},
            (3e-3, 1): {"validation": 0.6, "accuracy": 0.3, "bits": 0.5},
            (1e-2, 0): {"validation": 0.5, "accuracy": 1.0, "bits": 9.0},
            (1e-2, 1): {"validation": 0.6, "accuracy": 1.0, "bits": 9.0},
        }
    )
    assert found.learning_rate == 3e-3
    assert (found.accuracy.each, found.validation.each, found.certified.each) == ((0.2, 0.3), (0.6, 0.6), (0.0, 0.5))
    assert found.certified_low.each == (0.0, 0.25)
    assert found.by_learning_rate == pytest.approx({1e-3: 0.5, 3e-3: 0.6, 1e-2: 0.55})
    assert list(found.by_learning_rate) == sorted(RATES)


@given(st.permutations([(rate, seed) for rate in RATES for seed in (0, 1)]), st.randoms())
def test_no_test_result_moves_the_choice(order: list[tuple[float, int]], luck: Any) -> None:
    grid = {key: {"validation": 0.5 + 0.1 * (key[0] == 3e-3), "accuracy": luck.random(), "bits": luck.random()} for key in order}
    assert the_point(grid).learning_rate == 3e-3


@given(st.permutations(RATES))
def test_on_a_tie_the_lower_learning_rate_is_chosen(order: list[float]) -> None:
    found = the_point({(rate, 0): {"validation": 0.3 if rate == 1e-2 else 0.5} for rate in order})
    assert found.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("validation", "edge"),
    [((0.9, 0.1, 0.1), True), ((0.1, 0.9, 0.1), False), ((0.1, 0.1, 0.9), True), ((0.1, 0.9), True), ((0.9,), False)],
)
def test_a_choice_at_the_end_of_several_rates_is_an_edge(validation: tuple[float, ...], edge: bool) -> None:
    grid = {(rate, 0): {"validation": reached} for rate, reached in zip(RATES, validation, strict=False)}
    assert the_point(grid).edge is edge


def test_seeds_are_in_order_with_their_results() -> None:
    found = the_point({(1e-2, seed): {"accuracy": seed / 10} for seed in (7, 0, 3)})
    assert (found.seeds, found.accuracy.each) == ((0, 3, 7), (0.0, 0.3, 0.7))


def test_diverged_seeds_of_the_chosen_rate_are_counted() -> None:
    grid = {(1e-3, seed): {"validation": 0.9, "status": "diverged" if seed else "finished"} for seed in range(3)}
    assert the_point({**grid, (1e-2, 0): {"status": "diverged"}}).diverged == 2


def test_runs_that_have_not_finished_are_left_out() -> None:
    runs, found = results({(1e-3, 0): {}, (1e-3, 1): {}, (1e-2, 0): {"validation": 0.9}})
    hard = tiny_run(task=problem(4))
    del found[runs[1].hash], found[runs[2].hash]
    [kept] = points([*runs, hard], found)
    assert (kept.seeds, kept.learning_rate, kept.edge, list(kept.by_learning_rate)) == ((0,), 1e-3, False, [1e-3])
    assert points(runs, {}) == []


def test_there_is_a_point_for_every_task_and_model_in_the_order_of_the_runs() -> None:
    cells = [(task, tiny_model(task, mixer)) for task in (problem(8), problem(4)) for mixer in ("sliding_window", "attention")]
    runs = [tiny_run(task=task, model=model, seed=seed) for seed in (0, 1) for task, model in cells]
    found = points(runs, {run.hash: outcome(accuracy=run.seed / 2) for run in runs})
    assert [(each.task, each.model) for each in found] == cells
    assert {each.seeds for each in found} == {(0, 1)}


@pytest.mark.parametrize(
    "other",
    [
        lambda run: replace(run, budget=replace(run.budget, steps=9)),
        lambda run: replace(run, optimiser=replace(run.optimiser, weight_decay=0.5)),
        lambda run: replace(run, data_seed=1),
    ],
)
def test_runs_that_were_trained_or_judged_otherwise_are_no_seeds_of_one_another(other: Any) -> None:
    seeds = [tiny_run(seed=0), tiny_run(seed=1)]
    runs = [*seeds, *map(other, seeds)]
    done = {run.hash: outcome(accuracy=index / 4) for index, run in enumerate(runs)}
    one, two = points(runs, done)
    assert (one.seeds, one.accuracy.each, two.seeds, two.accuracy.each) == ((0, 1), (0.0, 0.25), (0, 1), (0.5, 0.75))
    assert one.label != two.label
    assert len(capacities([one, two])) == 2


def test_tasks_of_another_name_are_other_tasks_though_their_fields_agree() -> None:
    twin = type("Twin", (MQAR,), {"name": "twin", "__module__": __name__})
    try:
        task = twin(**TASK.to_dict())
        assert difficulties([tiny_run(), tiny_run(task=task)]) == ["mqar", "twin"]
    finally:
        del TASKS["twin"]


def test_a_label_is_the_mixer_where_nothing_differs() -> None:
    assert labels([tiny_run(seed=0), tiny_run(seed=1), tiny_run(rate=1.0)]) == ["attention"]
    assert difficulties([tiny_run()]) == ["mqar"]


def test_labels_say_what_differs_among_the_models_of_one_mixer_and_no_more() -> None:
    models = [
        tiny_model(mixer="attention"),
        tiny_model(mixer="sliding_window", window=2),
        tiny_model(mixer="sliding_window", window=4),
        tiny_model(mixer="sliding_window", window=4, depth=2),
        tiny_model(mixer="linear_attention", width=16),
    ]
    assert labels([tiny_run(model=model) for model in models]) == [
        "attention",
        "sliding_window window=2 depth=1",
        "sliding_window window=4 depth=1",
        "sliding_window window=4 depth=2",
        "linear_attention",
    ]


def test_the_vocabulary_of_a_task_is_no_part_of_a_label() -> None:
    runs = [tiny_run(task=replace(TASK, keys=keys)) for keys in (8, 9)]
    assert labels(runs) == ["attention", "attention"]
    assert difficulties(runs) == ["keys=8", "keys=9"]


def test_training_that_differs_is_in_the_label() -> None:
    assert labels([tiny_run(steps=4), tiny_run(steps=8)]) == ["attention steps=4", "attention steps=8"]


def test_a_mixer_by_import_path_is_called_by_its_class_unless_two_would_be_called_the_same() -> None:
    path = "recall_lab.models.attention:Attention"
    own = tiny_run(model=tiny_model(mixer=path))
    assert labels([own]) == ["Attention"]
    again = "recall_lab.models.sliding_window:Attention"  # what that module imports
    assert labels([own, tiny_run(model=tiny_model(mixer=again))]) == [path, again]


def test_a_capacity_is_the_most_that_was_certified_over_difficulties_by_its_median() -> None:
    easy = point(task=problem(2), bits=(3.0, 4.0, 9.0), state_bits=64)
    middle = point(task=problem(4), bits=(5.0, 5.0, 5.0), state_bits=128)
    hard = point(task=problem(8), bits=(0.0, 1.0, 99.0), state_bits=256)
    capacity = capacity_of(easy, middle, hard)
    assert (capacity.certified, capacity.state_bits) == (middle.certified, 128)
    assert capacity.efficiency == middle.efficiency == 5 / 128


def test_every_model_has_its_capacity() -> None:
    narrow, wide = ([point(task=problem(pairs), width=width) for pairs in (2, 4)] for width in (8, 16))
    relabelled = [replace(each, label="attention width=16") for each in wide]
    assert [capacity.label for capacity in capacities([*narrow, *relabelled])] == ["attention", "attention width=16"]


@pytest.mark.parametrize(
    ("hard", "saturated"), [((0.0, SATURATED, 1.0), True), ((SATURATED - 1e-9,), False), ((0.9, 0.9, 1.0), False), ((1.0,), True)]
)
def test_a_capacity_is_saturated_if_the_hardest_difficulty_was_answered(hard: tuple[float, ...], saturated: bool) -> None:
    found = [point(task=problem(8), accuracy=hard), point(task=problem(2), accuracy=(1.0,))]
    assert capacity_of(*found).saturated is capacity_of(*found[::-1]).saturated is saturated


def test_of_equally_hard_difficulties_one_that_is_answered_saturates_in_whatever_order() -> None:
    found = [point(task=problem(8, length=64), accuracy=(1.0,)), point(task=problem(8, length=128), accuracy=(0.2,))]
    assert capacity_of(*found).saturated is capacity_of(*found[::-1]).saturated is True


@pytest.mark.parametrize(
    ("accuracies", "largest"),
    [
        ({4: 1.0, 8: 0.8}, math.sqrt(4 * 8)),
        ({4: 0.95, 16: 0.75}, 4 * 4**0.25),
        ({4: 0.9, 8: 0.0}, 4.0),
        ({2: 1.0, 4: 0.91, 8: 0.9}, 8.0),
        ({2: 0.5, 4: 1.0, 8: 0.8}, math.sqrt(4 * 8)),
        ({4: 0.89}, None),
        ({4: 1.0}, 4.0),
    ],
)
def test_the_largest_problem_at_nine_tenths_lies_between_sizes_in_their_logarithm(
    accuracies: dict[int, float], largest: float | None
) -> None:
    found = [point(task=problem(pairs), accuracy=(reached,)) for pairs, reached in accuracies.items()]
    for order in (found, found[::-1]):
        assert capacity_of(*order).largest_at_90 == (None if largest is None else pytest.approx(largest))


def test_a_model_without_state_has_an_efficiency_too() -> None:
    [found] = points([tiny_run()], {tiny_run().hash: outcome(bits=0.25, state_size=0, state_bits=0)})
    assert found.efficiency == capacity_of(found).efficiency == 0.25


def test_rows_are_flat_json_and_hold_what_the_values_hold() -> None:
    found = the_point(
        {(rate, seed): {"validation": rate, "accuracy": seed / 2, "bits": 2.0 * seed} for rate in RATES for seed in (0, 1, 2)}
    )
    row = json.loads(json.dumps(point_row(found), allow_nan=False))
    assert (row["accuracy_low"], row["accuracy"], row["accuracy_high"]) == (0.0, 0.5, 1.0)
    assert (row["certified_bits_low"], row["certified_bits"], row["certified_bits_high"], row["certified_at_95"]) == (0, 2, 4, 0)
    assert (row["learning_rate"], row["edge"], row["seeds"]) == (1e-2, True, 3)
    assert row["validation_by_learning_rate"] == pytest.approx({"0.001": 0.001, "0.003": 0.003, "0.01": 0.01})
    assert row["efficiency"] == 2 / 256
    assert row["controls"] == TASK.controls()
    assert (row["predicted_low"], row["predicted_high"]) == (None, None)
    flat = json.loads(json.dumps(capacity_row(capacity_of(found)), allow_nan=False))
    assert (flat["capacity_low"], flat["capacity"], flat["capacity_high"], flat["largest_at_90"]) == (0, 2, 4, None)


def test_a_point_knows_what_theory_says_of_it() -> None:
    window = point(mixer="sliding_window", window=4)
    assert window.predicted is not None
    assert (point_row(window)["predicted_low"], point_row(window)["predicted_high"]) == window.predicted
    assert point(mixer="attention").predicted is None


def test_the_learning_rate_alone_is_no_difference_in_training() -> None:
    run = tiny_run()
    rates = [replace(run, optimiser=Optimiser(learning_rate=rate)) for rate in RATES]
    [found] = points(rates, {each.hash: outcome() for each in rates})
    assert list(found.by_learning_rate) == list(RATES)
