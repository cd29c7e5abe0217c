"""Evidence, claims and how they are found."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recall_lab.theory
from recall_lab.theory import CLAIMS, Claim, Evidence

numbers = st.floats(-1e6, 1e6)


@given(measured=numbers, reference=numbers, tolerance=st.floats(0, 1e6))
def test_evidence_holds_within_its_tolerance_and_not_beyond(measured: float, reference: float, tolerance: float) -> None:
    def holds(**reference: float) -> bool:
        return Evidence(quantity="q", measured=measured, tolerance=tolerance, **reference).holds

    assert holds(predicted=reference) == (tolerance - abs(measured - reference) >= 0)
    assert holds(at_most=reference) == (reference - measured + tolerance >= 0)
    assert holds(at_least=reference) == (measured - reference + tolerance >= 0)
    assert holds(at_most=reference, at_least=reference) == holds(predicted=reference)


def test_the_margin_is_that_of_the_worst_entry_against_the_worst_reference() -> None:
    evidence = Evidence(
        quantity="q",
        measured=np.array([1.0, 2.0, 3.0]),
        at_most=np.array([1.5, 2.25, 9.0]),
        at_least=0.0,
        predicted=2.0,
        tolerance=np.array([1.0, 0.0, 1.5]),
    )
    assert evidence.margin == 0.0  # the first entry is 1 from its prediction, which its tolerance allows
    assert evidence.holds


@pytest.mark.parametrize(
    "fields, summary",
    [
        ({"measured": 0.25, "predicted": 0.5}, "0.25 = 0.5"),
        (
            {"measured": np.array([1.0, 2.0]), "at_most": 3.0, "at_least": np.array([0.5, 1.9]), "tolerance": 0.1},
            "2 >= 1.9 ± 0.1 (tightest of 2)",
        ),
        ({"measured": np.array([[1.0, math.nan]]), "at_most": 3.0}, "nan <= 3 (tightest of 2)"),
    ],
)
def test_the_summary_is_on_the_entry_nearest_to_failing(fields: dict, summary: str) -> None:
    assert Evidence(quantity="q", **fields).summary() == summary


@pytest.mark.parametrize("reference", ["predicted", "at_most", "at_least"])
def test_one_number_that_is_none_breaks_the_evidence(reference: str) -> None:
    evidence = Evidence(quantity="q", measured=np.array([0.0, math.nan]), tolerance=1.0, **{reference: 0.0})
    assert math.isnan(evidence.margin)
    assert not evidence.holds


def test_one_entry_out_of_many_breaks_the_evidence() -> None:
    measured = np.zeros(1000)
    assert Evidence(quantity="q", measured=measured, at_most=0.0).holds
    measured[617] = 1e-12
    assert not Evidence(quantity="q", measured=measured, at_most=0.0).holds


@pytest.mark.parametrize(
    "fields, complaint",
    [
        ({"measured": 1.0}, "must give predicted, at_most or at_least"),
        ({"measured": np.array([]), "predicted": 1.0}, "empty"),
        ({"measured": 1.0, "predicted": 1.0, "tolerance": -1e-9}, "at least 0"),
        ({"measured": np.zeros(3), "at_most": np.zeros(2)}, "at_most must broadcast"),
        ({"measured": np.zeros(3), "at_most": np.zeros((2, 3))}, "at_most must broadcast"),
        ({"measured": 1.0, "predicted": 1.0, "tolerance": np.zeros(2)}, "tolerance must broadcast"),
    ],
)
def test_evidence_that_says_nothing_is_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Evidence(quantity="q", **fields)


def test_evidence_survives_json() -> None:
    evidence = Evidence(
        quantity="bits",
        measured=np.array([[1.0, math.nan]]),
        at_most=np.array([2.0, math.inf]),
        arrays={"pairs": np.arange(3), "kept": np.array([True, False])},
    )
    plain = json.loads(json.dumps(evidence.to_dict(), allow_nan=False))
    assert plain == {
        "quantity": "bits",
        "holds": False,
        "measured": [[1.0, None]],
        "predicted": None,
        "at_most": [2.0, None],
        "at_least": None,
        "tolerance": 0.0,
        "margin": None,
        "arrays": {"pairs": [0, 1, 2], "kept": [True, False]},
    }


def _no_check(scale: str, seed: int) -> Evidence:
    return Evidence(quantity="q", measured=0.0, predicted=0.0)


@pytest.mark.parametrize("name", ["wall", "recall.Wall", "recall wall", "recall.wall.low", ".wall", "recall."])
def test_a_claim_has_a_name_of_two_words(name: str) -> None:
    with pytest.raises(ValueError, match=r"family\.claim"):
        Claim(name=name, statement="s", source="s", standing="new", check=_no_check)


def test_the_claims_of_recall_are_there_under_their_names() -> None:
    ours = {name for name in CLAIMS if name.startswith("recall.")}
    assert ours == {"recall.wall", "recall.window", "recall.outer_product", "recall.key_blind", "recall.mqar_construction"}
    assert all(name == claim.name for name, claim in CLAIMS.items())


THEOREM = """
from recall_lab.theory import Claim, Evidence
def check(scale, seed):
    return Evidence(quantity="q", measured=0.0, at_most=0.0)
TRUTH = Claim(name="extra.{name}", statement="s", source="s", standing="new", check=check)
"""


def test_adding_a_theorem_is_adding_a_file(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_lab.theory, "__path__", [*recall_lab.theory.__path__, str(tmp_path)])
    (tmp_path / "one_more.py").write_text(THEOREM.format(name="one"))
    found = recall_lab.theory._discover()
    assert set(found) - set(CLAIMS) == {"extra.one"}
    assert found["extra.one"].check("quick", seed=0).holds
    (tmp_path / "one_too_many.py").write_text(THEOREM.format(name="one"))
    with pytest.raises(ValueError, match=r"'extra\.one' a second time"):
        recall_lab.theory._discover()


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_holds_again_in_the_same_way(name: str) -> None:
    evidence = CLAIMS[name].check("quick", seed=0)
    assert evidence.holds, f"{name}: margin {evidence.margin}"
    assert CLAIMS[name].check("quick", seed=0).to_dict() == evidence.to_dict()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_holds_whatever_the_seed(name: str, seed: int) -> None:
    evidence = CLAIMS[name].check("quick", seed=seed)
    assert evidence.holds, f"{name}: margin {evidence.margin}"


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_holds_at_full_scale(name: str) -> None:
    evidence = CLAIMS[name].check("full", seed=0)
    assert evidence.holds, f"{name}: margin {evidence.margin}"
