"""Vectors that share a bin of random planes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recall_lab.kernels import hash_bins
from recall_lab.theory import CLAIMS
from recall_lab.theory.hax import sign_collision
from recall_lab.theory.hax.sign_collision import ANGLES, BITS, collisions, fan


def breaks() -> bool:
    return not CLAIMS["hax.sign_collision"].check("quick", seed=0).holds


@given(width=st.integers(2, 20), seed=st.integers(0, 99))
def test_the_vectors_of_a_fan_are_at_its_angles(width: int, seed: int) -> None:
    vectors = fan(np.radians(ANGLES), width, torch.Generator().manual_seed(seed))
    directions = torch.nn.functional.normalize(vectors, dim=1)
    np.testing.assert_allclose(directions @ directions[0], np.cos(np.radians(ANGLES)), atol=1e-12)


@given(width=st.integers(2, 20), seed=st.integers(0, 99))
def test_a_plane_is_crossed_once_in_half_a_turn(width: int, seed: int) -> None:
    """What the proof goes by: two signs differ over the angle between their vectors."""
    draw = torch.Generator().manual_seed(seed)
    vectors = fan(np.linspace(0, np.pi, 50), width, draw)
    bins = hash_bins(vectors[None, None], torch.randn(width, BITS, generator=draw, dtype=torch.float64))[0, 0].numpy()
    signs = bins[:, None] >> np.arange(BITS) & 1
    np.testing.assert_array_equal(np.abs(np.diff(signs, axis=0)).sum(axis=0), 1)


def test_a_vector_shares_every_bin_with_itself_and_none_with_its_opposite() -> None:
    draw = torch.Generator().manual_seed(0)
    together = collisions(fan(np.array([0.0, np.pi]), 5, draw), 300, draw)
    np.testing.assert_array_equal(together, [[300, 0]] * BITS)


def test_every_further_plane_parts_more() -> None:
    draw = torch.Generator().manual_seed(0)
    together = collisions(fan(np.radians([0, 30, 90]), 5, draw), 2000, draw)
    assert (np.diff(together[:, 1:], axis=0) < 0).all()


def test_planes_that_miss_the_origin_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(x: Tensor, planes: Tensor) -> Tensor:
        return ((x @ planes > 0.1) << torch.arange(BITS)).sum(dim=-1)

    monkeypatch.setattr(sign_collision, "hash_bins", shifted)
    assert breaks()


def test_a_plane_that_is_used_twice_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def repeated(x: Tensor, planes: Tensor) -> Tensor:
        return hash_bins(x, torch.cat([planes[..., :-1], planes[..., :1]], dim=-1))

    monkeypatch.setattr(sign_collision, "hash_bins", repeated)
    assert breaks()


def test_planes_that_are_drawn_unevenly_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_collision, "hash_bins", lambda x, planes: hash_bins(x, planes + 0.2))
    assert breaks()
