"""Joint recall by a hash."""

import pytest

from recall_lab.theory import CLAIMS
from recall_lab.theory.constructions import joint_recall_lsh, joint_recall_signs
from recall_lab.theory.hax import solves


def test_the_claim_holds_on_other_samples_and_planes() -> None:
    evidence = CLAIMS["hax.solves"].check("quick", seed=100)
    assert evidence.holds
    assert evidence.arrays["missed"][-1] < evidence.arrays["missed"][0] / 2


def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solves, "TASKS", solves.TASKS[:1])
    monkeypatch.setattr(solves, "SIDES", (8,))
    monkeypatch.setattr(solves, "DRAWS", 3)
    assert CLAIMS["hax.solves"].check("quick", seed=0).holds


def test_keys_from_another_tap_break_it(monkeypatch: pytest.MonkeyPatch) -> None:
    little(monkeypatch)
    monkeypatch.setattr(joint_recall_lsh, "LAST", -3)
    assert not CLAIMS["hax.solves"].check("quick", seed=0).holds


@pytest.mark.parametrize("which, fault", [(0, (8, 4)), (1, (8, 16)), (2, (8, 16))])
def test_fewer_planes_or_positions_a_bin_than_stated_break_it(which: int, fault: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    little(monkeypatch)
    monkeypatch.setattr(solves, "HASHES", (*solves.HASHES[:which], fault, *solves.HASHES[which + 1 :]))
    assert not CLAIMS["hax.solves"].check("quick", seed=0).holds


def test_one_code_for_all_that_is_no_key_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    little(monkeypatch)
    construct = joint_recall_lsh.joint_recall_lsh_construction
    monkeypatch.setattr(solves, "joint_recall_lsh_construction", lambda task, **fields: construct(task, "plain", **fields))
    assert not CLAIMS["hax.solves"].check("quick", seed=0).holds


@pytest.mark.parametrize("constant, fault", [("PLANES_PER_BIT", 0.5), ("SIGNS_PER_BIT", 0.7), ("SIGNS_PER_BIT", 8)])
def test_few_planes_few_signs_or_more_signs_than_stated_break_it(constant: str, fault: float, monkeypatch: pytest.MonkeyPatch) -> None:
    little(monkeypatch)
    monkeypatch.setattr(joint_recall_signs, constant, fault)
    assert not CLAIMS["hax.solves"].check("quick", seed=0).holds
