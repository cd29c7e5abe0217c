"""Weights of the public implementations load unchanged, and give the same outputs."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recall_lab.models.mamba import Mamba, MambaConfig
from recall_lab.models.mamba2 import Mamba2, Mamba2Config

transformers = pytest.importorskip("transformers")


def published_mamba(**sizes: Any) -> nn.Module:
    from transformers.models.mamba.modeling_mamba import MambaMixer

    return MambaMixer(transformers.MambaConfig(**sizes, use_mambapy=False), layer_idx=0)


def published_mamba2(**sizes: Any) -> nn.Module:
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    return Mamba2Mixer(transformers.Mamba2Config(**sizes, chunk_size=16, tie_word_embeddings=False), layer_idx=0)


def shuffled(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The module with every weight away from its initial value, so that none is 1 or 0 by chance."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        module = make()
        for weight in module.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    return module


def assert_equal_outputs(theirs: nn.Module, ours: nn.Module, width: int, length: int) -> None:
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, length, width, generator=torch.Generator().manual_seed(length))
    with torch.no_grad():
        expected = theirs(x)
        expected = expected[0] if isinstance(expected, tuple) else expected
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=2e-6 * float(expected.abs().max()))


@given(length=st.sampled_from([1, 3, 17, 40]), states=st.sampled_from([1, 16]), seed=st.integers(0, 99))
def test_mamba_gives_what_transformers_gives_with_the_same_weights(length: int, states: int, seed: int) -> None:
    sizes = {"hidden_size": 24, "state_size": states, "conv_kernel": 4, "expand": 2, "time_step_rank": 2}
    theirs = shuffled(lambda: published_mamba(**sizes), seed)
    assert_equal_outputs(theirs, Mamba(MambaConfig(width=24, state_width=states)), width=24, length=length)


@given(length=st.sampled_from([1, 3, 17, 40]), groups=st.sampled_from([1, 2]), seed=st.integers(0, 99))
def test_mamba2_gives_what_transformers_gives_with_the_same_weights(length: int, groups: int, seed: int) -> None:
    sizes = {"hidden_size": 16, "state_size": 8, "conv_kernel": 4, "expand": 2, "head_dim": 8, "num_heads": 4, "n_groups": groups}
    ours = Mamba2(Mamba2Config(width=16, state_width=8, head_width=8, groups=groups))
    assert_equal_outputs(shuffled(lambda: published_mamba2(**sizes), seed), ours, width=16, length=length)


def test_mamba_gives_what_mambapy_gives_with_the_same_weights() -> None:
    mambapy = pytest.importorskip("mambapy.mamba")
    theirs = shuffled(lambda: mambapy.MambaBlock(mambapy.MambaConfig(d_model=24, n_layers=1, d_state=5)), 0)
    assert_equal_outputs(theirs, Mamba(MambaConfig(width=24, state_width=5)), width=24, length=19)


@pytest.mark.parametrize("mixer", [Mamba(MambaConfig(width=64)), Mamba2(Mamba2Config(width=64, head_width=2))], ids=["mamba", "mamba2"])
def test_initial_step_sizes_and_rates_lie_where_the_published_ones_do(mixer: Mamba | Mamba2) -> None:
    steps = nn.functional.softplus(mixer.dt_proj.bias if isinstance(mixer, Mamba) else mixer.dt_bias)
    assert steps.min() >= 1e-3 * (1 - 1e-5)
    assert steps.max() <= 0.1 + 1e-6
    assert steps.log().std().item() == pytest.approx((math.log(0.1) - math.log(1e-3)) / 12**0.5, rel=0.2)
    if isinstance(mixer, Mamba):
        torch.testing.assert_close(mixer.rates, -torch.arange(1.0, 17).expand(128, 16))
    else:
        assert -16 <= mixer.rates.min().item() < -14
        assert -2.5 < mixer.rates.max().item() <= -1
