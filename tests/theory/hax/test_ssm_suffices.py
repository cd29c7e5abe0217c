"""Joint recall at the paper's sizes without attention."""

import pytest

from recall_lab.theory import CLAIMS
from recall_lab.theory.constructions import joint_recall


def test_the_claim_holds_on_other_samples() -> None:
    assert CLAIMS["hax.ssm_suffices"].check("quick", seed=5).holds


@pytest.mark.parametrize("constant, fault", [("RESET", 0.7), ("SHARPNESS", 3.0), ("THRESHOLD", 0.5), ("HOLD", 0.0), ("ANSWER", 0.9)])
def test_contexts_that_linger_gates_ajar_a_table_that_fades_or_a_faint_answer_break_it(
    constant: str, fault: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint_recall, constant, fault)
    assert not CLAIMS["hax.ssm_suffices"].check("quick", seed=0).holds
