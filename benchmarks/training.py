"""A training step that unembeds only where an answer is asked, against one that unembeds every position and ignores the rest.

Both are the step of `recall_lab.train` (loss, gradient, clipping, AdamW) on the same batch and from the same weights, one thread; their
gradients are compared before anything is timed.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from recall_lab.models import LanguageModel, LanguageModelConfig
from recall_lab.run import Run
from recall_lab.tasks import IGNORE, MQAR, Batch, Stream
from recall_lab.train import adamw, cross_entropy, initial_model, one_deterministic_thread

from .paired import Row, in_turns

LENGTH, PAIRS, VOCABULARY = 512, 64, 8192
BATCH, WIDTH, DEPTH = 64, 64, 2

Loss = Callable[[LanguageModel, Batch], Tensor]


def measure() -> list[Row]:
    """One row."""
    task = MQAR.zoology(vocab_size=VOCABULARY, input_seq_len=LENGTH, num_kv_pairs=PAIRS)
    run = Run(task=task, model=LanguageModelConfig(vocab_size=VOCABULARY, mixer="attention", fields={"width": WIDTH}, depth=DEPTH))
    batch = task.sample(Stream(0), 0, BATCH)
    with one_deterministic_thread():
        check_gradients(initial_model(run), batch)
        ours, other = in_turns(stepper(run, cross_entropy, batch), stepper(run, loss_everywhere, batch), turns=3)
    note = f"attention, {DEPTH} layers {WIDTH} wide, batch {BATCH}, length {LENGTH}, {PAIRS} questions, {VOCABULARY} tokens, 1 thread"
    return [Row("training step, labelled positions / all", ours, other, other / ours, 5.0, note)]


def stepper(run: Run, loss: Loss, batch: Batch) -> Callable[[], None]:
    """A training step as a function without arguments; each call goes on from the weights that the one before left."""
    model = initial_model(run)
    optimiser = adamw(model, run.optimiser)

    def step() -> None:
        optimiser.zero_grad()
        torch.autograd.backward(loss(model, batch))
        torch.nn.utils.clip_grad_norm_(model.parameters(), run.optimiser.clip)
        optimiser.step()

    return step


def loss_everywhere(model: LanguageModel, batch: Batch) -> Tensor:
    """`cross_entropy` as one writes it down first: logits at every position, most of them ignored by the loss."""
    logits = model(torch.from_numpy(batch.tokens).long())
    return F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.targets).long().flatten(), ignore_index=IGNORE)


def check_gradients(model: LanguageModel, batch: Batch) -> None:
    """Raises AssertionError where the two losses differ in a gradient by more than a millionth of its largest entry."""
    weights = list(model.parameters())
    sides = [torch.autograd.grad(loss(model, batch), weights) for loss in (cross_entropy, loss_everywhere)]
    for ours, other in zip(*sides, strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-6 * other.abs().max().item())
