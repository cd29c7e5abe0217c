"""The contract of `Mixer`, held for every mixer of the registry under every kind of its configuration."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from recall_lab.models import MIXERS, Mixer, ProjectedMixer, count_scalars, mixer_class

READ = {"budget": 2, "dilation": 3, "hash_bits": 1, "state_width": 2}
"""so little that short sequences go beyond it"""
CONFIGS = {
    "attention": [{}, {"positions": "rotary"}, {"heads": 2, "positions": "rotary"}],
    "sliding_window": [{"window": 1}, {"window": 3}, {"window": 4, "heads": 2, "positions": "rotary"}, {"window": 100}],
    "linear_attention": [
        {"feature_width": 3},
        {"feature_width": 2, "heads": 2},
        {"feature_width": 3, "feature_map": "elu_plus_one"},
        {"feature_width": 3, "heads": 2, "feature_map": "taylor"},
    ],
    "hax": [
        {"pattern": "hax", "budget": 4, "hash_bits": 2, "state_width": 3},
        *({"pattern": pattern, **READ} for pattern in ("full", "a", "lsh", "ks")),
    ],
    "hax_mamba": [{"pattern": pattern, **READ} for pattern in ("hax", "sw")],
    "mamba": [
        {"state_width": 3},
        {"state_width": 1, "expand": 1, "conv": 1, "dt_rank": 3},
        *({"state_width": 2, "selective": signals} for signals in ((), ("dt",), ("B",), ("C",), ("B", "C"))),
    ],
    "mamba2": [
        {"state_width": 3, "head_width": 16},
        {"state_width": 1, "expand": 1, "conv": 1, "head_width": 2},
        {"state_width": 2, "head_width": 4, "groups": 2},
        *({"state_width": 2, "head_width": 4, "selective": signals} for signals in ((), ("dt",), ("B",), ("C",), ("B", "C"))),
    ],
    "sparse": [
        {"pattern": "full", "heads": 2},
        *(
            {"pattern": pattern, "budget": 4, "dilation": 3, "hash_bits": 1, "heads": 2}
            for pattern in ("sw", "d", "sw+d", "a", "lsh", "ks", "hax")
        ),
    ],
}
"""fields beside the width; a mixer that is registered and missing here fails `test_every_registered_mixer_is_tested`"""

CASES = [
    pytest.param(name, fields, id="-".join([name, *(f"{key}={value}" for key, value in fields.items())]))
    for name in CONFIGS
    for fields in CONFIGS[name]
]
PROJECTED = [case for case in CASES if issubclass(mixer_class(case.values[0]), ProjectedMixer)]
"""mixers of queries, keys and values: what they promise beyond the contract"""

WIDTH = 8
LENGTHS = st.sampled_from([1, 2, 5, 7, 16])


def make(name: str, fields: dict) -> Mixer:
    torch.manual_seed(0)
    kind = mixer_class(name)
    mixer = kind(kind.Config(width=WIDTH, **fields)).double()
    for factor in ("D", "E"):  # initially 1, and so could be left out unseen
        if hasattr(mixer, factor):
            torch.nn.init.normal_(getattr(mixer, factor))
    return mixer


def inputs(length: int, batch: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, length, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def decode(mixer: Mixer, x: torch.Tensor) -> tuple[torch.Tensor, object]:
    state, outputs = mixer.init_state(x.shape[0]), []
    for t in range(x.shape[1]):
        y, state = mixer.step(x[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


def test_every_registered_mixer_is_tested():
    assert set(CONFIGS) == set(MIXERS)


@pytest.mark.parametrize(("name", "fields"), CASES)
@given(length=LENGTHS)
def test_steps_from_the_initial_state_give_the_parallel_form(name, fields, length):
    mixer, x = make(name, fields), inputs(length)
    torch.testing.assert_close(decode(mixer, x)[0], mixer(x), atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize(("name", "fields"), CASES)
@given(length=LENGTHS)
def test_state_size_counts_the_scalars_that_step_carries(name, fields, length):
    mixer, x = make(name, fields), inputs(length)
    assert mixer.state_size(0) == count_scalars(mixer.init_state(3))
    assert mixer.state_size(length) == count_scalars(decode(mixer, x)[1])


@pytest.mark.parametrize(("name", "fields"), CASES)
@given(length=LENGTHS)
def test_the_mixing_matrix_applied_to_the_values_is_the_output(name, fields, length):
    mixer, x = make(name, fields), inputs(length)
    matrix = mixer.mixing_matrix(x)
    values = mixer.values(x)
    assert matrix.shape == (*values.shape[:2], length, length)
    assert (matrix.triu(1) == 0).all()
    torch.testing.assert_close(mixer.output(matrix @ values, x), mixer(x), atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize(("name", "fields"), CASES)
@given(length=st.sampled_from([2, 5, 16]), data=st.data())
def test_no_output_depends_on_a_later_input(name, fields, length, data):
    mixer, x = make(name, fields), inputs(length).requires_grad_()
    t = data.draw(st.integers(0, length - 2))
    (gradient,) = torch.autograd.grad(mixer(x)[:, : t + 1].square().sum(), x)
    assert (gradient[:, t + 1 :] == 0).all()
    edited = x.detach().clone()
    edited[:, t + 1 :] += 100 * inputs(length, seed=2)[:, t + 1 :]
    torch.testing.assert_close(mixer(edited)[:, : t + 1], mixer(x)[:, : t + 1], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("name", "fields"), CASES)
def test_samples_of_a_batch_do_not_see_each_other(name, fields):
    mixer, x = make(name, fields), inputs(9, batch=3)
    alone = torch.cat([mixer(x[b : b + 1]) for b in range(3)])
    torch.testing.assert_close(mixer(x), alone, atol=1e-12, rtol=1e-12)
    assert mixer(x[:0]).shape == (0, 9, WIDTH)
    assert mixer(x[:, :0]).shape == (3, 0, WIDTH)
    assert mixer.mixing_matrix(x[:, :0]).shape[2:] == (0, 0)


@pytest.mark.parametrize(("name", "fields"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_outputs_have_the_dtype_of_the_weights(name, fields, dtype):
    mixer, x = make(name, fields).to(dtype), inputs(5).to(dtype)
    assert mixer(x).dtype == decode(mixer, x)[0].dtype == mixer.mixing_matrix(x).dtype == dtype


@pytest.mark.parametrize(("name", "fields"), CASES)
def test_cost_is_counted_and_grows_no_faster_than_the_square(name, fields):
    at, at_twice = (make(name, fields).cost(length) for length in (4096, 8192))
    for one, other in zip(at, at_twice, strict=True):
        assert 0 < one < other <= 4 * one


@pytest.mark.parametrize(("name", "fields"), PROJECTED)
def test_there_are_as_many_mixing_matrices_as_heads(name, fields):
    mixer = make(name, fields)
    assert mixer.mixing_matrix(inputs(4)).shape[1] == fields.get("heads", 1) == mixer.config.heads


@pytest.mark.parametrize(("name", "fields"), PROJECTED)
def test_the_mixing_matrix_is_differentiable_in_the_queries_and_the_keys(name, fields):
    mixer = make(name, fields)
    matrix = mixer.mixing_matrix(inputs(6))
    (matrix * inputs(6).mean()).square().sum().backward()
    for projection in (mixer.query, mixer.key):
        if name == "sliding_window" and fields["window"] == 1:
            continue  # one position has weight 1, whatever the scores
        assert projection.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("name", "fields"), PROJECTED)
def test_cost_counts_the_projections_and_what_is_mixed_exactly(name, fields):
    mixer = make(name, fields)
    with FlopCounterMode(display=False) as counter:
        for projection in (mixer.query, mixer.key, mixer.value, mixer.out):
            projection(inputs(32, batch=1))
    mixing = mixer.cost(32).flops - counter.get_total_flops()
    pairs = int((mixer.mixing_matrix(inputs(32, batch=1)) != 0).sum()) // mixer.config.heads
    if name == "linear_attention":
        assert mixing == 4 * 32 * mixer.state_size(32)  # an outer product and a reading of the state at every position
    elif fields.get("pattern", "full") in ("full", "sw", "d"):
        assert mixing == 4 * pairs * WIDTH  # a score and a weighted sum for every pair that is read
    else:  # parts of a union are counted apart, bins as if they were full; and choosing costs
        assert mixing > 4 * pairs * WIDTH
    exponent = np.log2(mixer.cost(8192).flops / mixer.cost(4096).flops)
    quadratic = name == "attention" or fields.get("pattern") in ("full", "d", "sw+d")
    assert exponent < (2.0 if quadratic else 1.1)


@pytest.mark.parametrize(("name", "fields"), CASES)
def test_a_configuration_survives_being_written_down(name, fields):
    config = mixer_class(name).Config(width=WIDTH, **fields)
    assert type(config)(**asdict(config)) == config
