"""The doctor's self-test knows every operator, and notices one that is wrong."""

import pytest
import torch

from recall_lab import kernels
from recall_lab.checkup import _kernels, _operators_agree, checkup


def test_every_operator_with_all_its_bodies_is_tested() -> None:
    tested = {*_kernels("reference").split(", ")}
    written = {name for name, operator in kernels.OPERATORS.items() if operator.triton is not None}
    assert tested == {*_kernels("eager").split(", ")} == written


@pytest.mark.interpreter
def test_what_runs_on_a_gpu_runs_in_the_interpreter() -> None:
    with kernels.backend("triton"):
        assert "sparse_attention" in _operators_agree(torch.randn(3, 1, 20, 4), at_most=1e-3)


OPERATORS = ["softmax_attention", "linear_attention", "causal_conv", "selective_scan", "ssd_scan", "sparse_attention"]


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_that_is_wrong_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(kernels, name)
    monkeypatch.setattr(kernels, name, lambda *args, **kwargs: 1.01 * right(*args, **kwargs))
    broken = {finding.what: finding.detail for finding in checkup() if finding.works is False and "kernels" in finding.what}
    assert broken == dict.fromkeys(("kernels, reference", "kernels, eager"), f"RuntimeError: {name} is off by 0.01")


def test_a_selection_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    right = kernels.causal_topk
    monkeypatch.setattr(kernels, "causal_topk", lambda scores, k: right(scores, k + 1))
    with pytest.raises(RuntimeError, match=r"causal_topk is off by 0\.2"):
        _kernels("eager")
