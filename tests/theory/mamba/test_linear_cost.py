"""Operations, counted while they are done."""

import pytest
import torch

from recall_lab.kernels import ssd
from recall_lab.theory import CLAIMS
from recall_lab.theory.mamba import linear_cost
from recall_lab.theory.mamba.linear_cost import Counting, as_matrix, chunked, operations, scan


def count(work) -> int:
    counting = Counting()
    with counting:
        work()
    return counting.operations


def test_a_number_is_an_operation_and_a_product_of_matrices_as_many_as_it_has_terms() -> None:
    x, matrix, other = torch.ones(5, 7), torch.ones(4, 6), torch.ones(6, 3)
    assert count(lambda: x * 2) == 35
    assert count(lambda: x.exp_()) == 35
    assert count(lambda: x.sum(dim=1)) == 35
    assert count(lambda: matrix @ other) == 4 * 6 * 3
    assert count(lambda: torch.einsum("tn,np->tp", matrix, other)) == 4 * 6 * 3
    assert count(lambda: torch.bmm(matrix.expand(2, 4, 6), other.expand(2, 6, 3))) == 2 * 4 * 6 * 3


def test_views_and_reserved_memory_are_free() -> None:
    x = torch.ones(5, 7)
    assert count(lambda: x.T[2:].unsqueeze(0).unbind()) == 0
    assert count(lambda: torch.empty(9)) == count(lambda: x.new_empty(9)) == 0


@pytest.mark.parametrize("mix", [scan, chunked])
def test_a_kernel_is_looked_into(mix) -> None:
    numbers = 64 * linear_cost.HEADS * linear_cost.WIDTH * linear_cost.STATES
    assert 2 * numbers < count(lambda: mix(64)) < 20 * numbers
    assert operations(mix, 64) > 2 * count(lambda: mix(64))  # with the gradient


def test_the_three_are_the_same_map_at_the_same_size() -> None:
    torch.testing.assert_close(chunked(32), as_matrix(32).transpose(1, 2))
    assert scan(32).numel() == chunked(32).numel()


def test_one_chunk_for_the_whole_sequence_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_cost, "ssd", lambda x, *args, chunk, **fields: ssd(x, *args, chunk=x.shape[1], **fields))
    assert not CLAIMS["mamba.linear_cost"].check("quick", seed=0).holds


def test_a_scan_with_one_more_operation_for_every_pair_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_cost, "scan", lambda length: scan(length) + 0 * torch.ones(length, length).sum())
    assert not CLAIMS["mamba.linear_cost"].check("quick", seed=0).holds


def test_a_matrix_of_linear_cost_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_cost, "as_matrix", chunked)
    assert not CLAIMS["mamba.linear_cost"].check("quick", seed=0).holds
