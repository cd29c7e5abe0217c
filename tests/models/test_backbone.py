"""The residual stack: decoding, labelled positions, state, names."""

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from recall_lab.models import LanguageModel, LanguageModelConfig, count_scalars, mixer_class, model_cost, state_size, with_state

MODELS = [
    {"mixer": "attention", "fields": {"width": 8, "positions": "rotary"}},
    {"mixer": "sliding_window", "fields": {"width": 8, "window": 3}, "short_conv": 1},
    {"mixer": "linear_attention", "fields": {"width": 8, "feature_width": 3}, "mlp": 2, "depth": 1},
]


def make(fields: dict, seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    return LanguageModel(LanguageModelConfig(vocab_size=11, **fields)).double()


TOKENS = torch.randint(11, (3, 13), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("fields", MODELS)
def test_token_by_token_equals_all_at_once(fields):
    model = make(fields)
    state, logits = model.init_state(3), []
    for t in range(13):
        each, state = model.step(TOKENS[:, t], state)
        logits.append(each)
    torch.testing.assert_close(torch.stack(logits, dim=1), model(TOKENS), atol=1e-11, rtol=1e-11)
    assert count_scalars([part for block in state for part in block]) == model.state_size(13) == state_size(model.config, 13)


@pytest.mark.parametrize("fields", MODELS)
def test_logits_where_asked_have_the_loss_and_gradients_of_logits_everywhere(fields):
    model, positions = make(fields), torch.tensor([3, 14, 15, 38])
    everywhere = model(TOKENS).flatten(0, 1)[positions]
    asked = model.logits_at(TOKENS, positions)
    torch.testing.assert_close(asked, everywhere, atol=1e-12, rtol=1e-12)
    weights = list(model.parameters())
    pairs = zip(*(torch.autograd.grad(logits.square().sum(), weights) for logits in (asked, everywhere)), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def test_a_short_convolution_reads_the_last_taps_and_nothing_later():
    model = make(MODELS[0])
    convolution, x = model.blocks[0].convolution, torch.randn(1, 6, 8, dtype=torch.float64)
    expected = sum(convolution.weight[:, 3 - j] * (x[0, 5 - j]) for j in range(4))
    torch.testing.assert_close(convolution(x)[0, 5], expected)
    torch.testing.assert_close(convolution(x)[0, 0], convolution.weight[:, 3] * x[0, 0])


@pytest.mark.parametrize("fields", MODELS)
def test_cost_beside_the_mixers_is_what_the_flop_counter_sees_and_the_convolutions(fields):
    model = make(fields)
    cost = model.cost(13, 5)
    assert cost == model_cost(model.config, 13, 5)
    # the counter sees no convolution (it is no matrix product), and of a mixer whole score matrices, where `cost` has causal pairs
    convolutions = sum(2 * 13 * block.convolution.weight.numel() for block in model.blocks if block.convolution)
    counted = flops(lambda: model.logits_at(TOKENS[:1], torch.arange(5)))
    counted_in_mixers = sum(flops(lambda block=block: block.mixer(torch.ones(1, 13, 8).double())) for block in model.blocks)
    mixers = sum(block.mixer.cost(13).flops for block in model.blocks)
    assert cost.flops - mixers - convolutions == counted - counted_in_mixers > 0


def flops(run: Callable[[], object]) -> int:
    """Floating-point operations in the matrix products of a call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_equal_models_have_equal_descriptions_whether_or_not_defaults_are_spelt():
    short = LanguageModelConfig(vocab_size=5, mixer="attention", fields={})
    spelt = LanguageModelConfig(vocab_size=5, mixer="attention", fields={"width": 64, "heads": 1, "positions": "none"})
    assert short == spelt


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"short_conv": 0}, "short_conv must be at least 1, got 0"),
        ({"fields": {"width": 8, "heads": 3}}, "heads must divide width=8, got 3"),
        ({"fields": {"width": 2, "heads": 2, "positions": "rotary"}}, "rotary positions need an even number of features"),
        ({"mixer": "sliding_window", "fields": {"window": 0}}, "window must be at least 1"),
        ({"mixer": "linear_attention", "fields": {"feature_width": 0}}, "feature_width must be at least 1"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_field_the_value_and_the_limit(fields, said):
    with pytest.raises(ValueError, match=said):
        LanguageModelConfig(vocab_size=5, **fields)


@pytest.mark.parametrize(
    ("mixer", "fields", "scalars"),
    [("attention", {"heads": 2}, 4000), ("sliding_window", {"width": 32}, 2000), ("linear_attention", {"width": 32}, 1500)],
)
def test_a_state_that_a_mixer_can_have_is_found_within_a_quarter(mixer, fields, scalars):
    config = LanguageModelConfig(vocab_size=64, mixer=mixer, fields=fields)
    found = with_state(config, scalars, 32)
    assert abs(state_size(found, 32) - scalars) <= 0.25 * scalars
    knob = mixer_class(mixer).state_knob
    others = {key: value for key, value in found.fields.items() if key != knob}
    assert others == {key: value for key, value in config.fields.items() if key != knob}


@pytest.mark.parametrize(("mixer", "scalars"), [("sliding_window", 10**6), ("linear_attention", 3)])
def test_a_state_that_a_mixer_cannot_have_is_refused_with_the_nearest(mixer, scalars):
    config = LanguageModelConfig(vocab_size=64, mixer=mixer, fields={"width": 32})
    with pytest.raises(ValueError, match=f"{mixer} cannot have a state of {scalars} scalars after 32 tokens; nearest is"):
        with_state(config, scalars, 32)


def test_an_import_path_names_a_mixer_and_what_is_none_is_refused():
    assert mixer_class("recall_lab.models.attention:Attention") is mixer_class("attention")
    with pytest.raises(KeyError):
        mixer_class("atention")
    with pytest.raises(TypeError, match="is not a Mixer"):
        mixer_class("torch.nn:Linear")
    with pytest.raises(ImportError, match="has no 'Nothing'"):
        mixer_class("recall_lab.models.attention:Nothing")
