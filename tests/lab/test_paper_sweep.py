"""The sweep `paper` is what was published, as far as its comment says so."""

from itertools import pairwise

import numpy as np

from recall_lab.sweep import load
from recall_lab.tasks import MQAR

ZOOLOGY = {(64, 4), (128, 8), (256, 16), (512, 64)}
BASED = {(64, 4), (64, 8), (64, 16), (128, 32), (256, 64), (512, 128), (1024, 256)}


def test_its_tasks_have_the_law_and_the_token_ids_of_zoology():
    tasks = {run.task for run in load("paper").runs()}
    assert {(task.length, task.pairs) for task in tasks if task.filler == "blank"} == ZOOLOGY
    assert {(task.length, task.pairs) for task in tasks if task.filler == "zoology"} == BASED
    for task in tasks:
        assert task == MQAR.zoology(
            vocab_size=8192,
            input_seq_len=task.length,
            num_kv_pairs=task.pairs,
            random_non_queries=task.filler == "zoology",
        )


def test_every_model_meets_every_task_at_eight_rates_evenly_spaced_in_their_logarithm_and_three_seeds():
    runs = load("paper").runs()
    models, tasks = {str(run.model) for run in runs}, {run.task for run in runs}
    rates = sorted({run.optimiser.learning_rate for run in runs})
    assert len(runs) == len(models) * len(tasks) * 8 * 3
    assert (rates[0], rates[-1], len(rates)) == (3e-4, 3e-2, 8)
    np.testing.assert_allclose([high / low for low, high in pairwise(rates)], 100 ** (1 / 7), rtol=0.04)
    assert {run.budget.steps for run in runs} == {20_000}
