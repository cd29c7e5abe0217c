"""Asking a mixer for a state of a given size."""

from collections.abc import Callable
from dataclasses import replace

import torch

from .backbone import LanguageModel, LanguageModelConfig
from .mixer import Cost
from .registry import mixer_class

TOLERANCE = 0.25
"""relative distance from the size asked for beyond which a mixer is said not to have it"""


def state_size(config: LanguageModelConfig, length: int) -> int:
    """Scalars that the model carries after `length` tokens; no memory is taken for its weights."""
    with torch.device("meta"):
        return LanguageModel(config).state_size(length)


def model_cost(config: LanguageModelConfig, length: int, answers: int) -> Cost:
    """What one forward pass of one sequence with so many labelled positions costs; no memory is taken for the weights."""
    with torch.device("meta"):
        return LanguageModel(config).cost(length, answers)


def with_state(config: LanguageModelConfig, scalars: int, length: int) -> LanguageModelConfig:
    """The configuration whose state after `length` tokens is nearest to `scalars`, found by the mixer's `state_knob` alone.

    Raises ValueError if the nearest size is more than a quarter off.
    """
    knob = mixer_class(config.mixer).state_knob

    def size(value: int) -> int:
        return state_size(replace(config, fields={**config.fields, knob: value}), length)

    unit = _smallest(size)
    low, high = 1, 1
    while size(high * unit) < scalars and high < 2**20:
        if high > 1 and size(high * unit) == size(low * unit):  # the knob has stopped to turn (a window longer than the sequence)
            break
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle * unit) < scalars else (low, middle)
    best = min((low * unit, high * unit), key=lambda value: abs(size(value) - scalars))
    if abs(size(best) - scalars) > TOLERANCE * scalars:
        raise ValueError(
            f"{config.mixer} cannot have a state of {scalars} scalars after {length} tokens; nearest is {size(best)} ({knob}={best})"
        )
    return replace(config, fields={**config.fields, knob: best})


def _smallest(size: Callable[[int], int]) -> int:
    """The least value of the knob that makes a valid mixer (a width must be divisible by the heads); its multiples are valid too."""
    for value in range(1, 4097):
        try:
            size(value)
        except ValueError:
            continue
        return value
    raise ValueError("no value of the knob up to 4096 makes a valid mixer")
