"""Slots that are overwritten, and the channels that it takes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.kernels import selective_scan
from recall_lab.theory import CLAIMS
from recall_lab.theory.mamba import overwriting
from recall_lab.theory.mamba.overwriting import (
    NOTHING,
    all_models,
    has_private_channel,
    private_channels_error,
    random_states,
    two_histories,
)


@given(slots=st.integers(1, 4), data=st.data())
def test_the_two_histories_hold_different_bits_and_end_alike(slots: int, data: st.DataObject) -> None:
    slot = data.draw(st.integers(0, slots - 1))
    one, zero = two_histories(slot, slots)
    for m, (row, other) in enumerate(zip(one, zero, strict=True)):
        strings = [[write for write in history if write != NOTHING] for history in (row, other)]
        assert [string[:2] for string in strings] == [[2 * slot, 2 * slot + 1], [2 * slot + 1, 2 * slot]]
        assert strings[0][2:] == strings[1][2:]
        assert sorted(strings[0][2:]) == sorted(m * [write for write in range(2 * slots) if write // 2 != slot])


def test_every_choice_of_slots_is_a_model() -> None:
    models = all_models(3, 2)
    assert models.shape == (64, 2, 3)
    assert len({moved.tobytes() for moved in models}) == 64


@given(slots=st.integers(1, 4), channels=st.integers(1, 2))
def test_fewer_channels_than_slots_leave_a_slot_without_one_of_its_own(slots: int, channels: int) -> None:
    private = has_private_channel(all_models(slots, channels))
    assert private.sum(axis=1).max() == min(slots, channels)


def test_a_channel_of_its_own_steps_at_no_other_slot() -> None:
    moved = np.array([[[1, 0, 0], [0, 1, 1]], [[0, 0, 0], [1, 1, 0]]], np.bool_)
    np.testing.assert_array_equal(has_private_channel(moved), [[1, 0, 0], [0, 0, 0]])


def test_one_state_of_a_channel_is_a_sum_that_knows_no_order_and_the_others_fade() -> None:
    strings = np.array([[0, 2, 1], [2, 0, 1], [2, 1, 0]])
    states = random_states(np.ones((1, 2), np.bool_), strings, np.random.default_rng(0))[:, 0]
    np.testing.assert_allclose(states[:, 0], states[0, 0], rtol=1e-12)
    assert (np.abs(states[0, 1:] - states[2, 1:]) > 0.1).all()
    np.testing.assert_allclose(states[0, 1:], states[1, 1:], rtol=0.02)  # all but the last write is nearly gone


def test_private_channels_forget_by_their_step() -> None:
    random = np.random.default_rng(0)
    assert private_channels_error(5, 3.0, random) > 0.9 * np.exp(-3)
    assert private_channels_error(5, 40.0, random) < 1e-15


def test_one_channel_stores_as_many_slots_as_it_has_states() -> None:
    bits = torch.tensor([1.0, 0.0, 1.0, 1.0])
    _, state = selective_scan(
        bits[None, :, None],
        torch.ones(1, 4, 1),
        torch.zeros(1, 4),
        torch.eye(4)[None],
        torch.eye(4)[None],
        dt_softplus=False,
        return_final_state=True,
    )
    torch.testing.assert_close(state[0, 0], bits)


@pytest.mark.parametrize("private", [False, True])
def test_a_wrong_account_of_private_channels_breaks_the_claim(monkeypatch: pytest.MonkeyPatch, private: bool) -> None:
    monkeypatch.setattr(overwriting, "has_private_channel", lambda moved: np.full((len(moved), moved.shape[2]), private))
    assert not CLAIMS["mamba.overwriting_costs_channels"].check("quick", seed=0).holds


def test_a_step_for_every_state_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every state were a channel of its own: then one channel holds all slots."""
    random_states = overwriting.random_states

    def apart(moved, strings, random):
        states = random_states(moved, strings, random)
        own = random_states(np.eye(moved.shape[1], dtype=np.bool_), strings, random)
        return states + own.sum(axis=(1, 2), keepdims=True)

    monkeypatch.setattr(overwriting, "random_states", apart)
    assert not CLAIMS["mamba.overwriting_costs_channels"].check("quick", seed=0).holds


def test_slots_that_share_a_channel_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def shared(u, dt, A, *args, **fields):
        return selective_scan(u, dt.max(dim=2, keepdim=True).values.expand_as(dt), A, *args, **fields)

    monkeypatch.setattr(overwriting, "selective_scan", shared)
    assert not CLAIMS["mamba.overwriting_costs_channels"].check("quick", seed=0).holds
