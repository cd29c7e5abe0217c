"""Two rules to discretise the input of a state space model."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from recall_lab.theory import CLAIMS
from recall_lab.theory.mamba import zoh_vs_euler
from recall_lab.theory.mamba.zoh_vs_euler import held


@pytest.mark.parametrize("x, too_much, as_share_of_itself", [(0.05, 0.025, 0.025), (1.0, 0.582, 0.368), (16.0, 15.0, 0.9375)])
def test_eulers_rule_takes_in_too_much_by_the_stated_share(x: float, too_much: float, as_share_of_itself: float) -> None:
    euler, hold = (held(torch.tensor([x], dtype=torch.float64), rule, 1).item() for rule in ("euler", "zoh"))
    assert euler / hold - 1 == pytest.approx(too_much, abs=6e-4)
    assert 1 - hold / euler == pytest.approx(as_share_of_itself, abs=6e-4)


@pytest.mark.parametrize("x", [0.3, 2.0])
def test_the_hold_is_what_an_integrator_of_the_differential_equation_finds(x: float) -> None:
    solution = solve_ivp(lambda _, h: 1 - h, (0.0, x), [0.0], rtol=1e-10, atol=1e-12).y[0, -1]
    for pieces in (1, 7):
        assert held(torch.tensor([x], dtype=torch.float64), "zoh", pieces).item() == pytest.approx(solution, abs=1e-9)


def test_eulers_rule_comes_near_as_steps_become_short() -> None:
    x = torch.tensor([1.0], dtype=torch.float64)
    errors = [held(x, "euler", pieces).item() / -math.expm1(-1) - 1 for pieces in (1, 10, 100)]
    np.testing.assert_allclose(errors, [0.582, 0.0508, 0.00501], rtol=0.01)


@pytest.mark.parametrize("rule", ["zoh", "euler"])
def test_one_rule_for_both_breaks_the_claim(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    monkeypatch.setattr(zoh_vs_euler, "held", lambda x, _, pieces: held(x, rule, pieces))
    assert not CLAIMS["mamba.zoh_vs_euler"].check("quick", seed=0).holds
