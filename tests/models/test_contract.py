"""What is taken on trust of a mixer is looked at: every mixer of the lab keeps it, and one that does not is told so."""

import re
import sys
from types import SimpleNamespace

import pytest
import torch

from recall_lab.models import MIXERS, LanguageModel, LanguageModelConfig, broken_contract
from recall_lab.models.attention import Attention

TOKENS = torch.arange(24).reshape(2, 12) % 7


class Peeking(Attention):
    """Adds what comes next."""

    def forward(self, x):
        return super().forward(x) + 0.1 * x.roll(-1, dims=1)


class Modest(Attention):
    """Says that it carries one scalar."""

    def state_size(self, length):
        return 1


class Forgetful(Attention):
    """Steps as if nothing had been before."""

    def step(self, x, state):
        return super().step(x, self.init_state(len(x)))[0], super().step(x, state)[1]


def model(mixer: str) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(LanguageModelConfig(vocab_size=7, mixer=mixer, fields={"width": 8}))


@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer_keeps_it(name):
    assert broken_contract(model(name), TOKENS) is None


@pytest.mark.parametrize(
    "name, said",
    [
        ("Peeking", r"^token 1 by `step` differs from the parallel form by \S+: one of them is wrong, or later tokens are read$"),
        ("Modest", r"^state_size\(1\) gives the model 50 scalars of state, and `step` carries 80$"),
        ("Forgetful", r"^token 2 by `step` differs"),
    ],
)
def test_a_broken_one_is_named(name, said, monkeypatch):
    monkeypatch.setitem(sys.modules, "broken", SimpleNamespace(**globals()))
    assert re.search(said, broken_contract(model(f"broken:{name}"), TOKENS) or "")
