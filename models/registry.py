"""Mixers by name: one line a mixer, imported when it is asked for; anybody else's by import path."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .mixer import Mixer

MIXERS: dict[str, str] = {
    "attention": "recall_lab.models.attention:Attention",
    "hax": "recall_lab.models.hax:Hax",
    "hax_mamba": "recall_lab.models.hax_mamba:HaxMamba",
    "linear_attention": "recall_lab.models.linear_attention:LinearAttention",
    "mamba": "recall_lab.models.mamba:Mamba",
    "mamba2": "recall_lab.models.mamba2:Mamba2",
    "sliding_window": "recall_lab.models.sliding_window:SlidingWindow",
    "sparse": "recall_lab.models.sparse:Sparse",
}


def mixer_class(name: str) -> "type[Mixer]":
    """The class called `name` in MIXERS, or at the import path `package.module:Class`.

    Raises KeyError for an unknown name, ImportError for a path that leads nowhere, TypeError if what is there is no Mixer with a `Config`;
    whatever importing the module raises comes through.
    """
    from .mixer import Mixer, MixerConfig

    path = MIXERS.get(name, name)
    if ":" not in path:
        raise KeyError(name)
    module, _, attribute = path.partition(":")
    loaded = importlib.import_module(module)  # an error inside somebody's own file is theirs to read, not one of the path
    if not hasattr(loaded, attribute):
        raise ImportError(f"module {module!r} has no {attribute!r}")
    found = getattr(loaded, attribute)
    if not (isinstance(found, type) and issubclass(found, Mixer)):
        raise TypeError(f"{path} is not a Mixer")
    if not (isinstance(getattr(found, "Config", None), type) and issubclass(found.Config, MixerConfig)):
        raise TypeError(f"{path} has no Config derived from MixerConfig")
    return found
