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
    MODELS,
    NOTHING,
    choices,
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


def test_every_choice_of_writes_is_a_model_as_long_as_they_are_few() -> None:
    random = np.random.default_rng(0)
    for slots, channels, count in ((2, 1, 16), (2, 2, 256), (3, 2, MODELS), (4, 3, MODELS)):
        models = choices(slots, channels, random)
        assert models.shape == (count, channels, 2 * slots)
        assert len({moved.tobytes() for moved in models}) == count


@given(slots=st.integers(1, 4), moved=st.lists(st.integers(0, 255), min_size=1, max_size=3))
def test_no_more_slots_than_channels_have_one_of_their_own(slots: int, moved: list[int]) -> None:
    model = (np.array(moved)[:, None] >> np.arange(2 * slots) & 1).astype(np.bool_)
    assert has_private_channel(model[None]).sum() <= len(moved)
    own = np.repeat(np.eye(slots, dtype=np.bool_), 2, axis=1)
    assert has_private_channel(np.concatenate([model, own])[None]).all()


def test_a_channel_of_its_own_steps_at_both_writes_to_its_slot_and_at_no_other() -> None:
    moved = np.array(
        [[[1, 1, 0, 0], [1, 1, 0, 1]], [[1, 0, 0, 0], [0, 0, 0, 1]], [[0, 1, 1, 0], [0, 0, 1, 1]], [[1, 1, 1, 1], [0, 0, 0, 0]]], np.bool_
    )
    np.testing.assert_array_equal(has_private_channel(moved), [[1, 0], [0, 0], [0, 1], [0, 0]])


def test_one_state_of_a_channel_is_a_sum_that_knows_no_order_and_the_others_fade() -> None:
    strings = np.array([[0, 2, 1], [2, 0, 1], [2, 1, 0]])
    states = random_states(np.ones((1, 4), np.bool_), strings, np.random.default_rng(0))[:, 0]
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
    monkeypatch.setattr(overwriting, "has_private_channel", lambda moved: np.full((len(moved), moved.shape[2] // 2), private))
    assert not CLAIMS["mamba.overwriting_costs_channels"].check("quick", seed=0).holds


def test_counting_channels_that_step_at_one_of_two_bits_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_either(moved):
        some = moved[..., 0::2] | moved[..., 1::2]
        return (some & (some.sum(axis=2, keepdims=True) == 1)).any(axis=1)

    monkeypatch.setattr(overwriting, "has_private_channel", at_either)
    assert not CLAIMS["mamba.overwriting_costs_channels"].check("quick", seed=0).holds


def test_a_step_for_every_state_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every state were a channel of its own: then one channel holds all slots."""
    random_states = overwriting.random_states

    def apart(moved, strings, random):
        states = random_states(moved, strings, random)
        own = random_states(np.repeat(np.eye(moved.shape[1] // 2, dtype=np.bool_), 2, axis=1), strings, random)
        return states + own.sum(axis=(1, 2), keepdims=True)

    monkeypatch.setattr(overwriting, "random_states", apart)
    assert not CLAIMS["mamba.overwriting_costs_channels"].check("quick", seed=0).holds


def test_slots_that_share_a_channel_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def shared(u, dt, A, *args, **fields):
        return selective_scan(u, dt.max(dim=2, keepdim=True).values.expand_as(dt), A, *args, **fields)

    monkeypatch.setattr(overwriting, "selective_scan", shared)
    assert not CLAIMS["mamba.overwriting_costs_channels"].check("quick", seed=0).holds
