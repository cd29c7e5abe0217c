"""Sequence mixers, the residual backbone around them, and the registry by which they are named."""

from .auxiliary import Auxiliary, auxiliaries
from .backbone import Block, LanguageModel, LanguageModelConfig, ShortConvolution
from .contract import broken_contract
from .key_selection import ks_target
from .mixer import Cost, Mixer, MixerConfig, Pattern, State, count_scalars, state_tensors
from .projected import HeadsConfig, ProjectedMixer
from .registry import MIXERS, mixer_class
from .sizing import model_cost, state_size, with_state

__all__ = [
    "MIXERS",
    "Auxiliary",
    "Block",
    "Cost",
    "HeadsConfig",
    "LanguageModel",
    "LanguageModelConfig",
    "Mixer",
    "MixerConfig",
    "Pattern",
    "ProjectedMixer",
    "ShortConvolution",
    "State",
    "auxiliaries",
    "broken_contract",
    "count_scalars",
    "ks_target",
    "mixer_class",
    "model_cost",
    "state_size",
    "state_tensors",
    "with_state",
]
