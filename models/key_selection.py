"""Key selection: a score by which keys are kept for whatever query comes, and the objectives that teach it (arXiv:2507.00449)."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .auxiliary import Auxiliary
from .mixer import at_least_float32

ScoreLoss = Literal["mean", "mass", "paper"]
"""what a key ought to be ranked by: how well the queries after it like it, the softmax mass they give it, or how much they like it in all"""

FEWEST = 4
"""queries that must come after a key for their mean to say something of it"""
SAMPLED = 64
"""positions drawn for a look at the objective, as queries and again as keys: its cost is their square, whatever the length"""

PerHead = Float[Tensor, "batch heads length width"]


class KeyScore(Auxiliary):
    """score_j = MLP([k_j; r_j / |r_j|]) with r_j the sum of q_0 .. q_j: three maps, 2d -> 2d -> 2d -> 1, with ReLU between them.

    It does not look at later queries, so what is kept is causal, nor at the query that reads. One MLP serves all heads. Queries and keys are
    constants to it.
    """

    def __init__(self, width: int, *, kind: ScoreLoss, learning_rate: float) -> None:
        super().__init__()
        self.kind, self.learning_rate = kind, learning_rate
        wide = 2 * width
        self.mlp = nn.Sequential(nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, 1))
        self.last: tuple[PerHead, PerHead] | None = None
        """queries and keys of the last forward pass in training mode, until `loss` has read them"""

    def forward(self, query: PerHead, key: PerHead) -> Float[Tensor, "batch heads length"]:
        """Scores of all keys; not differentiable: they are there to be compared."""
        query, key = query.detach(), key.detach()
        if self.training and torch.is_grad_enabled():
            self.last = query, key
        with torch.no_grad():
            return self.score(key, query_sums(query))

    def score(self, key: Float[Tensor, "*batch width"], query_sum: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch"]:
        """The scores of keys, given the sums of the queries up to their positions."""
        direction = F.normalize(query_sum, dim=-1).to(key.dtype)
        return self.mlp(torch.cat([key, direction], dim=-1))[..., 0]

    def loss(self, read: Bool[Tensor, "batch length"], draw: torch.Generator) -> Tensor:
        if self.last is None:
            raise RuntimeError("the score of keys has seen no forward pass in training mode to learn from")
        (query, key), self.last = self.last, None
        queries, keys = (drawn(read, SAMPLED, draw) for _ in range(2))
        target = ks_target(query, key, self.kind, queries=queries, keys=keys, mask=read)
        return ranking_loss(self.score(_at(key, keys), _at(query_sums(query), keys)), target)


def query_sums(query: PerHead) -> PerHead:
    """q_0 + .. + q_t at every t, in float32 at least."""
    return at_least_float32(query).cumsum(dim=2)


def drawn(read: Bool[Tensor, "batch length"], count: int, draw: torch.Generator) -> Int[Tensor, "batch drawn"]:
    """In each row `count` of the positions that are read, without replacement; where there are fewer, all of them and then others."""
    order = torch.rand(read.shape, generator=draw).to(read.device) - read.to(torch.float32)
    return order.argsort(dim=1)[:, :count]


def _at(x: PerHead, positions: Int[Tensor, "batch chosen"]) -> Float[Tensor, "batch heads chosen width"]:
    return x.gather(2, positions[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3]))


def ks_target(
    query: PerHead,
    key: PerHead,
    kind: ScoreLoss,
    *,
    queries: Int[Tensor, "batch queries"] | None = None,
    keys: Int[Tensor, "batch keys"] | None = None,
    mask: Bool[Tensor, "batch length"] | None = None,
) -> Float[Tensor, "batch heads keys"]:
    """By what keys ought to be ranked, with w_ij = sigmoid(q_i . k_j / sqrt(width)), over the positions `queries` and `keys` (None: all).

    "mean": the mean of w_ij over i > j; NaN for a key that fewer than FEWEST of the queries come after. "mass": sum over i >= j of
    softmax_j(q_i . k_j / sqrt(width)) among the keys j <= i. "paper": sum over i >= j of w_ij, as the public code has it (with all queries; in
    training ours sums over those that are drawn). The last two are sums of length - j terms, and rank ordinary keys by their age
    (`hax.ks_target_bias`). Positions where `mask` is False are no queries, and as keys get NaN.
    """
    batch, length = len(key), key.shape[2]
    every = torch.arange(length, device=key.device).expand(batch, -1)
    i, j = (every if chosen is None else chosen for chosen in (queries, keys))
    real = torch.ones_like(every, dtype=torch.bool) if mask is None else mask
    logits = _at(query, i) @ _at(key, j).mT / key.shape[3] ** 0.5
    after = (i[:, :, None] > j[:, None] if kind == "mean" else i[:, :, None] >= j[:, None])[:, None]
    reads = after & (real.gather(1, i)[:, :, None] & real.gather(1, j)[:, None])[:, None]
    match kind:
        case "mean":
            count = reads.sum(dim=2)
            target = (logits.sigmoid() * reads).sum(dim=2) / count.clamp(min=1)
            target = target.masked_fill(count < FEWEST, torch.nan)
        case "mass":
            target = logits.masked_fill(~reads, -torch.inf).softmax(dim=3).nan_to_num(0.0).sum(dim=2)
        case "paper":
            target = (logits.sigmoid() * reads).sum(dim=2)
    return target.masked_fill(~real.gather(1, j)[:, None], torch.nan)


def ranking_loss(score: Float[Tensor, "batch heads keys"], target: Float[Tensor, "batch heads keys"]) -> Float[Tensor, ""]:
    """Mean over ordered pairs of different keys of the cross-entropy of sigmoid(s_a - s_b) with [t_a > t_b], 1/2 where they are equal.

    First over the pairs of a sample's head, then over those that have a pair. Keys whose target is NaN are in no pair.
    """
    known = ~target.isnan()
    pairs = known[..., :, None] & known[..., None, :] & ~torch.eye(target.shape[-1], dtype=torch.bool, device=target.device)
    order = (1 + torch.sign(target[..., :, None] - target[..., None, :])).nan_to_num(0.0) / 2
    each = F.binary_cross_entropy_with_logits(score[..., :, None] - score[..., None, :], order.to(score.dtype), reduction="none")
    count = pairs.sum(dim=(-2, -1))
    return ((each * pairs).sum(dim=(-2, -1)) / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)
