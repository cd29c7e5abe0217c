"""K slots that can be overwritten one by one, for ever, take K channels of a diagonal state space model, whatever the number of states.

Setting. A write (i, b) sets slot i in 1 .. K to the bit b: a token, or a fixed string of them that ends with enough blanks for convolutions to
forget it. In channel e it multiplies state n by exp(d_e A_en), A_en <= 0, with one step d_e >= 0 for all states of the channel, and adds numbers
of its own to them. So it is in Mamba; in SSD, a channel here is a head. A slot is read by a function of all states of all channels.

**Claim**: a slot that is read for ever has a channel that steps at writes to this slot and at no others. Different slots have different such
channels: so there are K of them.

**Proof.** Suppose that slot i has none. Let W write both bits to every other slot, and compare the states after (i,0)(i,1) W^m and
(i,1)(i,0) W^m. A state that W fades, exp(d A) < 1 in all, forgets: there the two differ by at most c r^m with r < 1. A state that W does not
fade has A_en = 0, or d_e = 0 at all writes to other slots, and so by assumption at those to i: no write here fades it, it is a sum over them,
which does not know their order, and the same after both. So the two states come together as fast as r^m, while slot i holds 1 in one case
and 0 in the other. A reading within e < 1/2 of the bit tells them apart by 1 - 2e for every m: no linear one does, nor any other that is
uniformly continuous. []

K channels of one state suffice: channel i steps by D at writes to slot i, so that h_i becomes exp(-D) h_i + b, and by 0 elsewhere. Then
|h_i - b| <= exp(-D) / (1 - exp(-D)). Storing without overwriting is another matter: with A = 0 the K states of one channel hold K slots. It is to
erase by key that channels are needed. A rule that subtracts what it reads (the delta rule) is not diagonal, and not covered.
"""

from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from ...kernels import selective_scan
from ..claim import Claim, Evidence, Scale

STATES = 4
REWRITES = 12
"""the largest m"""
RATE, STEP = 4.0, 1.0
"""at the least, of states that fade, where a channel steps"""
NOTHING = -1
"""stands in strings of writes before the first; write (i, b) is the number 2 i + b"""


def two_histories(slot: int, slots: int) -> Int64[np.ndarray, "2 rewrites length"]:
    """(i,0)(i,1) W^m, then (i,1)(i,0) W^m, for m = 0 .. REWRITES."""
    others = np.delete(np.arange(2 * slots), [2 * slot, 2 * slot + 1])
    rows = np.full((2, REWRITES + 1, 2 + REWRITES * len(others)), NOTHING)
    for m in range(REWRITES + 1):
        for row, bits in zip(rows[:, m], ((0, 1), (1, 0)), strict=True):
            string = np.concatenate([2 * slot + np.array(bits), np.tile(others, m)])
            row[len(row) - len(string) :] = string
    return rows


def random_states(
    moved: Bool[np.ndarray, "channels slots"], strings: Int64[np.ndarray, "strings length"], random: np.random.Generator
) -> Float64[np.ndarray, "strings channels states"]:
    """States after strings of writes, by `selective_scan` with random weights in float64.

    `moved` says at which slots' writes a channel steps. One state of a channel never fades, the others by exp(-RATE STEP) a step at least.
    """
    channels, slots = moved.shape
    steps = np.repeat(moved, 2, axis=1) * random.uniform(STEP, 1.5 * STEP, (channels, 2 * slots))
    inputs = np.tile([-1.0, 1.0], slots) * random.uniform(0.5, 1.5, (channels, 2 * slots))
    keys = random.uniform(0.5, 1.5, (2 * slots, STATES))
    rates = -random.uniform(RATE, 1.5 * RATE, (channels, STATES)) * (np.arange(STATES) > 0)
    u, dt, B = (torch.from_numpy(np.append(x, 0 * x[:1], axis=0)[strings]) for x in (inputs.T, steps.T, keys))
    _, states = selective_scan(u, dt, torch.from_numpy(rates), B, torch.zeros_like(B), dt_softplus=False, return_final_state=True)
    return states.numpy()


def has_private_channel(moved: Bool[np.ndarray, "models channels slots"]) -> Bool[np.ndarray, "models slots"]:
    """Whether some channel steps at writes to this slot and at no others."""
    alone: Bool[np.ndarray, "models slots"] = (moved & (moved.sum(axis=2, keepdims=True) == 1)).any(axis=1)
    return alone


def all_models(slots: int, channels: int) -> Bool[np.ndarray, "models channels slots"]:
    """Every choice, for every channel, of the slots at whose writes it steps."""
    return np.array(list(product([False, True], repeat=channels * slots))).reshape(-1, channels, slots)


def distances(
    moved: Bool[np.ndarray, "models channels slots"], random: np.random.Generator
) -> Float64[np.ndarray, "models slots rewrites"]:
    """The largest difference in a state between the two histories of a slot, after W^m for m = 0 .. REWRITES, in random models."""
    models, channels, slots = moved.shape
    found = np.empty((models, slots, REWRITES + 1))
    for slot in range(slots):
        strings = two_histories(slot, slots)
        states = random_states(moved.reshape(-1, slots), strings.reshape(-1, strings.shape[2]), random)
        first, second = states.reshape(2, REWRITES + 1, models, channels * STATES)
        found[:, slot] = np.abs(first - second).max(axis=2).T
    return found


def private_channels_error(slots: int, step: float, random: np.random.Generator) -> float:
    """The largest |h_i - b| over random writes, in a scan from 0 with a channel of one state for every slot."""
    slot, bit = np.divmod(random.integers(0, 2 * slots, 200), 2)
    own = torch.from_numpy((slot[:, None] == np.arange(slots)).astype(np.float64))[None]
    ones = torch.ones_like(own[..., :1])
    u = own * torch.from_numpy(bit / step)[:, None]
    read = selective_scan(u, step * own, -torch.ones_like(own[0, 0, :, None]), ones, ones, dt_softplus=False)[0].numpy()
    held, errors = np.zeros(slots), []
    for y, i, b in zip(read, slot, bit, strict=True):
        held[i] = b
        errors.append(np.abs(y - held).max())
    return float(max(errors))


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on random models, one for every choice of the slots at whose writes a channel steps; then on private channels."""
    random = np.random.default_rng(seed)
    sizes = [(2, 1), (2, 2), (3, 2)] + ([(3, 3), (4, 2)] if scale == "full" else [])
    models = [all_models(slots, channels) for slots, channels in sizes]
    apart = np.concatenate([distances(moved, random).reshape(-1, REWRITES + 1) for moved in models])
    private = np.concatenate([has_private_channel(moved).ravel() for moved in models])
    after = apart[:, 1:]
    faded = apart[:, :1] * np.exp(-RATE * STEP * np.arange(1, REWRITES + 1))
    steps = np.array([1.0, 2.0, 5.0, 20.0])
    errors = np.array([private_channels_error(8, step, random) for step in steps])
    return Evidence(
        quantity="distance of states that hold different bits in a slot, after 1 to 12 rewrites of the others; then errors with private channels",
        measured=np.append(after.ravel(), errors),
        at_least=np.append(np.broadcast_to(np.where(private, 0.25, 0.0)[:, None], after.shape).ravel(), 0 * steps),
        at_most=np.append(np.where(private[:, None], np.inf, faded).ravel(), np.exp(-steps) / -np.expm1(-steps)),
        tolerance=1e-14,
        arrays={"distance": apart, "private": private},
    )


OVERWRITING = Claim(
    name="mamba.overwriting_costs_channels",
    statement=(
        "In a diagonal state space model with one step for all states of a channel, a slot that can be overwritten, and read linearly to within "
        "less than 1/2 however often others are overwritten since, has a channel that steps at writes to this slot alone: K slots take K "
        "channels (in SSD: heads), whatever the number of states. Without one, states that hold different bits in the slot come together "
        "exponentially. One such channel of one state a slot suffices."
    ),
    source="new; the model is that of arXiv:2312.00752, algorithm 2, and arXiv:2405.21060, eq. 2",
    standing="new",
    check=_check,
)
