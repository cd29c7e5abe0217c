"""From right and wrong answers to accuracies and certified bits, with the doubt that a finite test leaves."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Integer

from .tasks import IGNORE, Task, certified_bits

Z95 = 1.959963984540054
"""95 % two-sided quantile of the normal distribution"""

STRATA = 16
"""bins at most in which accuracy is reported along the task's stratum"""


def score(
    task: Task,
    tokens: Integer[np.ndarray, "batch length"],
    targets: Integer[np.ndarray, "batch length"],
    predictions: Int[np.ndarray, "batch length"],
) -> dict[str, Any]:
    """What predictions are worth: read where `targets` is not IGNORE, anything elsewhere.

    accuracy: of all questions alike; accuracy_macro: mean over samples of their accuracy; certified_bits: of the questions that cross the
    task's cut; certified_low: the same at the lower end of a 95 % interval, samples (not answers) taken as independent; by_stratum: rows
    [lowest stratum, highest, asked, right]. Raises ValueError where shapes differ.
    """
    if not tokens.shape == targets.shape == predictions.shape:
        raise ValueError(f"tokens, targets and predictions must have one shape, got {tokens.shape}, {targets.shape}, {predictions.shape}")
    asked = targets != IGNORE
    right = asked & (predictions == targets)
    per_sample = right.sum(axis=1) / np.maximum(asked.sum(axis=1), 1)
    crossing = task.crossing(tokens) & asked
    crossed = right & crossing
    accuracy = float(crossed.sum() / max(crossing.sum(), 1))
    return {
        "accuracy": float(right.sum() / max(asked.sum(), 1)),
        "accuracy_macro": float(per_sample.mean()),
        "certified_bits": certified_at(task, accuracy),
        "certified_low": certified_at(task, clustered_wilson_low(crossed, crossing)),
        "by_stratum": accuracy_by_stratum(task.stratum(tokens), asked, right),
    }


def certified_at(task: Task, accuracy: float) -> float:
    """The bits that a memory must have carried to answer the questions that cross the task's cut with this accuracy."""
    return certified_bits(accuracy, stored=float(task.stored), values=task.values, entropy=task.answer_bits)


def clustered_wilson_low(right: Bool[np.ndarray, "batch length"], asked: Bool[np.ndarray, "batch length"]) -> float:
    """Lower end of the 95 % Wilson interval of the accuracy, the number of answers divided by the design effect of sampling whole samples.

    Design effect: variance of the ratio estimate over samples against that of independent answers, at least 1 (Kish 1965, sec. 8.2);
    where the spread between samples cannot be told (all right, all wrong, a single sample) a sample counts as one observation.
    """
    asks = asked.sum(axis=1)
    answers = int(asks.sum())
    if answers == 0:
        return 0.0
    p = float(right.sum() / answers)
    residual = right.sum(axis=1) - p * asks
    samples = int((asks > 0).sum())
    if 0 < p < 1 and samples > 1:
        effect = max(1.0, float((residual**2).sum()) / (answers * p * (1 - p)))
        n = answers / effect
    else:
        n = float(samples)
    centre = p + Z95**2 / (2 * n)
    spread = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + Z95**2 / n))


def accuracy_by_stratum(
    stratum: Integer[np.ndarray, "batch length"], asked: Bool[np.ndarray, "batch length"], right: Bool[np.ndarray, "batch length"]
) -> list[list[int]]:
    """Rows [lowest stratum, highest, asked, right] of at most STRATA bins of equal breadth; empty bins are left out."""
    where, hits = stratum[asked].astype(np.int64), right[asked]
    if where.size == 0:
        return []
    low, high = int(where.min()), int(where.max())
    breadth = -(-(high - low + 1) // STRATA)
    bins = (where - low) // breadth
    counts, rights = np.bincount(bins), np.bincount(bins, weights=hits)
    return [
        [low + b * breadth, min(high, low + (b + 1) * breadth - 1), int(count), int(good)]
        for b, (count, good) in enumerate(zip(counts, rights, strict=True))
        if count
    ]


def wall_bits(state_size: int) -> int:
    """The most information a state of so many float32 scalars can hold."""
    return 32 * state_size


def beyond_the_wall(result: Mapping[str, Any]) -> bool:
    """Whether a result certifies more bits than its state has: impossible, so a sign of a leak or of a state counted too small.

    A result that does not say both says nothing of it.
    """
    return bool(result.get("certified_low", 0.0) > result.get("state_bits", math.inf))
