"""Holding what was simulated against what was calculated."""

import numpy as np


def assert_mean(per_sample: np.ndarray, expected: float, *, errors: float = 4) -> None:
    """The mean over independent samples lies within so many standard errors of what is expected."""
    error = float(np.std(per_sample) / np.sqrt(len(per_sample)))
    assert abs(float(np.mean(per_sample)) - expected) <= errors * error + 1e-9, (
        f"{np.mean(per_sample):.5f} +- {error:.5f}, expected {expected:.5f}"
    )
