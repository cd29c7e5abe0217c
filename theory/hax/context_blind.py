"""Who reads keys and no contexts answers m_r / r of joint recall, r the values that the key may still have: 23.66 or 39.26 % at the paper's sizes.

m_r is the expected largest multiplicity among r independent uniform draws of v values (`tasks/top_count.py`). A table of n_c contexts shows every
key n_c times and asks it n_c times, in an order that is drawn uniformly and that nothing shown depends on. The accuracy is

    m_(n_c) / n_c                        where answers are not revealed, in blocks or triples,
    sum_(r = 1 .. n_c) m_r / (r n_c)     where they are revealed, in triples.

**Proof.** Entries of one key differ, to a reader who sees no context tokens, in their value and in where they are shown. The first half is
independent of the order in which contexts are asked; so where nothing is revealed, each of the n_c entries is as likely as any other to be the one
that is asked, whatever has been seen, and this block or that one makes no difference. The best guess is the most frequent of their values. In
triples an answer that is revealed says which entry of its key is used up, or that it is one of several of the same value, which is as good; about
other keys it says nothing. The r entries that are left are as likely as each other, and their values are independent of the order in which they
were asked: r uniform draws. A key is asked once with each r = n_c .. 1 entries left. []

In blocks with revealed answers, the paper's setting, going by the key alone is right as often as in triples, but it is no longer the best that can
be done without context tokens: see `block_shortcut.py`.
"""

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
from jaxtyping import Float64, Int32, Int64, Integer

from ...tasks import IGNORE, Batch, JointRecall, Stream
from ...tasks.joint_recall import BLANK, BOS, FIRST_VALUE, SEP, Layout
from ...tasks.joint_recall_strategies import Blind, guesses
from ..claim import Claim, Evidence, Scale

Order = tuple[tuple[int, tuple[int, ...]], ...]
"""contexts, each with the keys of its block, as they are asked; in triples a block has one key"""

ASKED: tuple[tuple[Layout, bool], ...] = (("triples", True), ("triples", False), ("paper", False))
"""layouts, and whether answers are revealed, of which the proof is"""
SMALL = [
    JointRecall(contexts=contexts, keys=keys, values=values, layout=layout, reveal=reveal)
    for layout, reveal in ASKED
    for contexts, keys, values in ((2, 2, 3), (3, 1, 3), (4, 1, 2))
]
"""listed whole, question by question and answer by answer"""

PAPER = [JointRecall(contexts=size, keys=size, reveal=reveal) for size in ((5, 16), 16, 5) for reveal in (False, True)]
STATED = (0.2366, 0.3926, 0.1924, 0.3189, 0.3074, 0.5141)
SAMPLES = (432, 432, 50, 50, 300, 300)
"""the accuracy stated, and samples drawn, for each of PAPER; of 144 sizes as many of each"""


def orders(task: JointRecall) -> Iterator[Order]:
    """Every order in which a table of one size may be asked."""
    ((contexts, keys),) = task.cells
    if task.layout == "triples":
        for entries in permutations(product(range(contexts), range(keys))):
            yield tuple((context, (key,)) for context, key in entries)
        return
    for blocks in permutations(range(contexts)):
        for within in product(permutations(range(keys)), repeat=contexts):
            yield tuple(zip(blocks, within, strict=True))


def every_sample(task: JointRecall) -> Batch:
    """All tables of one size in every order of the questions, each once; all are shown in one order, on which nothing else depends."""
    values = np.array(list(product(range(task.values), repeat=task.answers))) + FIRST_VALUE
    tables = values.reshape(-1, task.most_contexts, task.most_keys)
    all_orders = list(orders(task))
    shown = _half(task, tables, all_orders[0], hidden=False)
    tokens, targets = [], []
    for order in all_orders:
        asked = _half(task, tables, order, hidden=not task.reveal)
        answer = np.roll(_half(task, tables, order, hidden=False), -1, axis=1)
        is_key = (asked >= task.first_key) & (asked < task.first_context)
        head, middle = (np.full((len(tables), 1), token) for token in (BOS, SEP))
        tokens.append(np.hstack([head, shown, middle, asked]))
        targets.append(np.hstack([np.full((len(tables), shown.shape[1] + 2), IGNORE), np.where(is_key, answer, IGNORE)]))
    return Batch(np.concatenate(tokens).astype(np.int32), np.concatenate(targets).astype(np.int32))


def _half(
    task: JointRecall, tables: Int64[np.ndarray, "tables contexts keys"], order: Order, *, hidden: bool
) -> Int64[np.ndarray, "tables half"]:
    """One half of the samples of these tables, with BLANK for values if they are hidden."""
    columns = []
    for context, keys in order:
        columns.append(np.full(len(tables), task.first_context + context))
        for key in keys:
            columns += [np.full(len(tables), task.first_key + key), np.full(len(tables), BLANK) if hidden else tables[:, context, key]]
    return np.stack(columns, axis=1)


def without_contexts(task: JointRecall, tokens: Integer[np.ndarray, "batch length"]) -> Integer[np.ndarray, "batch length"]:
    """The same tokens with one context in the place of all."""
    one: Integer[np.ndarray, "batch length"] = np.minimum(tokens, task.first_context)
    return one


def best_accuracy(samples: Batch) -> float:
    """The accuracy over all questions of the best guesser there is, who sees the tokens up to a question, on samples that are equally likely.

    Samples of one size, all that there are: those that look the same so far are grouped, and each group gets its most frequent answer.
    """
    group, right, asked = np.zeros(len(samples.tokens), np.int64), 0, 0
    symbols = int(max(samples.tokens.max(), samples.targets.max())) + 1
    for token, answer in zip(samples.tokens.T, samples.targets.T, strict=True):
        group = np.unique(symbols * group + token, return_inverse=True)[1]
        if (answer != IGNORE).all():
            right += int(
                np.bincount(symbols * group + answer, minlength=symbols * (group.max() + 1)).reshape(-1, symbols).max(axis=1).sum()
            )
            asked += len(answer)
    return right / asked


def read(task: JointRecall, tokens: Integer[np.ndarray, "batch length"], blind: Blind) -> Int32[np.ndarray, "batch length"]:
    """What a reader (`tasks/joint_recall_strategies.py`) answers who is shown no context."""
    return guesses(task, without_contexts(task, tokens), blind)


def accuracies(targets: Int32[np.ndarray, "batch length"], found: Int32[np.ndarray, "batch length"]) -> Float64[np.ndarray, " batch"]:
    """The accuracy in each sample."""
    asked = targets != IGNORE
    accuracy: Float64[np.ndarray, " batch"] = (asked & (found == targets)).sum(axis=1) / asked.sum(axis=1)
    return accuracy


def on_every_sample(task: JointRecall, blind: Blind) -> tuple[float, float]:
    """The accuracy over all samples that there are of the best guesser and of a reader, who are shown no context."""
    tokens, targets = every_sample(task)
    return best_accuracy(Batch(without_contexts(task, tokens), targets)), float(accuracies(targets, read(task, tokens, blind)).mean())


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on small tasks whole, the best guesser and the reader; then the stated figures, and the reader on samples of the paper's sizes."""
    small, paper = ([task.controls()["context_blind"] for task in tasks] for tasks in (SMALL, PAPER))
    whole = np.array([on_every_sample(task, "context_blind") for task in SMALL])
    mean, error = [], []
    for task, count in zip(PAPER, SAMPLES, strict=True):
        samples = task.sample(Stream(seed, "test"), 0, count if scale == "quick" else 20 * count)
        drawn = accuracies(samples.targets, read(task, samples.tokens, "context_blind"))
        mean.append(drawn.mean())
        error.append(drawn.std(ddof=1) / np.sqrt(len(drawn)))
    return Evidence(
        quantity="accuracy without contexts: of all readers the best, then one, on small tasks whole; at the paper's sizes by formula, sampled",
        measured=np.concatenate([*whole.T, paper, mean]),
        predicted=np.concatenate([small, small, STATED, paper]),
        tolerance=np.concatenate([np.full(whole.size, 1e-12), np.full(len(PAPER), 5e-5), 4 * np.array(error)]),
    )


CONTEXT_BLIND = Claim(
    name="hax.context_blind",
    statement=(
        "Of joint recall with n_c contexts, the best reader blind to context tokens answers m_(n_c) / n_c if answers are not revealed, and the "
        "mean of m_r / r over r = 1 .. n_c if they are and come in triples, m_r the expected largest multiplicity among r uniform draws of the "
        "values. Going by keys alone is as good in the paper's layout: 23.66 % or 39.26 % with 5 to 16 contexts and keys and 16 values, 19.24 or "
        "31.89 % with 16, 30.74 or 51.41 % with 5."
    ),
    source="new; the task is that of arXiv:2507.00449",
    standing="new",
    check=_check,
)
