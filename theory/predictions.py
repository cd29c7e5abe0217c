"""What theory says of a mixer on a task before it is trained: the curves and columns that stand beside measured accuracies."""

from collections.abc import Callable

from ..models import LanguageModelConfig
from ..tasks import MQAR, Task
from .outer_product import outer_product_accuracy
from .window import window_accuracy, window_reach

Prediction = tuple[float, float]
"""accuracy at least and at most"""


def predicted_accuracy(task: Task, model: LanguageModelConfig) -> Prediction | None:
    """The accuracy between which theory places this mixer on this task; None where no law is known here.

    Both laws are of packed `mqar` with each pair asked once, behind a convolution of two taps or more: without one no single hop ties a key
    to its value. Neither binds what training may find: the window's is that of one hop, and beside a deeper model, whose layers may relay
    what has left a window, a comparison; the outer product's is that of random codes in the state of one layer.
    """
    law = LAWS.get(model.mixer)
    if law is None or not isinstance(task, MQAR) or task.layout != "packed" or model.short_conv < 2:
        return None
    if task.repeat_queries or task.answers != task.pairs:
        return None
    return law(task, model)


def _window(task: MQAR, model: LanguageModelConfig) -> Prediction:
    """The law of distances, with nothing guessed and with the best guess that reads values and no keys."""
    reach = window_reach(model.fields["window"], model.short_conv)
    return window_accuracy(task, reach), window_accuracy(task, reach, guess=task.controls()["key_blind"])


def _outer_product(task: MQAR, model: LanguageModelConfig) -> Prediction | None:
    """Random codes in the associative matrices of the only layer: no feature map is between them, and no two values are alike."""
    fields = model.fields
    if model.depth > 1 or fields["feature_map"] != "identity" or task.iid_values or fields["width"] < 2:
        return None
    recalled = outer_product_accuracy(
        task.pairs, key_width=fields["feature_width"], value_width=fields["width"], candidates=task.values, heads=fields["heads"]
    )
    return recalled, recalled


LAWS: dict[str, Callable[[MQAR, LanguageModelConfig], Prediction | None]] = {"linear_attention": _outer_product, "sliding_window": _window}
"""by the mixer's name"""

LAW_NAMES = {"linear_attention": "random codes", "sliding_window": "window law"}
"""the same, as a figure calls the curve"""
