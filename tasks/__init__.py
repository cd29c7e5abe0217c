"""Recall problems: generators, oracles, controls and what the answers are worth in bits. NumPy, SciPy and jaxtyping, no torch.

Every module in this folder that defines a `Task` with a `name` is found by itself: adding a task is adding a file.
"""

import importlib
import pkgutil

from .draws import below, distinct, halved, halves, race, unit_interval
from .information import certified_bits, entropy_without_replacement
from .slots import slot_law
from .stream import Split, Stream
from .task import IGNORE, TASKS, Batch, Task

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

from .ar import AR  # noqa: E402
from .bigram import Bigram  # noqa: E402
from .induction import Induction  # noqa: E402
from .joint_recall import JointRecall  # noqa: E402
from .mqar import MQAR  # noqa: E402
from .mqar_update import MQARUpdate  # noqa: E402
from .nested_recall import NestedRecall  # noqa: E402
from .selective_copy import SelectiveCopy  # noqa: E402
from .swap_probe import swapped_contexts  # noqa: E402

__all__ = [
    "AR",
    "IGNORE",
    "MQAR",
    "TASKS",
    "Batch",
    "Bigram",
    "Induction",
    "JointRecall",
    "MQARUpdate",
    "NestedRecall",
    "SelectiveCopy",
    "Split",
    "Stream",
    "Task",
    "below",
    "certified_bits",
    "distinct",
    "entropy_without_replacement",
    "halved",
    "halves",
    "race",
    "slot_law",
    "swapped_contexts",
    "unit_interval",
]
