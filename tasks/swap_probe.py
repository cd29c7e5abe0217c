"""The swap probe of joint recall: does an answer follow the context token that stands before its question?"""

import numpy as np
from jaxtyping import Integer

from .joint_recall import SEP, JointRecall
from .task import IGNORE, Batch


def swapped_contexts(task: JointRecall, tokens: Integer[np.ndarray, "batch length"]) -> Batch:
    """The samples with two contexts exchanged among the questions; labelled is the first question of a block where that changes the answer.

    Who reads the context tokens answers all of these; who goes by anything else answers as before the exchange, for all else is what it was, and
    is right by luck only. Exchanged are the context asked first and the next one that differs. Later questions of a block are left out because
    the answers revealed before them are still those of the former context. A sample may have no label: the two contexts can agree where asked.

    Raises ValueError where only one context is asked, and as `JointRecall.solve` does.
    """
    is_context = (np.cumsum(tokens == SEP, axis=1) > 0) & (tokens >= task.first_context)
    row = np.arange(len(tokens))[:, None]
    first = tokens[row, is_context.argmax(axis=1)[:, None]]
    is_another = is_context & (tokens != first)
    if not is_another.any(axis=1).all():
        raise ValueError("two contexts must be asked in every sample for them to be exchanged")
    second = tokens[row, is_another.argmax(axis=1)[:, None]]
    swapped = np.select([is_context & (tokens == first), is_context & (tokens == second)], [second, first], tokens).astype(np.int32)
    recalled = task.solve(swapped)
    follows = (recalled != task.solve(tokens)) & (task.stratum(tokens) == 0)
    return Batch(swapped, np.where(follows, recalled, IGNORE).astype(np.int32))
