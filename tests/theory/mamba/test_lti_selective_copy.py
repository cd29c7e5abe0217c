"""What a layer whose mixing ignores its input can copy."""

import numpy as np
import pytest
import torch

from recall_lab.kernels import selective_scan
from recall_lab.tasks import IGNORE, SelectiveCopy, Stream
from recall_lab.theory import CLAIMS
from recall_lab.theory.mamba import fixed_mixing
from recall_lab.theory.mamba.fixed_mixing import comparisons, settled
from recall_lab.theory.mamba.lti_selective_copy import Copying

SMALL = [
    Copying(cells, content, asked, 2, window)
    for content in (1, 2, 3, 4)
    for cells in range(content, 7)
    for asked in range(1, content + 1)
    for window in (1, 2, 3)
]


@pytest.mark.parametrize("asked", [1, 2, 3])
def test_inputs_and_answers_are_those_of_the_task(asked: int) -> None:
    instance = Copying(5, 3, asked, 2)
    task = SelectiveCopy(length=5 + 1 + 3, values=2, content=3)
    tokens, answers = instance.inputs()
    assert len(tokens) == 10 * 2**3 == len({tuple(row) for row in tokens.tolist()})
    end = np.tile([task.copy, *[task.blank] * 3], (len(tokens), 1))
    np.testing.assert_array_equal(task.solve(np.hstack([tokens, end]))[:, 5 + asked], answers)


def test_the_theorem_and_its_proofs_agree_with_linear_programming_on_every_small_instance() -> None:
    for instance in SMALL:
        found = settled(instance)
        assert found.exact == instance.possible, instance
        assert (found.margin > 0.01) == instance.possible, instance


@pytest.mark.parametrize("window, cells", [(1, 3), (2, 5), (3, 7)])
def test_the_middle_of_three_is_lost_at_the_first_cell_beyond_twice_the_window_and_one(window: int, cells: int) -> None:
    assert Copying(cells, 3, 2, 2, window).possible
    assert not Copying(cells + 1, 3, 2, 2, window).possible


def test_the_last_content_token_is_copied_by_a_state_that_fades() -> None:
    task = SelectiveCopy(length=40, values=5, content=6)
    batch = task.sample(Stream(0, "test"), 0, 50)
    shown = torch.nn.functional.one_hot(torch.from_numpy(batch.tokens).long(), task.vocab_size)[..., : task.values].double()
    steps, ones = torch.full_like(shown, np.log(3)), torch.ones_like(shown[..., :1])
    y = selective_scan(shown, steps, -torch.ones(task.values, 1).double(), ones, ones, dt_softplus=False)
    np.testing.assert_array_equal(y[:, -1].argmax(dim=1), batch.targets[:, -1])
    assert (batch.targets[:, -1] != IGNORE).all()


def test_a_bound_that_asks_for_windows_apart_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """With M + 1 cells w apart the proof is easier, and the bound L <= M w not the best."""
    possible = property(lambda instance: instance.asked in (1, instance.content) or instance.cells <= instance.content * instance.window)
    monkeypatch.setattr(Copying, "possible", possible)
    assert not CLAIMS["mamba.lti_selective_copy"].check("quick", seed=0).holds


def test_a_certificate_of_one_family_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = Copying.certificate
    monkeypatch.setattr(
        Copying, "certificate", lambda instance, asked: certificate(instance, asked) & (asked.tokens[:, 0] < instance.symbols)
    )
    assert not CLAIMS["mamba.lti_selective_copy"].check("quick", seed=0).holds


def test_a_weight_that_does_not_grow_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Copying, "score", lambda instance, place, view, symbol: int(view[-1] == symbol))
    assert not CLAIMS["mamba.lti_selective_copy"].check("quick", seed=0).holds


def test_a_mixing_that_sees_the_whole_input_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fixed_mixing,
        "comparisons",
        lambda tokens, answers, *, symbols, window: comparisons(tokens, answers, symbols=symbols, window=8),
    )
    assert not CLAIMS["mamba.lti_selective_copy"].check("quick", seed=0).holds


def test_more_symbols_change_no_margin_to_or_from_nothing() -> None:
    for symbols in (2, 3):
        assert settled(Copying(4, 3, 2, symbols)).margin == pytest.approx(0, abs=1e-7)
        assert settled(Copying(3, 3, 2, symbols)).margin > 0.01
