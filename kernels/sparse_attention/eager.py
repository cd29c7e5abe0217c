"""Sparse attention in plain PyTorch: tiles of queries that see nearly the same keys, joined by their log sums; and its gradient.

A query may be in a tile for every part of its pattern, with other keys in each, so a tile is joined to what was found before (l the log of the
sum of exp(scores)): with m the larger of l and the largest score s_j of the tile,

    out' = (e^(l-m) out + sum_j e^(s_j-m) v_j) / (e^(l-m) + sum_j e^(s_j-m)),    l' = m + log(e^(l-m) + sum_j e^(s_j-m))

The backward pass computes the scores again, and needs no more of the other tiles than l and g . out: the weight of a key is e^(s_j-l).
Operators are registered around both, because autograd would keep every tile and scatter from each of its gathers.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from . import _around as around
from .patterns import Pattern
from .reference import sparse_attention as dense
from .tiles import packed, tiles

CROSSOVER = 256
"""longest sequence that is attended to densely: up to there scores in vain took no longer than tiles, and at 512 two to five times as long"""


def sparse_attention(
    query: Float[Tensor, "batch heads length width"],
    key: Float[Tensor, "batch heads length width"],
    value: Float[Tensor, "batch heads length value_width"],
    pattern: Pattern,
    scale: float,
) -> tuple[Float[Tensor, "batch heads length value_width"], Float[Tensor, "batch heads length"]]:
    """The same in float32 at least; beyond CROSSOVER positions, in memory and time linear in the length where the pattern is."""
    wide = torch.promote_types(query.dtype, torch.float32)
    q, k, v = (x.to(wide) for x in (query, key, value))
    if query.shape[2] <= CROSSOVER:
        out, log_sum = dense(q, k, v, pattern, scale)
    else:
        batch, heads, length = query.shape[:3]
        parts = packed(pattern, (batch, heads, length), query.device)
        rows, log_sums = forward(*(x.flatten(0, 1) for x in (q, k, v)), *parts, scale)
        out, log_sum = rows.unflatten(0, (batch, heads)), log_sums.unflatten(0, (batch, heads))
    return out.to(query.dtype), log_sum


@torch.library.custom_op("recall_lab::sparse_attention_fwd", mutates_args=())
def forward(query: Tensor, key: Tensor, value: Tensor, selections: Tensor, runs: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """See `_around.py`."""
    queries, keys, values = (x.flatten(0, 1) for x in (query, key, value))
    out = values.new_zeros(len(values) + 1, values.shape[1])  # the last is written for places that stand for no query
    log_sum = values.new_full((len(values) + 1,), -torch.inf)
    for at, keys_at, seen in tiles(selections, runs, key.shape[2] + value.shape[2]):
        scores = _scores(queries[at.clamp(max=len(queries) - 1)], keys[keys_at], seen, scale)
        before = log_sum[at]
        largest = torch.maximum(before, scores.amax(dim=-1))
        base = largest.masked_fill(largest == -torch.inf, 0.0)
        weights, kept = (scores - base[..., None]).exp(), (before - base).exp()
        total = kept + weights.sum(dim=-1)  # 0 where nothing is seen, and at least 1 elsewhere: the largest counts 1
        out[at] = (kept[..., None] * out[at] + weights @ values[keys_at]) / total.clamp(min=1.0)[..., None]
        log_sum[at] = base + total.log()
    return out[:-1].view_as(value), log_sum[:-1].view(value.shape[:2])


@torch.library.custom_op("recall_lab::sparse_attention_bwd", mutates_args=())
def backward(
    grad: Tensor, grad_log_sum: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, log_sum: Tensor,
    selections: Tensor, runs: Tensor, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """See `_around.py`."""
    g_out, queries, keys, values = (x.flatten(0, 1) for x in (grad, query, key, value))
    g_queries, g_keys, g_values = (torch.zeros_like(x) for x in (queries, keys, values))
    constant = ((grad * out).sum(dim=-1) - grad_log_sum).flatten()
    log_sums = log_sum.masked_fill(log_sum == -torch.inf, 0.0).flatten()
    for at, keys_at, seen in tiles(selections, runs, key.shape[2] + value.shape[2]):
        at = at.clamp(max=len(queries) - 1)  # places that stand for no query see nothing, and so add 0
        q, k, g = queries[at], keys[keys_at], g_out[at]
        weights = (_scores(q, k, seen, scale) - log_sums[at, None]).exp()
        g_scores = scale * weights * (g @ values[keys_at].mT - constant[at, None])
        for whole, where, part in ((g_queries, at, g_scores @ k), (g_keys, keys_at, g_scores.mT @ q), (g_values, keys_at, weights.mT @ g)):
            whole.index_add_(0, where.flatten(), part.flatten(0, 1))
    return g_queries.view_as(query), g_keys.view_as(key), g_values.view_as(value)


def _scores(
    q: Float[Tensor, "tiles queries width"], k: Float[Tensor, "tiles keys width"], seen: Bool[Tensor, "tiles queries keys"], scale: float
) -> Float[Tensor, "tiles queries keys"]:
    return (scale * q @ k.mT).masked_fill(~seen, -torch.inf)


around.register(forward, backward)
