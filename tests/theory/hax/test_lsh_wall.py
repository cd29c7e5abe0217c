"""What hashing keeps within reach."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.kernels import bin_ranges
from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import lsh_wall
from recall_lab.theory.hax.lsh_wall import hashed_tables, occupied, reached
from recall_lab.theory.hax.reach import UP_TO_SEP, seen


@given(
    bins=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60),
    per_bin=st.integers(1, 8),
    data=st.data(),
)
@settings(max_examples=60)
def test_whatever_comes_later_only_the_last_of_each_bin_are_reached(bins: list[tuple[int, int]], per_bin: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(bins) - 1))
    queries, keys = torch.tensor(bins).T[:, None, None]
    last = {j for b in range(4) for j in [j for j in range(cut) if bins[j][1] == b][-per_bin:]}
    found = set(seen(bin_ranges(queries, keys, per_bin), len(bins), cut)[0].nonzero().flatten().tolist())
    assert found <= last
    assert len(last) <= min(cut, 4 * per_bin)


def test_the_papers_hash_loses_nothing_of_its_largest_table_unless_keys_crowd() -> None:
    table = hashed_tables(8, torch.Generator().manual_seed(0))
    kept = reached(table, 8, 64).sum(dim=1)
    assert kept[:2].tolist() == [UP_TO_SEP, UP_TO_SEP]
    assert kept[3] == 64  # all keys in one bin


def test_places_are_counted_by_bin() -> None:
    np.testing.assert_array_equal(occupied(torch.tensor([[0, 0, 0, 1, 3], [2, 2, 2, 2, 2]]), 2, 2), [4, 2])


def test_a_bin_that_keeps_one_more_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsh_wall, "bin_ranges", lambda queries, keys, per_bin: bin_ranges(queries, keys, per_bin + 1))
    assert not CLAIMS["hax.lsh_wall"].check("quick", seed=0).holds


def test_questions_that_see_every_bin_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsh_wall, "seen", lambda pattern, length, cut: torch.ones(len(pattern.start), cut, dtype=torch.bool))
    assert not CLAIMS["hax.lsh_wall"].check("quick", seed=0).holds


def test_the_keys_of_a_query_taken_for_all_that_is_kept_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if B were the budget for all questions together."""
    monkeypatch.setattr(lsh_wall, "occupied", lambda table, bits, per_bin: np.full(len(table), per_bin))
    assert not CLAIMS["hax.lsh_wall"].check("quick", seed=0).holds
