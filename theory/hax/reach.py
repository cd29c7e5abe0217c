"""What of a table can be reached from the questions through an attention: by its mask, and by the operator at work.

Layers above the first change nothing: a position after the cut is a function, in every layer, of what was reached before it. So the table
is known to the questions through the entries (keys, values, scores: all that is cached) of positions before the cut that some position
after it sees, of all layers, and through a state that is handed on from position to position.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from ...kernels import Pattern, pattern_mask, sparse_attention
from ...tasks import JointRecall
from ..wall import keep_some

TASK = JointRecall(contexts=16, keys=16)
"""the largest table of the paper"""
UP_TO_SEP = TASK.cut + 1
"""SEP is read before anything is asked"""
VALUES = TASK.values
WORD = 4
"""bits of an answer: in what is checked here an entry has room for one, and so has a state"""


def seen(pattern: Pattern, length: int, cut: int) -> Bool[Tensor, "rows cut"]:
    """Which of the positions 0 .. cut-1 some position from `cut` on sees, by `pattern_mask`; a row for each of the pattern's batch."""
    return pattern_mask(pattern, length)[:, 0, cut:, :cut].any(dim=1)


def read(pattern: Pattern, length: int, cut: int) -> Bool[Tensor, "1 cut"]:
    """The same of a fixed pattern by `sparse_attention`: those whose value has a weight in an output, with the same score for all that is seen."""
    query = torch.zeros(1, 1, length, 1)
    value = torch.eye(length)[None, None, :, :cut]
    return (sparse_attention(query, query, value, pattern)[:, 0, cut:] > 0).any(dim=1)


def certified_by_entries(entries: int, questions: int) -> float:
    """Bits certified where a state and each of `entries` hold another of the answers, WORD bits each, and the others are guessed."""
    return float(keep_some(questions, VALUES, distinct=False).certified[min(1 + entries, questions)])
