"""SSD as masked attention, and as a recurrence."""

import pytest
import torch

from recall_lab.kernels import decay_mask, linear_attention, ssd
from recall_lab.theory import CLAIMS
from recall_lab.theory.mamba import masked_attention


def broken(monkeypatch: pytest.MonkeyPatch, name: str, fault) -> bool:
    monkeypatch.setattr(masked_attention, name, fault)
    return not CLAIMS["mamba.masked_attention"].check("quick", seed=0).holds


def test_a_mask_that_decays_what_is_just_written_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken(monkeypatch, "decay_mask", lambda decay: decay_mask(decay) * decay.exp()[..., None, :])


def test_a_chunk_that_forgets_the_state_before_it_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(x, dt, A, B, C, *, chunk=masked_attention.LENGTH, **fields):
        parts = zip(*(tensor.split(chunk, dim=1) for tensor in (x, dt, B, C)), strict=True)
        return torch.cat([ssd(x, dt, A, B, C, **fields) for x, dt, B, C in parts], dim=1)

    assert broken(monkeypatch, "ssd", forgetful)


def test_linear_attention_that_looks_ahead_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken(monkeypatch, "linear_attention", lambda q, k, v: (q @ k.mT) @ v)


def test_a_chunk_of_one_and_one_chunk_are_among_those_compared() -> None:
    assert {1, masked_attention.LENGTH} <= set(masked_attention.CHUNKS)
    evidence = CLAIMS["mamba.masked_attention"].check("quick", seed=0)
    assert evidence.measured.shape[1] == len(masked_attention.CHUNKS) + 3
    assert evidence.measured.max() < 1e-13


def test_linear_attention_is_what_is_left_without_decay() -> None:
    q, k, v = (torch.randn(1, 1, 9, width, dtype=torch.float64) for width in (4, 4, 3))
    x, B, C = (z.transpose(1, 2) for z in (v, k, q))
    y = ssd(x, torch.ones_like(x[..., 0]), torch.zeros(1, dtype=torch.float64), B, C, dt_softplus=False)
    torch.testing.assert_close(y.transpose(1, 2), linear_attention(q, k, v), rtol=0, atol=1e-12)
