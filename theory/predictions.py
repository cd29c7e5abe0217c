"""What theory says of a mixer on a task before it is trained: the curves and columns that stand beside measured accuracies."""

from collections.abc import Callable

from ..models import LanguageModelConfig
from ..models.linear_attention import FEATURES
from ..tasks import MQAR, Task
from .outer_product import outer_product_accuracy
from .window import window_accuracy, window_reach

Prediction = tuple[float, float]
"""accuracy at least and at most"""


def predicted_accuracy(task: Task, model: LanguageModelConfig) -> Prediction | None:
    """The accuracy between which theory places this mixer on this task; None where no law is known here.

    Neither law binds what training may find: the window's is that of one hop, the outer product's that of random codes.
    """
    law = LAWS.get(model.mixer)
    return law(task, model) if law else None


def _window(task: Task, model: LanguageModelConfig) -> Prediction | None:
    """The law of distances, with nothing guessed and with the best guess that reads values and no keys."""
    if not isinstance(task, MQAR) or task.layout != "packed" or task.repeat_queries or task.queries not in (None, task.pairs):
        return None
    reach = window_reach(model.fields["window"], model.short_conv)
    return window_accuracy(task, reach), window_accuracy(task, reach, guess=task.controls()["key_blind"])


def _outer_product(task: Task, model: LanguageModelConfig) -> Prediction | None:
    """Random codes in the associative matrices of one layer."""
    if not isinstance(task, MQAR) or task.pairs > task.values:
        return None
    features = FEATURES[model.fields["feature_map"]].count(model.fields["feature_width"])
    recalled = outer_product_accuracy(
        task.pairs, key_width=features, value_width=model.fields["width"], candidates=task.values, heads=model.fields["heads"]
    )
    return recalled, recalled


LAWS: dict[str, Callable[[Task, LanguageModelConfig], Prediction | None]] = {"linear_attention": _outer_product, "sliding_window": _window}
"""by the mixer's name"""

LAW_NAMES = {"linear_attention": "random codes", "sliding_window": "window law"}
"""the same, as a figure calls the curve"""
