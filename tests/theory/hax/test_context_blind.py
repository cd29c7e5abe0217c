"""What can be had in joint recall without contexts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.tasks import IGNORE, Batch, JointRecall, Stream
from recall_lab.tasks.joint_recall import Layout
from recall_lab.tasks.joint_recall_controls import mode_accuracy
from recall_lab.tasks.joint_recall_strategies import READERS
from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import context_blind
from recall_lab.theory.hax.context_blind import accuracies, best_accuracy, every_sample, on_every_sample, without_contexts


@st.composite
def small_tasks(draw: st.DrawFn) -> JointRecall:
    contexts = draw(st.integers(1, 4))
    keys = draw(st.integers(1, 4 // contexts))
    layout: Layout = draw(st.sampled_from(["paper", "triples"]))
    return JointRecall(contexts=contexts, keys=keys, values=2, layout=layout, reveal=draw(st.booleans()))


@given(task=small_tasks())
def test_every_table_is_listed_once_in_every_order_of_questions(task: JointRecall) -> None:
    tokens, targets = every_sample(task)
    c, k = task.cells[0]
    orders = math.factorial(c) * math.factorial(k) ** c if task.layout == "paper" else math.factorial(c * k)
    assert tokens.shape == (2 ** (c * k) * orders, task.length)
    assert len(np.unique(np.hstack([tokens, targets]), axis=0)) == len(tokens)
    np.testing.assert_array_equal(task.solve(tokens), targets)
    asked = {row.tobytes() for row in tokens[:, task.length // 2 :]}
    assert all(row.tobytes() in asked for row in task.sample(Stream(0, "train"), 0, 20).tokens[:, task.length // 2 :])


@pytest.mark.parametrize("reveal", [True, False])
@pytest.mark.parametrize("layout", ["paper", "triples"])
def test_no_reader_is_better_than_the_best_guesser_who_knows_all_once_shown_contexts(layout: Layout, reveal: bool) -> None:
    task = JointRecall(contexts=2, keys=2, values=2, layout=layout, reveal=reveal)
    assert best_accuracy(every_sample(task)) == 1.0
    found = {blind: on_every_sample(task, blind) for blind in READERS}
    (best,) = {best for best, _ in found.values()}
    assert best == pytest.approx(found["context_token_blind"][1])
    assert max(reader for blind, (_, reader) in found.items() if blind != "key_blind") <= best + 1e-12
    assert 0.5 < best < 1.0


def test_the_best_guess_is_the_most_frequent_answer_of_what_looks_alike() -> None:
    tokens = np.array([[7, 1], [7, 1], [7, 1], [8, 1]])
    targets = np.array([[IGNORE, 5], [IGNORE, 5], [IGNORE, 6], [IGNORE, 6]])
    assert best_accuracy(Batch(tokens, targets)) == 3 / 4
    assert best_accuracy(Batch(np.ones_like(tokens), targets)) == 2 / 4
    later = np.flip(tokens, axis=1).copy()
    assert best_accuracy(Batch(later, np.flip(targets, axis=1).copy())) == 2 / 4  # what follows the question is not seen


def test_the_accuracy_of_a_sample_is_over_its_questions() -> None:
    targets, found = np.array([[IGNORE, 3, 4], [IGNORE, IGNORE, 4]], np.int32), np.array([[3, 3, 3], [IGNORE, IGNORE, 3]], np.int32)
    np.testing.assert_array_equal(accuracies(targets, found), [0.5, 0.0])


def test_contexts_that_are_taken_away_leave_everything_else() -> None:
    task = JointRecall(contexts=3, keys=2, values=2)
    tokens = task.sample(Stream(0, "test"), 0, 50).tokens
    blind = without_contexts(task, tokens)
    is_context = tokens >= task.first_context
    assert (blind[is_context] == task.first_context).all()
    np.testing.assert_array_equal(blind[~is_context], tokens[~is_context])


@pytest.fixture(autouse=True)
def _small_tasks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAPER", "STATED", "SAMPLES"):
        monkeypatch.setattr(context_blind, name, getattr(context_blind, name)[4:])


def broken() -> bool:
    return not CLAIMS["hax.context_blind"].check("quick", seed=0).holds


def test_a_ceiling_without_striking_out_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JointRecall, "_guessed", lambda task, candidates: mode_accuracy(candidates, task.values))
    assert broken()


def test_readers_who_are_shown_contexts_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_blind, "without_contexts", lambda task, tokens: tokens)
    assert broken()


@pytest.mark.parametrize("other", ["bag", "key_blind", "context_token_blind"])
def test_another_reader_breaks_the_claim(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.setitem(READERS, "context_blind", READERS[other])
    assert broken()
