"""Key-value recall in one block of Mamba or Mamba-2: what has to depend on the token to store, and what to overwrite.

The weights are those of `slots.py`, which answer every question of `mqar` and, where they replace, of `mqar_update`. Where a filler value
stands behind a key of the sample, it is stored as the key's value; so there must be no filler key of a sample's own (filler is not
"zoology"), and where keys are asked repeatedly, no filler value behind a question (filler is "own" or "blank").

**On updates** a memory that adds holds two values of equal weight for a key that was updated, hence names either; values are alike, so it
is right on 1 - U/(2K) of the questions, for U updates of K keys. [] To replace takes a channel (in Mamba-2: a head) for each key that steps
at this key's writes alone (`mamba/overwriting.py`), and the blocks that replace have one or, in Mamba, one a value.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...models import LanguageModel
from ...tasks import MQAR, MQARUpdate, Stream
from ..claim import Claim, Evidence, Scale
from .mqar import answered
from .slots import (
    Alphabet,
    adding,
    adding_state,
    replacing,
    replacing_heads,
    replacing_heads_state,
    replacing_state,
    sharing,
    sharing_state,
)


class Memory(NamedTuple):
    """A block of `slots.py` as a memory."""

    build: Callable[[Alphabet], LanguageModel]
    state: Callable[[int, int], int]
    """scalars, from the numbers of keys and values"""
    replaces: bool
    """or adds"""


MEMORIES = {
    "adding": Memory(adding, adding_state, False),
    "sharing": Memory(sharing, sharing_state, False),
    "replacing": Memory(replacing, replacing_state, True),
    "replacing_heads": Memory(replacing_heads, replacing_heads_state, True),
}
"""by name: nothing is selective; B and C are; the step is; the step is, in Mamba-2"""


def key_value_construction(task: MQAR | MQARUpdate, memory: str = "replacing") -> LanguageModel:
    """The model of this module for `task`. Raises ValueError for an unknown memory, and where filler would be stored as a key's value."""
    if memory not in MEMORIES:
        raise ValueError(f"memory must be one of {', '.join(MEMORIES)}, got {memory!r}")
    if task.filler == "zoology":
        raise ValueError("filler must be own, blank or any (a filler value behind a filler key would be stored), got 'zoology'")
    if task.filler == "any" and isinstance(task, MQAR) and task.repeat_queries:
        raise ValueError("filler must be own or blank with repeat_queries (a filler value behind a question would be stored), got 'any'")
    vocabulary = task.vocabulary
    keys, values = range(vocabulary.first_key, vocabulary.first_value), range(vocabulary.first_value, vocabulary.first_filler)
    return MEMORIES[memory].build(Alphabet(task.vocab_size, keys, values))


def _tasks(scale: Scale) -> list[MQAR | MQARUpdate]:
    tasks: list[MQAR | MQARUpdate] = [
        MQAR(length=64, pairs=8, keys=8, values=16),
        MQAR(length=128, pairs=8, keys=12, values=8, layout="scattered", iid_values=True),
        MQAR(length=64, pairs=4, keys=6, values=8, queries=20, repeat_queries=True),
        MQARUpdate(length=128, pairs=8, updates=8, keys=8, values=16),
        MQARUpdate(length=128, pairs=8, updates=3, keys=12, values=16),
    ]
    if scale == "full":
        tasks += [MQAR(length=256, pairs=16, keys=16, values=32), MQARUpdate(length=256, pairs=16, updates=8, keys=16, values=24)]
    return tasks


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on every memory: pairs packed and scattered, keys asked repeatedly, some keys or all of them updated."""
    count = 64 if scale == "quick" else 256
    accuracy, expected, noise, state, stated, needed = [], [], [], [], [], []
    for task in _tasks(scale):
        batch = task.sample(Stream(seed, "test"), 0, count)
        for name, memory in MEMORIES.items():
            model = key_value_construction(task, name)
            accuracy.append(answered(model, batch).mean())
            state.append(model.state_size(task.cut))
            stated.append(memory.state(task.keys, task.values))
            needed.append(task.answer_bits)
            updates = task.updates if isinstance(task, MQARUpdate) and not memory.replaces else 0
            expected.append(1 - updates / (2 * task.pairs))
            # U tosses a sample, independent: which of two values has the lesser number
            noise.append(4 * 0.5 * updates**0.5 / task.pairs / count**0.5)
    exact = np.zeros(len(state))
    return Evidence(
        quantity="accuracy of weights set by hand on mqar and mqar_update, then the scalars of state that they carry",
        measured=np.array([accuracy, state]),
        predicted=np.array([expected, stated]),
        at_least=np.array([exact, np.array(needed) / 32]),
        tolerance=np.array([noise, exact]),
        arrays={"state_scalars": np.array(state), "answer_bits": np.array(needed)},
    )


KEY_VALUE = Claim(
    name="mamba.key_value",
    statement=(
        "One block answers every question of mqar (K keys, v values, filler of its own) in a state that does not grow: Mamba with nothing "
        "selective, in 2 max(K v, K+v) scalars; with B and C selective, in (v + 2K)(K+1); with the step selective, in 2 K (v+1), and then "
        "every question of mqar_update too; and so does Mamba-2 with a head a key behind a two-tap convolution, in 2 K max(v, 2 + "
        "ceil(v/K)). The first two are right on 1 - U/(2K) of mqar_update, U of whose K keys are updated."
    ),
    source="new; the models are those of arXiv:2312.00752, algorithm 2, and arXiv:2405.21060, section 7",
    standing="new",
    check=_check,
)
