"""How many bits a memory must have carried to answer as well as it did."""

import math
from typing import overload

import numpy as np
from scipy.special import gammaln, xlogy


def entropy_without_replacement(stored: int, values: int) -> float:
    """log2(v! / (v-n)!): bits in an ordered draw of n distinct values out of v."""
    return float(gammaln(values + 1) - gammaln(values - stored + 1)) / math.log(2)


@overload
def certified_bits(accuracy: float, *, stored: float, values: int, entropy: float | None = None) -> float: ...
@overload
def certified_bits(accuracy: np.ndarray, *, stored: float, values: int, entropy: float | None = None) -> np.ndarray: ...
def certified_bits(accuracy: float | np.ndarray, *, stored: float, values: int, entropy: float | None = None) -> float | np.ndarray:
    """max(0, H - n (h2(e) + e log2(v-1))) with e = 1 - accuracy, and 0 where e > 1 - 1/v.

    The least information about n stored answers of joint entropy H (default n log2 v: independent and uniform) that a memory must carry
    for a mean accuracy of `accuracy`: Fano's inequality per answer (Cover & Thomas, Elements of Information Theory, 2nd ed., thm 2.10.1) and
    the concavity of h2(e) + e log2(v-1). Raises ValueError for an accuracy outside 0..1 or fewer than two values.
    """
    if values < 2:
        raise ValueError(f"values must be at least 2 for an answer to carry information, got {values}")
    error = 1.0 - np.asarray(accuracy, dtype=np.float64)
    if np.any((error < 0) | (error > 1)):
        raise ValueError(f"accuracy must lie in 0..1, got {accuracy}")
    total = stored * math.log2(values) if entropy is None else entropy
    doubt = -(xlogy(error, error) + xlogy(1 - error, 1 - error)) / math.log(2) + error * math.log2(values - 1)
    bits = np.where(error > 1 - 1 / values, 0.0, np.maximum(0.0, total - stored * doubt))
    return float(bits) if bits.ndim == 0 else bits
