"""Positions of a table that a fixed pattern can reach, and what they hold."""

import pytest

from recall_lab.kernels import Strided, Window
from recall_lab.models.mamba2 import Mamba2, Mamba2Config
from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import prefix_wall
from recall_lab.theory.hax.reach import TASK, UP_TO_SEP, read, seen


def test_at_the_papers_sizes_no_wall_binds() -> None:
    mamba2 = Mamba2(Mamba2Config(width=64, state_width=32, head_width=16))
    assert mamba2.config.inner * mamba2.config.state_width == 4096
    assert 2 * mamba2.state_size(TASK.length) >= 2 * 4096 > TASK.answer_bits == 1024
    entry = mamba2.config.state_width + mamba2.config.inner
    assert all(u * entry > TASK.answer_bits for _, u in prefix_wall.PATTERNS)  # a bit a scalar, one layer


def test_a_window_that_reads_one_position_more_than_it_says_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaky(pattern, length, cut):
        return read(Window(pattern.size + 1) if isinstance(pattern, Window) else pattern, length, cut)

    monkeypatch.setattr(prefix_wall, "read", leaky)
    assert not CLAIMS["hax.prefix_wall"].check("quick", seed=0).holds


def test_positions_of_the_first_question_alone_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if k keys a query were k keys: a stride then passes for a CISA of 17."""

    def of_one_query(pattern, length, cut):
        return seen(pattern, cut + 1, cut)

    monkeypatch.setattr(prefix_wall, "seen", of_one_query)
    assert of_one_query(Strided(32), TASK.length, UP_TO_SEP).sum() == 16
    assert not CLAIMS["hax.prefix_wall"].check("quick", seed=0).holds


def test_more_answers_than_an_entry_has_room_for_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_wall, "certified_by_entries", lambda entries, questions: 4.0 * min(questions, 2 + 2 * entries))
    assert not CLAIMS["hax.prefix_wall"].check("quick", seed=0).holds
