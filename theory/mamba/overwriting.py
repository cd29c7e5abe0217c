"""K slots that can be overwritten one by one, for ever, take K channels of a diagonal state space model, whatever the number of states.

Setting. One layer, whose steps and inputs depend on the write alone. A write (i, b) sets slot i in 1 .. K to the bit b: a token, or a fixed
string of them that ends with enough blanks for convolutions to forget it. In channel e it multiplies state n by exp(d_e A_en), A_en <= 0, with
one step d_e >= 0 for all states of the channel, and adds numbers of its own to them, 0 where d_e = 0. So it is in Mamba; in SSD, a channel here
is a head. A slot is read by a function of all states of all channels.

**Claim**: a slot that is read for ever has a channel that steps at both writes to this slot and at none to others. Different slots have
different such channels: so there are K of them.

**Proof.** Suppose that slot i has none. Let W write both bits to every other slot, and compare the states after (i,0)(i,1) W^m and
(i,1)(i,0) W^m. A state that W fades, exp(d A) < 1 in all, forgets: there the two differ by at most c r^m with r < 1. A state that W does not
fade has A_en = 0, and is a sum, which does not know the order of writes; or d_e = 0 at all writes to other slots, and so by assumption at one
of the two to i, which does nothing, before the other or after it. Either way it is the same after both. So the two states come together as
fast as r^m, while slot i holds 1 in one case and 0 in the other. A reading within e < 1/2 of the bit tells them apart by 1 - 2e for every m:
no linear one does, nor any other that is uniformly continuous. []

K channels of one state suffice: channel i steps by D at writes to slot i, so that h_i becomes exp(-D) h_i + b, and by 0 elsewhere. Then
|h_i - b| <= exp(-D) / (1 - exp(-D)). "For ever" needs steps that are exactly 0, and softplus, Mamba's, is above 0 (softplus(-60) = 9e-27): there
all channels step at all writes, and `constructions/slots.py` holds up to (1 + t/G) e^-G after t tokens, its private steps G.

Storing without overwriting is another matter: with A = 0 the K states of one channel hold K slots. It is to erase by key that channels are
needed. A rule that subtracts what it reads (the delta rule) is not diagonal, and not covered.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from ...kernels import selective_scan
from ..claim import Claim, Evidence, Scale

STATES = 4
REWRITES = 12
"""the largest m"""
MODELS = 512
"""of one size that are drawn, at most"""
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
    moved: Bool[np.ndarray, "channels writes"], strings: Int64[np.ndarray, "strings length"], random: np.random.Generator
) -> Float64[np.ndarray, "strings channels states"]:
    """States after strings of writes, by `selective_scan` with random weights in float64.

    `moved` says at which writes a channel steps. One state of a channel never fades, the others by exp(-RATE STEP) a step at least.
    """
    channels, writes = moved.shape
    steps = moved * random.uniform(STEP, 1.5 * STEP, moved.shape)
    inputs = np.where(np.arange(writes) % 2, 1.0, -1.0) * random.uniform(0.5, 1.5, moved.shape)
    keys = random.uniform(0.5, 1.5, (writes, STATES))
    rates = -random.uniform(RATE, 1.5 * RATE, (channels, STATES)) * (np.arange(STATES) > 0)
    u, dt, B = (torch.from_numpy(np.append(x, 0 * x[:1], axis=0)[strings]) for x in (inputs.T, steps.T, keys))
    _, states = selective_scan(u, dt, torch.from_numpy(rates), B, torch.zeros_like(B), dt_softplus=False, return_final_state=True)
    return states.numpy()


def has_private_channel(moved: Bool[np.ndarray, "models channels writes"]) -> Bool[np.ndarray, "models slots"]:
    """Whether some channel steps at both writes to this slot and at none to others."""
    both = moved[..., 0::2] & moved[..., 1::2]
    alone: Bool[np.ndarray, "models slots"] = (both & (moved.sum(axis=2, keepdims=True) == 2)).any(axis=1)
    return alone


def choices(slots: int, channels: int, random: np.random.Generator) -> Bool[np.ndarray, "models channels writes"]:
    """Choices, for every channel, of the writes at which it steps: all of them, or MODELS of them drawn at random if there are more."""
    bits = 2 * slots * channels
    chosen = np.arange(2**bits) if 2**bits <= MODELS else random.choice(2**bits, MODELS, replace=False)
    return (chosen[:, None] >> np.arange(bits) & 1).astype(np.bool_).reshape(-1, channels, 2 * slots)


def distances(
    moved: Bool[np.ndarray, "models channels writes"], random: np.random.Generator
) -> Float64[np.ndarray, "models slots rewrites"]:
    """The largest difference in a state between the two histories of a slot, after W^m for m = 0 .. REWRITES, in random models."""
    models, channels, writes = moved.shape
    slots = writes // 2
    found = np.empty((models, slots, REWRITES + 1))
    for slot in range(slots):
        strings = two_histories(slot, slots)
        states = random_states(moved.reshape(-1, writes), strings.reshape(-1, strings.shape[2]), random)
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
    """Evidence on random models, one for each of `choices` of the writes at which a channel steps; then on private channels."""
    random = np.random.default_rng(seed)
    sizes = [(2, 1), (2, 2), (3, 2)] + ([(3, 3), (4, 2)] if scale == "full" else [])
    models = [choices(slots, channels, random) for slots, channels in sizes]
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
        "In one layer of a diagonal state space model, with one step >= 0 for all states of a channel, and steps and inputs that depend on the "
        "write alone, a slot that can be overwritten, and read linearly to within less than 1/2 however often others are overwritten since, "
        "has a channel that steps at both writes to this slot (of 0 and of 1) and at none to others: K slots take K channels (in SSD: "
        "heads), whatever the number of states. Without one, states that hold different bits in the slot come together exponentially. One "
        "such channel of one state a slot suffices, if steps can be exactly 0; Mamba's softplus cannot, and forgets after about e^G writes "
        "where it steps by e^-G."
    ),
    source="new; the model is that of arXiv:2312.00752, algorithm 2, and arXiv:2405.21060, eq. 2",
    standing="new",
    check=_check,
)
