"""Decoding token by token: what a token costs a Mamba layer, whose state has one size, and an attention layer, whose cache grows.

Float32, no gradients, one thread. A turn decodes TOKENS tokens from the state that a context leaves; both sides run in this process in
turns, each counts its best turn, and the seconds are those of a token of every sequence of the batch. Before anything is timed, the first
token after the context is held against the layer's parallel form, or against ours.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from recall_lab.cli.printing import say
from recall_lab.models.attention import Attention, AttentionConfig
from recall_lab.models.mamba import Mamba, MambaConfig
from recall_lab.models.mamba2 import Mamba2, Mamba2Config
from recall_lab.models.mixer import Mixer, State

from .paired import Row, growth_exponents, in_turns

Turn = Callable[[], object]

WIDTH, TOKENS, TURNS = 64, 32, 9
CONTEXTS = (256, 1024, 4096)
BATCHES = (1, 8)
CONSTANT = 1.15
"""how much longer a token may take after the longest context than after the shortest and still count as taking as long"""
AGREED = 1e-5
"""difference allowed between two sides, of the largest entry"""


def measure() -> list[Row]:
    """A ratio above 1: the recurrent layer decodes faster."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    recurrent = {"Mamba": Mamba(MambaConfig(width=WIDTH)), "Mamba2": Mamba2(Mamba2Config(width=WIDTH))}
    with torch.no_grad():
        rows = [row for batch in BATCHES for name, mixer in recurrent.items() for row in against_attention(name, mixer, batch)]
        return [*rows, *(against_transformers(batch) for batch in BATCHES)]


def against_attention(name: str, mixer: Mixer, batch: int) -> list[Row]:
    """A row a context, and one for the growth of our time over the contexts."""
    what = f"decode, {name} / attention, batch {batch}"
    say(f"  {what}: contexts {CONTEXTS[0]} to {CONTEXTS[-1]}")
    attention = Attention(AttentionConfig(width=WIDTH))
    pairs = [in_turns(decoding(mixer, batch, context), decoding(attention, batch, context), TURNS) for context in CONTEXTS]
    rows = [row(f"{what}, context {context}", batch, taken) for context, taken in zip(CONTEXTS, pairs, strict=True)]
    slower, other_slower = (last / first for first, last in zip(pairs[0], pairs[-1], strict=True))
    growth, other_growth = growth_exponents(CONTEXTS, pairs)
    note = (
        f"a token after {CONTEXTS[-1]} takes {slower:.2f} times one after {CONTEXTS[0]}, attention's {other_slower:.2f}; "
        f"as context^{growth:.2f} and context^{other_growth:.2f}; ratio = allowed {CONSTANT} / ours"
    )
    return [*rows, Row(f"{what}, growth", pairs[-1][0] / TOKENS, pairs[-1][1] / TOKENS, CONSTANT / slower, 1.0, note)]


def row(what: str, batch: int, taken: tuple[float, float]) -> Row:
    """Two times of a turn as a row."""
    ours, other = (turn / TOKENS for turn in taken)
    note = f"{batch / ours:,.0f} tokens a second, the other {batch / other:,.0f}; {WIDTH} wide, float32, 1 thread"
    return Row(what, ours, other, other / ours, None, note)


def decoding(mixer: Mixer, batch: int, context: int) -> Turn:
    """A turn of a mixer. Raises AssertionError where its first token is not what the parallel form makes of it."""
    x = drawn(batch, context + TOKENS)
    state = state_after(mixer, x[:, :context])
    check(mixer.step(x[:, context], state)[0], mixer(x[:, : context + 1])[:, -1])

    def turn() -> None:
        carried = state
        for token in x[:, context:].unbind(1):
            _, carried = mixer.step(token, carried)

    return turn


def state_after(mixer: Mixer, x: Tensor) -> State:
    """The state that a context leaves: projections for attention, which are at hand at once; step by step for the others."""
    if isinstance(mixer, Attention):
        return mixer.queries_and_keys(x)[1], mixer.values(x)
    state = mixer.init_state(len(x))
    for token in x.unbind(1):
        _, state = mixer.step(token, state)
    return state


def against_transformers(batch: int) -> Row:
    """Mamba against transformers' layer with its cache, after the shortest context: neither depends on it."""
    from transformers import DynamicCache
    from transformers import MambaConfig as PublishedConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer

    say(f"  decode, Mamba / transformers, batch {batch}")
    config = PublishedConfig(hidden_size=WIDTH, num_hidden_layers=1, use_mambapy=False)
    other, ours = MambaMixer(config, layer_idx=0), Mamba(MambaConfig(width=WIDTH))
    ours.load_state_dict(other.state_dict())
    x, cache = drawn(batch, CONTEXTS[0] + TOKENS), DynamicCache(config=config)
    context, tokens = x[:, : CONTEXTS[0]], x[:, CONTEXTS[0] :].unbind(1)
    other(context, cache_params=cache)
    check(other(tokens[0][:, None], cache_params=cache)[:, 0], ours(x)[:, CONTEXTS[0]])

    def cached() -> None:
        for token in tokens:
            other(token[:, None], cache_params=cache)  # changes the cache in place, which goes on from turn to turn

    taken = in_turns(decoding(ours, batch, CONTEXTS[0]), cached, TURNS)
    return row(f"decode, Mamba / transformers' MambaMixer, batch {batch}", batch, taken)


def drawn(batch: int, length: int) -> Tensor:
    """Standard normal input of a layer, the same at every call."""
    return torch.randn(batch, length, WIDTH, generator=torch.Generator().manual_seed(length))


def check(ours: Tensor, other: Tensor) -> None:
    """Raises AssertionError where the two differ."""
    torch.testing.assert_close(ours, other, rtol=0, atol=AGREED * other.abs().max().item())
