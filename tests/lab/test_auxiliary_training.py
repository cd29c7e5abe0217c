"""What learns by an objective of its own is trained beside the rest, and neither disturbs the other."""

import numpy as np
import pytest
import torch
from lab.tiny import tiny_model, tiny_run

from recall_lab import train as training
from recall_lab.run import Optimiser
from recall_lab.tasks import IGNORE, JointRecall, Stream
from recall_lab.train import adamw, descent, initial_model

SELECTING = {"mixer": "sparse", "pattern": "ks", "budget": 4}


def test_what_learns_by_itself_is_trained_at_its_own_rate_without_decay() -> None:
    model = initial_model(tiny_run(model=tiny_model(**SELECTING, score_rate=0.5)))
    *_, last = adamw(model, Optimiser(learning_rate=1e-3)).param_groups
    assert last["lr"] == 0.5
    assert last["weight_decay"] == 0
    grouped = [weight for group in adamw(model, Optimiser()).param_groups for weight in group["params"]]
    assert len(grouped) == len(set(grouped)) == len(list(model.parameters()))


def test_training_moves_what_learns_by_itself_and_a_run_repeats_it() -> None:
    run = tiny_run(model=tiny_model(**SELECTING))
    models = [initial_model(run) for _ in range(2)]
    for model in models:
        list(descent(run, model))
    (score, *_), (again, *_), (before, *_) = (training.auxiliaries(model) for model in (*models, initial_model(run)))
    for one, same, was in zip(score.parameters(), again.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, was)


def test_every_step_draws_other_positions_for_what_learns_by_itself_and_a_timed_one_pays_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny_run(model=tiny_model(**SELECTING))
    drawn = []
    score = training.auxiliaries(initial_model(run))[0].__class__
    monkeypatch.setattr(
        score, "loss", lambda self, read, draw: drawn.append(torch.rand(1, generator=draw).item()) or self.mlp[0].weight.sum()
    )
    list(descent(run, initial_model(run)))
    assert len(set(drawn)) == len(drawn) == run.budget.steps
    assert drawn[0] != torch.rand(1, generator=training.draw_of(1, 0)).item()
    drawn.clear()
    training.seconds_per_step(run, at_most=0.01)
    assert drawn


def test_a_large_auxiliary_gradient_does_not_shorten_the_step_on_answers() -> None:
    model = initial_model(tiny_run(model=tiny_model(**SELECTING)))
    (score, *_) = training.auxiliaries(model)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    model.unembedding.weight.grad[0, 0] = 0.5
    next(score.parameters()).grad[0, 0] = 1e6
    training.clip_each(model, 1.0)
    assert model.unembedding.weight.grad[0, 0] == 0.5
    assert next(score.parameters()).grad[0, 0] == pytest.approx(1.0, rel=1e-4)


def test_auxiliary_losses_are_of_positions_up_to_the_last_question(monkeypatch: pytest.MonkeyPatch) -> None:
    task = JointRecall(contexts=(2, 4), keys=(2, 4), values=4)
    batch = task.sample(Stream(0, "train"), 0, 9)
    model = initial_model(tiny_run(task=task, model=tiny_model(task, **SELECTING)))
    seen = []
    monkeypatch.setattr(training.auxiliaries(model)[0].__class__, "loss", lambda self, read, draw: seen.append(read) or read.sum())
    training.auxiliary_losses(model, batch, training.draw_of(0, 0))
    for read, targets, tokens in zip(seen[0].numpy(), batch.targets, batch.tokens, strict=True):
        last = np.flatnonzero(targets != IGNORE)[-1]
        assert read.tolist() == [at <= last for at in range(len(tokens))]
