"""Each law is given with the model's own sizes, where it holds, and nowhere else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.models import LanguageModelConfig
from recall_lab.tasks import AR, MQAR, MQARUpdate, Task
from recall_lab.theory import outer_product_accuracy, predicted_accuracy, window_accuracy, window_reach
from recall_lab.theory.outer_product import simulate

TASK = MQAR(length=64, pairs=8, keys=32, values=32)
LINEAR = {"width": 32, "heads": 2, "feature_width": 4}
WINDOW = {"width": 32, "heads": 2, "window": 12}


def model(mixer: str, depth: int = 1, short_conv: int = 4, **fields: object) -> LanguageModelConfig:
    return LanguageModelConfig(vocab_size=200, mixer=mixer, depth=depth, short_conv=short_conv, fields=fields)


@given(
    pairs=st.integers(1, 12),
    spare=st.integers(0, 30),
    heads=st.integers(1, 3),
    value_width=st.integers(2, 16),
    feature_width=st.integers(1, 16),
    short_conv=st.integers(2, 4),
)
def test_linear_attention_is_predicted_from_the_features_and_values_of_its_heads(
    pairs: int, spare: int, heads: int, value_width: int, feature_width: int, short_conv: int
) -> None:
    task = MQAR(length=64, pairs=pairs, keys=pairs, values=pairs + spare + 1)
    config = model("linear_attention", short_conv=short_conv, width=heads * value_width, heads=heads, feature_width=feature_width)
    law = outer_product_accuracy(pairs, key_width=feature_width, value_width=heads * value_width, candidates=pairs + spare + 1, heads=heads)
    assert predicted_accuracy(task, config) == (law, law)


@pytest.mark.parametrize("width, heads, features, pairs, within", [(16, 1, 16, 20, 0.09), (32, 2, 16, 40, 0.09), (32, 1, 32, 60, 0.05)])
def test_the_prediction_of_linear_attention_is_what_random_codes_reach(
    width: int, heads: int, features: int, pairs: int, within: float
) -> None:
    task = MQAR(length=4 * pairs, pairs=pairs, keys=512, values=512)
    predicted = predicted_accuracy(task, model("linear_attention", width=width, heads=heads, feature_width=features))
    assert predicted is not None
    recalled = simulate(pairs=pairs, key_width=features, value_width=width, candidates=512, heads=heads, draws=60, seed=3)
    assert predicted[0] == pytest.approx(recalled.mean(), abs=within + 3 * recalled.std(ddof=1) / math.sqrt(60))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("order", ["race", "shuffled"])
@given(window=st.integers(1, 80), short_conv=st.integers(2, 5))
def test_a_window_is_predicted_from_one_hop_whatever_the_depth(depth: int, order: str, window: int, short_conv: int) -> None:
    task = MQAR(length=64, pairs=8, order=order)
    reach = window_reach(window, short_conv)
    seen, guessed = window_accuracy(task, reach), window_accuracy(task, reach, guess=task.controls()["key_blind"])
    assert predicted_accuracy(task, model("sliding_window", depth, short_conv, window=window)) == (seen, guessed)


OUT_OF_REACH: list[Task] = [
    AR(keys=32, values=32),
    MQARUpdate(keys=32, values=32),
    MQAR(length=64, pairs=8, layout="scattered"),
    MQAR(length=64, pairs=8, queries=3),
    MQAR(length=64, pairs=8, queries=8, repeat_queries=True),
]


@pytest.mark.parametrize("config", [model("linear_attention", **LINEAR), model("sliding_window", **WINDOW)], ids=lambda each: each.mixer)
@pytest.mark.parametrize("task", OUT_OF_REACH, ids=str)
def test_another_task_has_no_law(task: Task, config: LanguageModelConfig) -> None:
    assert predicted_accuracy(TASK, config) is not None
    assert predicted_accuracy(task, config) is None


@pytest.mark.parametrize(
    "config",
    [
        model("linear_attention", **LINEAR, feature_map="elu_plus_one"),
        model("linear_attention", **LINEAR, feature_map="taylor"),
        model("linear_attention", depth=2, **LINEAR),
        model("linear_attention", short_conv=1, **LINEAR),
        model("linear_attention", width=1),
        model("sliding_window", short_conv=1, **WINDOW),
        model("sliding_window", depth=2, short_conv=1, **WINDOW),
        model("attention", width=32),
    ],
    ids=str,
)
def test_another_model_has_no_law(config: LanguageModelConfig) -> None:
    assert predicted_accuracy(TASK, config) is None


def test_values_that_may_be_alike_are_no_codes_of_their_own() -> None:
    task = MQAR(length=64, pairs=8, keys=32, values=4, iid_values=True)
    assert predicted_accuracy(task, model("linear_attention", **LINEAR)) is None
    assert predicted_accuracy(task, model("sliding_window", **WINDOW)) is not None
