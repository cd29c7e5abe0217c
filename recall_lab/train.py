"""Training: a pure function from a run to its result."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .errors import InputError
from .models import LanguageModel, auxiliaries, broken_contract
from .run import LossOn, Optimiser, Run
from .score import beyond_the_wall, score, wall_bits
from .tasks import IGNORE, Batch, Stream, Task

EVALUATION_TOKENS = 2**14
"""tokens at a time, about, where no gradient is kept"""

CONTRACT_LENGTH = 24
"""tokens on which a mixer's contract is looked at: a few hundredths of a second"""


class Look(NamedTuple):
    """What is known of a run when the validation stream has been looked at."""

    step: int
    loss: float
    """mean training loss since the look before"""
    accuracy: float
    """on the validation stream"""


def train(run: Run, on_look: Callable[[Look], None] | None = None) -> dict[str, Any]:
    """Trains the run and reads the test stream once; the result is JSON, and bitwise the same on one machine and torch version.

    status is "finished", or "diverged" if the loss or an answer became infinite or no number: then the weights of the last look before that
    are the ones tested. One thread, deterministic algorithms. Raises InputError for a mixer that breaks its contract on the first tokens of the
    training stream (`broken_contract`), RuntimeError if more bits are certified than the state has.
    """
    with one_deterministic_thread():
        model = initial_model(run)
        few = run.task.sample(Stream(run.seed, "train"), 0, 2).tokens[:, :CONTRACT_LENGTH]
        if wrong := broken_contract(model, torch.from_numpy(few).long()):
            raise InputError(f"mixer {run.model.mixer!r}: {wrong}")
        looks, diverged = fit(run, model, on_look)
        batch = test_batch(run, run.task)
        scores = score(run.task, batch.tokens, batch.targets, predict(model, batch))
        probed = {name: accuracy(model, probe) for name, probe in run.task.probes(batch.tokens).items()}
        by_length = [[length, accuracy(model, test_batch(run, run.task_of_length(length)))] for length in run.budget.eval_lengths]
    state = model.state_size(run.task.cut)
    result = {
        "status": "diverged" if diverged else "finished",
        "steps": looks[-1].step,
        "validation_accuracy": looks[-1].accuracy,
        **scores,
        "probes": probed,
        "by_length": by_length,
        "curve": [list(look) for look in looks[1:]],
        "steps_to_90": next((look.step for look in looks if look.accuracy >= 0.9), None),
        "state_size": state,
        "state_bits": wall_bits(state),
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }
    if beyond_the_wall(result):
        raise RuntimeError(
            f"{result['certified_low']:.1f} bits certified by a state of {result['state_bits']} bits: the state is counted too small, or answers leak"
        )
    return result


def work(run: Mapping[str, Any]) -> dict[str, Any]:
    """`train` for a process of its own: from the run as a dictionary. Raises MemoryError where torch runs out of memory, on any device."""
    try:
        return train(Run.from_dict(run))
    except RuntimeError as error:
        if _lacks_memory(error):
            raise MemoryError(str(error).partition("\n")[0]) from error
        raise


def _lacks_memory(error: RuntimeError) -> bool:
    """On a CPU torch has no class for this: only the words of its allocator, on Linux or on Windows."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or (
        "DefaultCPUAllocator" in said and ("can't allocate memory" in said or "not enough memory" in said)
    )


@contextmanager
def one_deterministic_thread() -> Iterator[None]:
    """Sums in one fixed order, whatever the machine: the number of threads would change it."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


def initial_model(run: Run) -> LanguageModel:
    """The model with the weights that the run's seed gives it; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return LanguageModel(run.model)


def test_batch(run: Run, task: Task) -> Batch:
    """The samples on which the run is judged, of its own task or of one that differs in length."""
    return task.sample(Stream(run.data_seed, "test"), 0, run.budget.test)


def fit(run: Run, model: LanguageModel, on_look: Callable[[Look], None] | None = None) -> tuple[list[Look], bool]:
    """Trains in place; the looks at the validation stream, from before the first step on, and whether loss or answers left the numbers."""
    budget = run.budget
    validation = run.task.sample(Stream(run.data_seed, "validation"), 0, budget.validation)
    looks = [Look(0, math.nan, accuracy(model, validation) or 0.0)]
    good = snapshot(model)
    losses: list[float] = []
    for step, loss in enumerate(descent(run, model), start=1):
        losses.append(loss)
        if math.isfinite(loss) and step % budget.check_every and step < budget.steps:
            continue
        reached = accuracy(model, validation) if math.isfinite(loss) else None
        if reached is None:
            model.load_state_dict(good)
            return looks, True
        looks.append(Look(step, float(np.mean(losses)), reached))
        good, losses = snapshot(model), []
        if on_look:
            on_look(looks[-1])
        if min(look.accuracy for look in looks[-2:]) >= budget.stop_at:
            break
    return looks, False


def descent(run: Run, model: LanguageModel) -> Iterator[float]:
    """Trains in place, one step each time it is asked, and yields the loss before the step; none is made from a loss that is no number."""
    optimiser = adamw(model, run.optimiser)
    steps, warmup = run.budget.steps, run.optimiser.warmup
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate_factor(step, steps, warmup))
    for step, batch in enumerate(training_batches(run)):
        loss = cross_entropy(model, labelled(batch, run.budget.loss_on))
        if loss.isfinite():
            optimiser.zero_grad()
            torch.autograd.backward([loss, *auxiliary_losses(model, batch, draw_of(run.seed, step))])
            clip_each(model, run.optimiser.clip)
            optimiser.step()
            schedule.step()
        yield loss.item()


def draw_of(seed: int, step: int) -> torch.Generator:
    """What is random in a step beside its samples."""
    (state,) = np.random.SeedSequence((seed, step)).generate_state(1)  # torch's generator reads 32 bits of a seed
    return torch.Generator().manual_seed(int(state))


def auxiliary_losses(model: LanguageModel, batch: Batch, draw: torch.Generator) -> list[torch.Tensor]:
    """The losses of what learns by itself, of positions up to the last question: what comes after it is answers to nothing, and padding."""
    asked_yet = np.maximum.accumulate(batch.targets[:, ::-1] != IGNORE, axis=1)[:, ::-1]
    read = torch.from_numpy(np.ascontiguousarray(asked_yet))
    return [auxiliary.loss(read, draw) for auxiliary in auxiliaries(model)]


def clip_each(model: LanguageModel, norm: float) -> None:
    """Bounds the gradient of the loss on answers, and apart from it that of each auxiliary loss: neither shortens the other's steps."""
    for weights in (trained_by_answers(model), *(auxiliary.parameters() for auxiliary in auxiliaries(model))):
        torch.nn.utils.clip_grad_norm_(weights, norm)


def trained_by_answers(model: LanguageModel) -> list[nn.Parameter]:
    """All weights but those that learn by themselves."""
    apart = {weight for auxiliary in auxiliaries(model) for weight in auxiliary.parameters()}
    return [weight for weight in model.parameters() if weight not in apart]


def training_batches(run: Run) -> Iterator[Batch]:
    """Fresh samples for every step, made several steps at a time."""
    stream, size, steps = Stream(run.seed, "train"), run.budget.batch, run.budget.steps
    block = max(1, 512 // size)
    for first in range(0, steps, block):
        count = min(block, steps - first)
        made = run.task.sample(stream, first * size, count * size)
        for at in range(0, count * size, size):
            yield Batch(made.tokens[at : at + size], made.targets[at : at + size])


def labelled(batch: Batch, where: LossOn) -> Batch:
    """The batch with the labels that the loss is taken on: as it is, or with the next token wherever there is no answer."""
    if where == "answers":
        return batch
    following = np.concatenate([batch.tokens[:, 1:], np.full_like(batch.tokens[:, :1], IGNORE)], axis=1)
    return Batch(batch.tokens, np.where(batch.targets == IGNORE, following, batch.targets))


def cross_entropy(model: LanguageModel, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy in nats over the labelled positions; only there is the unembedding applied."""
    asked = np.flatnonzero(batch.targets != IGNORE)
    answers = torch.from_numpy(batch.targets.reshape(-1)[asked]).long()
    logits = model.logits_at(torch.from_numpy(batch.tokens).long(), torch.from_numpy(asked))
    return F.cross_entropy(logits, answers)


@torch.no_grad()
def predict(model: LanguageModel, batch: Batch) -> np.ndarray:
    """The most likely token at each labelled position, IGNORE elsewhere and where a logit is no number: `[batch, length]` int64."""
    predictions = np.full(batch.targets.shape, IGNORE, np.int64)
    rows = max(1, EVALUATION_TOKENS // batch.tokens.shape[1])
    for at in range(0, len(batch.tokens), rows):
        part = slice(at, at + rows)
        asked = np.flatnonzero(batch.targets[part] != IGNORE)
        logits = model.logits_at(torch.from_numpy(batch.tokens[part]).long(), torch.from_numpy(asked))
        numbers = logits.isfinite().all(dim=-1)
        predictions[part].reshape(-1)[asked] = torch.where(numbers, logits.argmax(dim=-1), IGNORE).numpy()
    return predictions


def accuracy(model: LanguageModel, batch: Batch) -> float | None:
    """Share of questions answered rightly; None where any answer is no number: the weights are broken then, whatever the last loss was."""
    asked = batch.targets != IGNORE
    answers = predict(model, batch)[asked]
    return None if (answers == IGNORE).any() else float((answers == batch.targets[asked]).mean())


def adamw(model: LanguageModel, optimiser: Optimiser) -> torch.optim.AdamW:
    """AdamW (arXiv:1711.05101) that decays the weights of linear maps and embeddings, and leaves scales, biases, taps and rates alone.

    What learns by itself has the learning rate that it asks for, and does not decay.
    """
    decayed = {module.weight for module in model.modules() if isinstance(module, nn.Linear | nn.Embedding)}
    weights = trained_by_answers(model)
    others = [weight for weight in weights if weight not in decayed]
    matrices = [weight for weight in weights if weight in decayed]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": optimiser.weight_decay},
        {"params": others, "weight_decay": 0.0},
        *({"params": list(each.parameters()), "weight_decay": 0.0, "lr": each.learning_rate} for each in auxiliaries(model)),
    ]
    return torch.optim.AdamW(groups, lr=optimiser.learning_rate, betas=(0.9, 0.999))


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Share of the peak at a step counted from 0: linear over the first `warmup * steps`, then half a cosine to 0 over the whole budget.

    It depends on the budget, not on when a run stops: a run that stops early equals the beginning of one that does not.
    """
    warm = max(1, round(warmup * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def snapshot(model: LanguageModel) -> dict[str, torch.Tensor]:
    """A copy of the weights."""
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def seconds_per_step(run: Run, at_most: float) -> float:
    """Wall-clock time of a training step, measured for about `at_most` seconds after one step to warm up."""
    with one_deterministic_thread():
        began = time.perf_counter()
        taken = 0
        for taken, _ in enumerate(descent(run, initial_model(run))):
            if taken == 0 and run.budget.steps > 1:
                began = time.perf_counter()
            elif time.perf_counter() - began > at_most:
                break
        return (time.perf_counter() - began) / max(1, taken)
