"""What Mamba's blocks promise beyond the contract of every mixer."""

import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from recall_lab.models import Mixer, count_scalars, mixer_class

BLOCKS = {"mamba": {"state_width": 4}, "mamba2": {"state_width": 4, "head_width": 8}}
every_block = pytest.mark.parametrize("name", BLOCKS)
SIGNALS = ("dt", "B", "C")


def make(name: str, dtype: torch.dtype = torch.float64, width: int = 16, **fields: object) -> Mixer:
    torch.manual_seed(0)
    kind = mixer_class(name)
    return kind(kind.Config(width=width, **BLOCKS[name] | fields)).to(dtype)


def inputs(length: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(2, length, 16, generator=torch.Generator().manual_seed(length), dtype=torch.float64).to(dtype)


@every_block
def test_without_selection_the_mixing_matrix_is_a_convolution_that_knows_nothing_of_the_input(name):
    mixer = make(name, selective=())
    one, other = (mixer.mixing_matrix(scale * inputs(12)) for scale in (1, -3))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    torch.testing.assert_close(one[..., 1:, 1:], one[..., :-1, :-1], rtol=1e-12, atol=1e-15)


@every_block
@pytest.mark.parametrize("signal", SIGNALS)
def test_each_signal_that_is_selective_makes_the_mixing_matrix_depend_on_the_input(name, signal):
    mixer = make(name, selective=(signal,))
    one, other = (mixer.mixing_matrix(scale * inputs(12)) for scale in (1, -3))
    assert (one - other).abs().max() > 1e-6


@every_block
@pytest.mark.parametrize("signal", SIGNALS)
def test_a_constant_signal_is_learned(name, signal):
    mixer = make(name, selective=tuple(set(SIGNALS) - {signal}))
    mixer(inputs(9)).square().sum().backward()
    constant = mixer.dt_bias if (name, signal) == ("mamba2", "dt") else mixer.constants[signal]
    assert constant.grad.abs().min() > 0


@every_block
def test_signals_in_another_order_are_the_same_model(name):
    config = mixer_class(name).Config
    assert config(width=64, selective=("C", "dt")) == config(width=64, selective=("dt", "C"))


@every_block
def test_a_thousand_steps_in_float32_give_the_parallel_form_with_a_state_that_does_not_grow(name):
    mixer, x = make(name, torch.float32), inputs(1024, torch.float32)
    with torch.no_grad():
        expected = mixer(x)
        state, sizes = mixer.init_state(2), set()
        for t in range(1024):
            y, state = mixer.step(x[:, t], state)
            sizes.add(count_scalars(state))
            assert (y - expected[:, t]).abs().max() <= 1e-5 * expected.abs().max()
    assert sizes == {mixer.state_size(1024)}


@every_block
@pytest.mark.parametrize("cut", [0, 1, 3, 8, 9])
def test_a_sequence_may_be_given_in_pieces_and_then_token_by_token(name, cut):
    mixer, x = make(name), inputs(9)
    start, state = mixer.resume(x[:, :cut], None)
    rest, _ = mixer.resume(x[:, cut:], state)
    torch.testing.assert_close(torch.cat([start, rest], dim=1), mixer(x), rtol=0, atol=1e-12)
    steps = []
    for t in range(cut, 9):
        y, state = mixer.step(x[:, t], state)
        steps.append(y)
    torch.testing.assert_close(torch.stack([*start.unbind(1), *steps], dim=1), mixer(x), rtol=0, atol=1e-12)


@every_block
def test_the_mixing_matrix_is_exact_where_steps_are_mixed(name):
    """Steps of 1e-3 and of hundreds, side by side: differences of running sums would have lost their digits."""
    mixer, x = make(name), inputs(40)
    bias = mixer.dt_proj.bias if name == "mamba" else mixer.dt_bias
    with torch.no_grad():
        bias[::2] += 300
    mixed = mixer.mixing_matrix(x) @ mixer.values(x)
    torch.testing.assert_close(mixer.output(mixed, x), mixer(x), rtol=0, atol=1e-10)


@every_block
def test_a_gradient_reaches_every_weight_through_the_mixing_matrix_or_the_gate(name):
    mixer, x = make(name), inputs(9)
    mixer.output(mixer.mixing_matrix(x) @ mixer.values(x), x).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in mixer.parameters())


@every_block
@pytest.mark.parametrize("selective", [SIGNALS, ("B",), ()])
def test_cost_is_proportional_to_length_and_counts_the_linear_maps_exactly(name, selective):
    mixer = make(name, selective=selective)
    costs = [mixer.cost(length).flops for length in (64, 128, 192, 1024)]
    assert costs == [costs[0] * times for times in (1, 2, 3, 16)]
    with FlopCounterMode(display=False) as counter:
        for linear in (module for module in mixer.modules() if isinstance(module, torch.nn.Linear)):
            linear(torch.zeros(64, linear.in_features, dtype=torch.float64))
    config, taps = mixer.config, mixer.config.conv
    inner, states = config.inner, config.state_width
    if name == "mamba":
        rest = 2 * taps * inner + 7 * inner * states + 13 * inner
    else:
        heads, convolved = config.heads, mixer.conv1d.in_channels
        rest = 2 * taps * convolved + 128 * states + heads * (128 * 8 + 192 + 32 * states) + 15 * inner
    assert costs[0] == counter.get_total_flops() + 64 * rest


@pytest.mark.parametrize(
    ("name", "fields", "match"),
    [
        ("mamba", {"state_width": 0}, "state_width must be at least 1, got 0"),
        ("mamba", {"conv": 0}, "conv must be at least 1, got 0"),
        ("mamba", {"dt_rank": -1}, "dt_rank must be at least 0, got -1"),
        ("mamba2", {"head_width": 5}, r"head_width must divide expand \* width = 32, got 5"),
        ("mamba2", {"groups": 3}, "groups must divide the 4 heads, got 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(name, fields, match):
    with pytest.raises(ValueError, match=match):
        mixer_class(name).Config(width=16, **BLOCKS[name] | fields)


@pytest.mark.slow
@every_block
def test_a_block_compiles_whole_and_gives_the_same(name):
    """In a process of its own: the tests' type checker wraps functions in ways that the compiler does not follow."""
    fields = {"width": 16, **BLOCKS[name]}
    code = (
        "import torch\n"
        "from recall_lab.models import mixer_class\n"
        f"kind = mixer_class({name!r}); mixer = kind(kind.Config(**{fields!r})).double()\n"
        "x = torch.randn(2, 9, 16, dtype=torch.float64)\n"
        "compiled = torch.compile(mixer, fullgraph=True, backend='aot_eager')\n"
        "sides = [side(x).square().sum() for side in (mixer, compiled)]\n"
        "torch.testing.assert_close(*sides)\n"
        "torch.testing.assert_close(*[torch.autograd.grad(side, list(mixer.parameters())) for side in sides])\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@every_block
def test_steps_run_in_half_precision_as_the_parallel_form_does(name):
    mixer, x = make(name, torch.float32), inputs(3, torch.float32)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected, state = mixer(x), mixer.init_state(2)
        for t in range(3):
            y, state = mixer.step(x[:, t], state)
            torch.testing.assert_close(y.float(), expected[:, t].float(), rtol=0, atol=0.05 * float(expected.abs().max()))


@every_block
def test_no_tokens_are_no_outputs(name):
    mixer = make(name)
    y, state = mixer.resume(inputs(1)[:, :0], None)
    assert y.shape == (2, 0, 16)
    assert count_scalars(state) == mixer.state_size(0)
