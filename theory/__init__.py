"""What can be recalled at all, and at what cost: claims with their source and a check, the laws behind them, explicit weights.

Every module below this folder is imported, and every `Claim` at the top of one is found by itself: adding a theorem is adding a file.
"""

import importlib
import pkgutil

from ..tasks import slot_law
from .claim import Check, Claim, Evidence, Scale, Standing
from .constructions.induction import induction_construction, unselective_induction_construction
from .constructions.joint_recall import joint_recall_construction
from .constructions.joint_recall_lsh import joint_recall_lsh_construction
from .constructions.key_value import key_value_construction
from .constructions.mqar import mqar_construction
from .constructions.selective_copy import selective_copy_construction
from .outer_product import outer_product_accuracy, outer_product_bits_per_scalar, outer_product_k50
from .predictions import LAW_NAMES, predicted_accuracy
from .window import window_accuracy, window_reach


def _discover() -> dict[str, Claim]:
    """Claims by name, sorted; two of one name raise ValueError."""
    found: dict[str, Claim] = {}
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        for thing in vars(importlib.import_module(module.name)).values():
            if isinstance(thing, Claim) and found.setdefault(thing.name, thing) is not thing:
                raise ValueError(f"names of claims must differ, got {thing.name!r} a second time in {module.name}")
    return dict(sorted(found.items()))


CLAIMS: dict[str, Claim] = _discover()
"""every claim by name"""

__all__ = [
    "CLAIMS",
    "LAW_NAMES",
    "Check",
    "Claim",
    "Evidence",
    "Scale",
    "Standing",
    "induction_construction",
    "joint_recall_construction",
    "joint_recall_lsh_construction",
    "key_value_construction",
    "mqar_construction",
    "outer_product_accuracy",
    "outer_product_bits_per_scalar",
    "outer_product_k50",
    "predicted_accuracy",
    "selective_copy_construction",
    "slot_law",
    "unselective_induction_construction",
    "window_accuracy",
    "window_reach",
]
