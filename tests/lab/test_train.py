"""A run is a function: its result, what it leaves untouched, what it reads, and what becomes of it when the numbers end."""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lab.tiny import TASK, tiny_model, tiny_run

from recall_lab import train as training
from recall_lab.errors import InputError
from recall_lab.models import LanguageModel
from recall_lab.run import SCHEMA, Budget, Optimiser
from recall_lab.tasks import IGNORE, MQAR, Batch, Induction, JointRecall, Stream
from recall_lab.train import (
    adamw,
    cross_entropy,
    descent,
    initial_model,
    learning_rate_factor,
    predict,
    snapshot,
    train,
    training_batches,
    work,
)

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


@pytest.fixture
def torch_as_it_was() -> Iterator[None]:
    """For tests that turn torch's global settings."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def settings_of_torch() -> tuple[object, ...]:
    """Everything global that training might leave changed."""
    return (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.is_grad_enabled(),
        torch.get_rng_state().tolist(),
    )


def scripted_accuracies(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> None:
    """The looks see these accuracies, the one before the first step first."""
    left = iter(accuracies)
    monkeypatch.setattr(training, "accuracy", lambda model, batch: next(left))


def spoilt_from(step: int) -> Callable[[LanguageModel, Batch], torch.Tensor]:
    """`cross_entropy`, but no number from this step on, as gradients see it too."""
    steps = itertools.count(1)
    return lambda model, batch: cross_entropy(model, batch) * (math.nan if next(steps) >= step else 1.0)


@pytest.mark.parametrize(
    "fields", [{"mixer": "attention"}, {"mixer": "sliding_window", "window": 4}, {"mixer": "linear_attention", "feature_width": 4}]
)
def test_a_run_has_the_same_result_to_the_last_bit_whatever_came_before(fields: dict[str, Any], torch_as_it_was: None) -> None:
    run = tiny_run(model=tiny_model(**fields))
    first = train(run)
    torch.manual_seed(12345)
    np.random.seed(12345)
    torch.set_num_threads(2)
    assert train(run) == first
    assert train(replace(run, seed=1)) != first


def test_a_result_is_json_and_counts_what_was_trained() -> None:
    run = tiny_run()
    result = train(run)
    model = LanguageModel(run.model)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["status"] == "finished"
    assert [step for step, _, _ in result["curve"]] == [2, 4, 6, 8]
    assert (result["steps"], result["validation_accuracy"]) == (8, result["curve"][-1][2])
    assert result["state_size"] == model.state_size(TASK.cut) == 2 * 8 * TASK.cut + 3 * 8
    assert result["state_bits"] == 32 * result["state_size"]
    assert result["parameters"] == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    ("threads", "deterministic", "warn_only"), [(1, False, False), (2, False, False), (2, True, False), (1, True, True)]
)
def test_training_leaves_torch_as_it_found_it(threads: int, deterministic: bool, warn_only: bool, torch_as_it_was: None) -> None:
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    before = settings_of_torch()
    inside = []
    train(tiny_run(), lambda look: inside.append(settings_of_torch()[:3]))
    assert set(inside) == {(1, True, False)}
    assert settings_of_torch() == before


def test_a_run_that_fails_leaves_torch_as_it_found_it(monkeypatch: pytest.MonkeyPatch, torch_as_it_was: None) -> None:
    def fail(model: LanguageModel, batch: Batch) -> torch.Tensor:
        raise ZeroDivisionError

    monkeypatch.setattr(training, "cross_entropy", fail)
    torch.set_num_threads(2)
    before = settings_of_torch()
    with pytest.raises(ZeroDivisionError):
        train(tiny_run())
    assert settings_of_torch() == before


def test_a_run_that_stops_early_is_the_beginning_of_one_that_does_not() -> None:
    run = tiny_run(steps=24)
    whole = train(run)["curve"]
    stopped = train(replace(run, budget=replace(run.budget, stop_at=min(whole[2][2], whole[3][2]))))
    assert len(stopped["curve"]) <= 4 < len(whole)
    assert stopped["curve"] == whole[: len(stopped["curve"])]
    assert stopped["steps"] == stopped["curve"][-1][0]


def test_training_stops_when_the_mark_is_reached_twice_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted_accuracies(monkeypatch, [0.0, 0.91, 0.995, 0.5, 0.995, 1.0, 0.2])
    result = train(tiny_run(steps=12, stop_at=0.995))
    assert (result["steps"], result["validation_accuracy"], result["steps_to_90"]) == (10, 1.0, 2)


def test_steps_to_90_is_none_where_it_was_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted_accuracies(monkeypatch, [0.0, 0.5, 0.89, 0.7, 0.1])
    assert train(tiny_run())["steps_to_90"] is None


def test_the_last_step_is_looked_at_though_the_looks_do_not_fall_on_it() -> None:
    assert [step for step, _, _ in train(tiny_run(steps=5))["curve"]] == [2, 4, 5]


def test_the_curve_has_the_mean_loss_since_the_look_before() -> None:
    run = tiny_run()
    losses = list(descent(run, initial_model(run)))
    assert [loss for _, loss, _ in train(run)["curve"]] == [float(np.mean(losses[at : at + 2])) for at in (0, 2, 4, 6)]


def test_a_loss_that_is_no_number_ends_the_run_with_the_weights_of_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[dict[str, torch.Tensor]] = []
    tested: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(training, "cross_entropy", spoilt_from(step=6))
    monkeypatch.setattr(training, "snapshot", lambda model: looked_at.append(snapshot(model)) or snapshot(model))
    monkeypatch.setattr(training, "predict", lambda model, batch: tested.append(snapshot(model)) or predict(model, batch))
    result = train(tiny_run())
    assert (result["status"], result["steps"], len(result["curve"]), len(looked_at)) == ("diverged", 4, 2, 3)
    assert result["validation_accuracy"] == result["curve"][-1][2]
    for name, weight in tested[-1].items():
        torch.testing.assert_close(weight, looked_at[-1][name], rtol=0, atol=0)
    json.dumps(result, allow_nan=False)


def test_a_loss_that_is_no_number_at_once_leaves_the_weights_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "cross_entropy", spoilt_from(step=1))
    run = tiny_run()
    result = train(run)
    assert (result["status"], result["steps"], result["curve"]) == ("diverged", 0, [])
    test = TASK.sample(Stream(0, "test"), 0, run.budget.test)
    assert result["accuracy"] == training.accuracy(initial_model(run), test)


@pytest.mark.parametrize("budget", [{"steps": 1}, {"check_every": 1}, {"check_every": 2}, {"check_every": 8}])
def test_weights_that_one_step_breaks_are_never_looked_at_nor_tested(budget: dict[str, int]) -> None:
    run = tiny_run(rate=1e18, model=tiny_model(mixer="linear_attention"), **budget)  # q . k and v are about 1e18 each
    result = train(run)
    assert (result["status"], result["steps"], result["curve"]) == ("diverged", 0, [])
    test = TASK.sample(Stream(0, "test"), 0, run.budget.test)
    assert result["accuracy"] == training.accuracy(initial_model(run), test)


@pytest.mark.parametrize("mixer", ["attention", "sliding_window", "linear_attention"])
@pytest.mark.parametrize("rate", [1e3, 1e10, 1e18, 1e30])
def test_an_enormous_learning_rate_still_has_a_result(rate: float, mixer: str) -> None:
    result = train(tiny_run(rate=rate, model=tiny_model(mixer=mixer)))
    assert result["status"] in ("finished", "diverged")
    json.dumps(result, allow_nan=False)


def test_an_answer_that_is_no_number_is_never_right() -> None:
    model = LanguageModel(tiny_model())
    batch = TASK.sample(Stream(0), 0, 4)
    assert training.accuracy(model, batch) is not None
    with torch.no_grad():
        model.unembedding.weight.fill_(math.nan)
    assert (predict(model, batch) == IGNORE).all()
    assert training.accuracy(model, batch) is None


def test_the_test_stream_is_read_once_and_after_training(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[Any, ...]] = []
    sample = MQAR.sample

    def spy(task: MQAR, stream: Stream, start: int, count: int) -> Batch:
        events.append((stream.split, stream.seed, start, count))
        return sample(task, stream, start, count)

    monkeypatch.setattr(MQAR, "sample", spy)
    train(replace(tiny_run(seed=3), data_seed=7), lambda look: events.append(("look", look.step)))
    assert events[:2] == [("train", 3, 0, 2), ("validation", 7, 0, 16)]
    assert events[-2:] == [("look", 8), ("test", 7, 0, 32)]
    between = events[2:-1]
    assert {event[:2] for event in between if event[0] != "look"} == {("train", 3)}


@pytest.mark.parametrize(("batch", "steps"), [(8, 5), (300, 3), (512, 2), (1000, 1)])
def test_every_step_has_fresh_samples_of_the_training_stream_in_order(batch: int, steps: int) -> None:
    run = tiny_run(batch=batch, steps=steps, seed=2)
    batches = list(training_batches(run))
    whole = TASK.sample(Stream(run.seed, "train"), 0, batch * steps)
    assert [len(each.tokens) for each in batches] == [batch] * steps
    np.testing.assert_array_equal(np.concatenate([each.tokens for each in batches]), whole.tokens)
    np.testing.assert_array_equal(np.concatenate([each.targets for each in batches]), whole.targets)


@pytest.mark.parametrize("mixer", ["attention", "linear_attention"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_head_at_labelled_positions_has_the_loss_and_gradients_of_a_head_everywhere(dtype: torch.dtype, mixer: str) -> None:
    model = LanguageModel(tiny_model(mixer=mixer, depth=2)).to(dtype)
    batch = TASK.sample(Stream(0), 0, 32)
    weights = list(model.parameters())
    loss = cross_entropy(model, batch)
    logits, targets = model(torch.from_numpy(batch.tokens).long()), torch.from_numpy(batch.targets).long()
    full = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
    assert abs(loss.item() - full.item()) <= TOLERANCE[dtype]
    pairs = zip(torch.autograd.grad(loss, weights), torch.autograd.grad(full, weights), strict=True)
    for (name, _), (ours, theirs) in zip(model.named_parameters(), pairs, strict=True):
        assert (ours - theirs).abs().max().item() <= TOLERANCE[dtype], name


def test_predictions_do_not_depend_on_how_many_samples_go_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LanguageModel(tiny_model())
    batch = TASK.sample(Stream(0), 0, 20)
    whole = predict(model, batch)
    monkeypatch.setattr(training, "EVALUATION_TOKENS", 7 * 16)
    np.testing.assert_array_equal(predict(model, batch), whole)
    np.testing.assert_array_equal(whole != IGNORE, batch.targets != IGNORE)


@pytest.mark.parametrize("mixer", ["attention", "mamba"])
def test_weight_decay_shrinks_linear_maps_and_embeddings_and_nothing_else(mixer: str) -> None:
    model = LanguageModel(replace(tiny_model(mixer=mixer), mlp=2))
    kept = ("norm.weight", "mlp.0.weight", "convolution.weight", "bias", "conv1d.weight", "A_log", "mixer.D")
    optimiser = adamw(model, Optimiser(learning_rate=0.5, weight_decay=0.1))
    before = snapshot(model)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    for name, weight in snapshot(model).items():
        torch.testing.assert_close(weight, before[name] * (1.0 if name.endswith(kept) else 0.95))


@pytest.mark.parametrize(
    ("step", "steps", "warmup", "factor"),
    [
        (0, 105, 0.05, 1 / 5),
        (3, 105, 0.05, 4 / 5),
        (4, 105, 0.05, 1.0),
        (5, 105, 0.05, 1.0),
        (30, 105, 0.05, (2 + math.sqrt(2)) / 4),
        (55, 105, 0.05, 0.5),
        (105, 105, 0.05, 0.0),
        (0, 10, 0.0, 1.0),
        (9, 10, 1.0, 1.0),
        (0, 1, 0.05, 1.0),
    ],
)
def test_the_learning_rate_rises_in_a_line_and_falls_by_half_a_cosine(step: int, steps: int, warmup: float, factor: float) -> None:
    assert learning_rate_factor(step, steps, warmup) == pytest.approx(factor, abs=1e-12)


def test_a_step_is_as_long_as_the_schedule_says() -> None:
    """Adam's first step moves a weight by the learning rate, whatever its gradient, so the schedule can be read off the weights."""
    run = replace(tiny_run(steps=40), optimiser=Optimiser(learning_rate=1e-2, weight_decay=0.0, warmup=0.25))
    model = initial_model(run)
    before = snapshot(model)
    next(descent(run, model))
    moved = max((weight - before[name]).abs().max().item() for name, weight in model.state_dict().items())
    assert moved == pytest.approx(1e-2 / 10, rel=1e-3)


def test_a_long_gradient_is_cut_to_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []

    def record(optimiser: torch.optim.AdamW, *rest: object) -> None:
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        norms.append(torch.linalg.vector_norm(torch.cat([weight.grad.flatten() for weight in weights])).item())

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    run = tiny_run()
    for clip in (1e-3, 1e6):
        next(descent(replace(run, optimiser=Optimiser(clip=clip)), initial_model(run)))
    assert norms[0] == pytest.approx(1e-3, rel=1e-3)
    assert norms[1] > 1e-2


def test_a_model_starts_from_its_seed_alone() -> None:
    run = tiny_run()
    first, again, other = (snapshot(initial_model(each)) for each in (run, tiny_run(rate=1.0, steps=3), tiny_run(seed=1)))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_work_trains_the_run_that_a_dictionary_describes() -> None:
    run = tiny_run(steps=2)
    assert work(json.loads(json.dumps(run.to_dict()))) == train(run)


def cuda_out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation for Memory Management")


def windows_out_of_memory() -> None:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.")


def linux_out_of_memory() -> None:
    torch.empty(2**50)


@pytest.mark.parametrize("exhaust", [cuda_out_of_memory, windows_out_of_memory, linux_out_of_memory], ids=["cuda", "windows", "linux"])
def test_work_says_memory_error_however_torch_says_it(exhaust: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "train", lambda run: exhaust())
    with pytest.raises(MemoryError, match="memory") as error:
        work(tiny_run().to_dict())
    assert "\n" not in str(error.value)


def test_work_leaves_other_errors_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run: object) -> None:
        raise RuntimeError("not enough memory of the question: shapes differ")

    monkeypatch.setattr(training, "train", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        work(tiny_run().to_dict())


def test_a_result_beyond_the_wall_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "predict", lambda model, batch: batch.targets.astype(np.int64))  # the answers leak
    assert train(tiny_run(steps=1))["accuracy"] == 1
    monkeypatch.setattr(LanguageModel, "state_size", lambda model, length: 0)
    monkeypatch.setattr(training, "broken_contract", lambda model, tokens: None)  # which would refuse this at once
    with pytest.raises(RuntimeError, match=r"bits certified by a state of 0 bits"):
        train(tiny_run(steps=1))


def test_a_mixer_that_breaks_its_contract_is_refused_before_it_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LanguageModel, "state_size", lambda model, length: 1)
    with pytest.raises(InputError, match=r"^mixer 'attention': state_size\(1\) gives the model 1 scalars of state, and `step` carries 40$"):
        train(tiny_run())


@pytest.mark.parametrize("steps", [1, 3])
def test_the_pace_is_measured_on_the_steps_there_are(steps: int) -> None:
    assert 0 < training.seconds_per_step(replace(tiny_run(), budget=Budget(steps=steps, batch=8)), at_most=0.05) < 10


@pytest.mark.parametrize(
    ("mixer", "losses"),
    [
        ("attention", [3.3686, 2.9895, 3.0591, 2.8927]),
        ("linear_attention", [3.1517, 2.9656, 2.9579, 3.1331]),
        ("mamba", [3.0553, 2.8960, 3.1618, 3.0604]),
        ("mamba2", [3.0859, 3.0897, 2.8616, 3.0958]),
    ],
)
def test_the_same_run_trains_as_it_did_when_its_schema_was_given(mixer: str, losses: list[float]) -> None:
    """Where this fails on purpose (another initialisation, another schedule), raise `run.SCHEMA`: old rows are not those of today's runs."""
    assert SCHEMA == 3
    curve = train(tiny_run(model=tiny_model(mixer=mixer)))["curve"]
    assert [loss for _, loss, _ in curve] == pytest.approx(losses, rel=1e-3)


def test_with_the_loss_on_all_tokens_a_label_is_the_answer_or_else_the_next_token() -> None:
    batch = Batch(np.array([[5, 6, 7, 8]]), np.array([[IGNORE, 1, IGNORE, IGNORE]]))
    np.testing.assert_array_equal(training.labelled(batch, "all").targets, [[6, 1, 8, IGNORE]])
    np.testing.assert_array_equal(training.labelled(batch, "answers").targets, batch.targets)


def test_where_the_loss_is_taken_changes_what_is_learned_and_not_what_is_asked() -> None:
    answers, everywhere = (train(tiny_run(loss_on=where)) for where in ("answers", "all"))
    assert answers["curve"] != everywhere["curve"]
    assert [row[2] for row in answers["by_stratum"]] == [row[2] for row in everywhere["by_stratum"]]


def test_a_trained_model_is_judged_at_other_lengths_too_and_at_its_own_alike() -> None:
    result = train(tiny_run(task=Induction(length=16, values=2), steps=4, eval_lengths=(16, 40)))
    assert result["by_length"][0] == [16, result["accuracy"]]
    assert result["by_length"][1][0] == 40
    assert 0.3 < result["by_length"][1][1] < 0.9
    assert train(tiny_run(task=Induction(length=16, values=2), steps=4))["by_length"] == []


def test_a_task_without_a_length_of_its_own_has_no_other_lengths() -> None:
    with pytest.raises(ValueError, match="eval_lengths cannot be had: joint_recall has no field length"):
        tiny_run(task=JointRecall(), eval_lengths=(64,))


def test_joint_recall_is_judged_on_its_swap_probe_as_well() -> None:
    task = JointRecall(contexts=2, keys=2, values=4)
    result = train(tiny_run(task=task, model=tiny_model(task)))
    assert 0 <= result["probes"]["swap"] <= 1
    assert train(tiny_run())["probes"] == {}
