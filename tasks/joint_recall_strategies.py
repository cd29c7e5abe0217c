"""The controls of joint recall as readers that can be watched: what each of them answers, question by question.

`JointRecall.controls` says by formula how often they are right; here they play, so that the formulas can be held against samples and a reader can
be shown what it is that a model might do instead of recalling. They go through a sample from left to right and are not fast.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int32, Integer

from .joint_recall import FIRST_VALUE, SEP, JointRecall
from .task import IGNORE

Blind = Literal["chance", "bag", "context_blind", "key_blind", "context_token_blind"]
"""which control is played, by its name in `JointRecall.controls`"""


class Entry(NamedTuple):
    """An entry of the table where it is shown or asked."""

    position: int
    """of its key; the next token is its value, or what follows the question"""
    asked: bool
    """whether it stands after SEP"""
    opens: bool
    """whether its key is the first after a context"""
    context: int
    key: int


Answers = Iterator[tuple[int, int]]
"""(position of the question, value guessed), from left to right"""


def guesses(task: JointRecall, tokens: Integer[np.ndarray, "batch length"], blind: Blind) -> Int32[np.ndarray, "batch length"]:
    """The best guess at each question for a reader who lacks what `blind` says, from the tokens before the answer; IGNORE where nothing is asked.

    "chance" always names the first value. "bag" (blind to contexts and keys), "context_blind" and "key_blind" name the most frequent value that
    is left among entries that they cannot tell apart. "context_token_blind" sees where a context stands, but not which.
    """
    read = READERS[blind]
    answers = np.full(tokens.shape, IGNORE, np.int32)
    for row, answered in zip(tokens.tolist(), answers, strict=True):
        for position, guess in read(task, row):
            answered[position] = guess
    return answers


def _entries(task: JointRecall, row: Sequence[int]) -> Iterator[Entry]:
    """All entries shown, then all that are asked, in their order."""
    first_key, first_context = task.first_key, task.first_context
    asked, opens, context = False, False, first_context
    for position, token in enumerate(row):
        if token == SEP:
            asked = True
        elif token >= first_context:
            opens, context = True, token
        elif token >= first_key:
            yield Entry(position, asked, opens, context, token)
            opens = False


def _first_value(task: JointRecall, row: Sequence[int]) -> Answers:
    """The same value whatever is asked."""
    for entry in _entries(task, row):
        if entry.asked:
            yield entry.position, FIRST_VALUE


def _most_frequent(task: JointRecall, row: Sequence[int], *, group: Callable[[Entry], int]) -> Answers:
    """The most frequent value of the entry's group; an answer that is revealed is struck out, since no entry is asked twice."""
    left: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for entry in _entries(task, row):
        candidates = left[group(entry)]
        if not entry.asked:
            candidates[row[entry.position + 1]] += 1
            continue
        yield entry.position, _mode(candidates)
        if task.reveal:
            candidates[row[entry.position + 1]] -= 1


def _matched(task: JointRecall, row: Sequence[int]) -> Answers:
    """The most frequent value of the key in the blocks that this one may be: not used up, and of the same values wherever one was revealed.

    Where no answers are revealed, nothing tells one block from another or uses it up.
    """
    unused: list[dict[int, int]] = []
    alike: list[dict[int, int]] = []
    for entry in _entries(task, row):
        if not entry.asked:
            if entry.opens:
                unused.append({})
            unused[-1][entry.key] = row[entry.position + 1]
            continue
        if entry.opens:
            if task.reveal and alike:
                unused.remove(alike[0])  # the block before was one of these, and which does not matter: their values are equal where asked
            alike = unused
        yield entry.position, _mode(Counter(block[entry.key] for block in alike if entry.key in block))
        if task.reveal:
            alike = [block for block in alike if block.get(entry.key) == row[entry.position + 1]]


def _mode(candidates: Counter[int]) -> int:
    """The most frequent value, of several the one met first."""
    return candidates.most_common(1)[0][0]


READERS: dict[Blind, Callable[[JointRecall, Sequence[int]], Answers]] = {
    "chance": _first_value,
    "bag": partial(_most_frequent, group=lambda _: 0),
    "context_blind": partial(_most_frequent, group=lambda entry: entry.key),
    "key_blind": partial(_most_frequent, group=lambda entry: entry.context),
    "context_token_blind": _matched,
}
