"""The published objective of key selection ranks keys by their age: its target is a sum over the queries to come, not a mean.

With w_ij = sigmoid(q_i . k_j / sqrt(d)), the score of key j is trained to be in the order of sum_(i >= j) w_ij, over all positions i of T. Let
queries be independent of keys, and as likely as their negatives: then E w_ij = 1/2 for every key, since sigmoid(-x) = 1 - sigmoid(x), and

    E sum_(i >= j) w_ij = (T - j) / 2,    E mean_(i > j) w_ij = 1/2.

The sum falls by 1/2 with every position, and so over a few dozen by more than it spreads; the mean has no lean at all. **The sum never exceeds
T - j**, because w_ij <= 1: however all later queries like it, a key cannot be ranked above one of average liking, 1/2, that has more than twice as
many queries to come. At T = 1057, position 900 is so below every average key before position 743, though it is the one key to keep.

The softmax mass that keys receive, sum_(i >= j) softmax_j(q_i . k_j / sqrt(d)) among the keys up to i, is a sum as well. Where keys are independent
draws of one law, each of the i + 1 has the same share, and E mass_j = sum_(i >= j) 1 / (i + 1): among ordinary keys it ranks by age too, though it is
not bounded alike, and one that is liked enough outweighs its age.
"""

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from ...models.key_selection import ScoreLoss, ks_target
from ..claim import Claim, Evidence, Scale

LENGTH, WIDTH = 1057, 32
"""tokens of joint recall with 16 contexts and 16 keys, less the last, and the width of the public code's Mamba-2"""
PLANTED = 900
NO_LEAN = 0.06
"""rank correlation by chance alone, on average over 10 draws: its standard error is 0.013"""
KINDS: tuple[ScoreLoss, ...] = ("paper", "mean", "mass")


def correlation_with_position(target: Float64[np.ndarray, " length"]) -> float:
    """Rank correlation of targets with positions, without those that are NaN."""
    rank = target[~np.isnan(target)].argsort().argsort()
    return float(np.corrcoef(np.arange(len(rank)), rank)[0, 1])


def planted(query: Float64[Tensor, "length width"], key: Float64[Tensor, "length width"], draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Queries that lean in one direction, and the key at PLANTED so far in that direction that they like it as much as can be."""
    direction = torch.nn.functional.normalize(torch.randn(WIDTH, generator=draw, dtype=torch.float64), dim=0)
    key = key.clone()
    key[PLANTED] = 100 * direction
    return query + 3 * direction, key


def above(target: Float64[np.ndarray, " length"]) -> int:
    """How many keys have a higher target than the planted one."""
    return int((target > target[PLANTED]).sum())


def targets(query: Float64[Tensor, "length width"], key: Float64[Tensor, "length width"]) -> Float64[np.ndarray, "kinds length"]:
    """What all keys ought to be ranked by, for each of KINDS."""
    return np.stack([ks_target(query[None, None], key[None, None], kind)[0, 0].numpy() for kind in KINDS])


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on random queries and keys: rank correlations, on average over draws; then, in every draw, how many keys precede a planted one."""
    draw = torch.Generator().manual_seed(seed)
    draws = 10 if scale == "quick" else 200
    correlations, ahead = [], []
    for _ in range(draws):
        query, key = torch.randn(2, LENGTH, WIDTH, generator=draw, dtype=torch.float64)
        correlations.append([correlation_with_position(target) for target in targets(query, key)])
        ahead.append([above(target) for target in targets(*planted(query, key, draw))[:2]])
    return Evidence(
        quantity="rank correlation with position of the target as a sum, as a mean, as softmax mass; keys before a planted one, by sum and by mean",
        measured=np.append(np.mean(correlations, axis=0), ahead),
        at_least=np.append([-1.0, -NO_LEAN, -1.0], [[650, 0]] * draws),
        at_most=np.append([-0.999, NO_LEAN, -0.98], [[PLANTED, 0]] * draws),
        arrays={"correlations": np.array(correlations), "ahead": np.array(ahead)},
    )


KS_TARGET_BIAS = Claim(
    name="hax.ks_target_bias",
    statement=(
        "Where queries are independent of keys and as likely as their negatives, the published target of key selection, a sum of sigmoids over the "
        "queries from a key on, expects (T - j) / 2 of key j and ranks keys by age: at T = 1057, of normal queries and keys, its rank correlation with "
        "position is below -0.999 on average. No key gets more than T - j: above one at 900 that all later queries like it ranks 650 others and "
        "more. The mean over the later queries has no such lean, within 0.06, and puts that key first. Softmax mass leans as the sum does, to below -0.98."
    ),
    source="new, on the training objective in the public code of arXiv:2507.00449",
    standing="corrected",
    check=_check,
)
