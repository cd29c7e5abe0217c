"""What a layer whose mixing ignores its input can do about induction heads."""

import numpy as np
import pytest

from recall_lab.tasks import Induction
from recall_lab.theory import CLAIMS
from recall_lab.theory.mamba import fixed_mixing
from recall_lab.theory.mamba.fixed_mixing import comparisons, settled
from recall_lab.theory.mamba.lti_induction import InductionHeads


def test_inputs_and_answers_are_those_of_the_task() -> None:
    tokens, answers = InductionHeads(5, 2, 1).inputs()
    assert len(tokens) == 4 * 2**4 == len({tuple(row) for row in tokens.tolist()})
    task = Induction(length=6, values=2)
    asked = np.full((len(tokens), 1), task.keys[0])
    np.testing.assert_array_equal(task.solve(np.hstack([tokens, asked]))[:, -1], answers)


@pytest.mark.parametrize("values", [2, 3])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_the_theorem_and_its_proofs_agree_with_linear_programming(values: int, window: int) -> None:
    for cells in (2, 3, 4, 5):
        instance = InductionHeads(cells, values, window)
        found = settled(instance)
        assert found.exact == instance.possible, instance
        assert (found.margin > 0.01) == instance.possible, instance


def test_a_cell_more_than_can_be_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InductionHeads, "possible", property(lambda instance: instance.window >= 2 or instance.cells <= 4))
    assert not CLAIMS["mamba.lti_induction"].check("quick", seed=0).holds


def test_pairs_of_neighbours_where_single_tokens_are_meant_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fixed_mixing, "comparisons", lambda tokens, answers, *, symbols, window: comparisons(tokens, answers, symbols=symbols, window=2)
    )
    assert not CLAIMS["mamba.lti_induction"].check("quick", seed=0).holds


def test_a_certificate_with_rivals_that_were_not_shown_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InductionHeads, "certificate", lambda instance, asked: np.ones(len(asked.answer), np.bool_))
    assert not CLAIMS["mamba.lti_induction"].check("quick", seed=0).holds
