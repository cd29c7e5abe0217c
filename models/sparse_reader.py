"""Sparse attention as a part of a mixer: which positions a query may read, by rule or by content, and what must be carried for it."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..kernels import Dilated, Pattern, Sink, Union, Window, bin_ranges, causal_topk, hash_bins, softmax_attention, sparse_attention
from .key_selection import KeyScore, PerHead, ScoreLoss
from .mixer import Cost, MixerConfig, at_least_float32, linear_cost

Reads = Literal["full", "sw", "d", "sw+d", "a", "lsh", "ks", "hax"]
"""everything; a sliding window; dilated; both; A-shape (first positions and a window); the query's hash bin; selected keys; the last two"""

Now = Float[Tensor, "batch heads width"]

ReaderState = tuple[Tensor, ...]
"""keys and values `[batch, heads, entries, width]` in the order of their positions, positions read `[batch]`; where keys are selected also
their scores `[batch, heads, entries]` and the sum of all queries `[batch, heads, width]` (float32 at least)"""

PARTS: dict[str, tuple[str, ...]] = {
    "sw": ("window",), "d": ("dilated",), "sw+d": ("window", "dilated"), "a": ("sink", "window"),
    "lsh": ("lsh",), "ks": ("ks",), "hax": ("lsh", "ks"),
}  # fmt: skip
"""of what a pattern is the union"""


@dataclass(frozen=True, kw_only=True)
class ReaderConfig(MixerConfig):
    """What a mixer with sparse attention is told about it."""

    pattern: Reads = "hax"
    """which earlier positions a query reads (arXiv:2507.00449, table 3)"""
    budget: int = 64
    """positions that a query reads at most, shared evenly by the parts of a union; `full` and what is dilated have no such bound"""
    dilation: int = 16
    """step of what is dilated, every dilation-th position: length / budget reads budget of them"""
    hash_bits: int = 8
    """planes that cut a head's queries and keys into 2^hash_bits bins"""
    score_loss: ScoreLoss = "mean"
    """what the score of keys is taught to rank by (`ks_target`)"""
    score_rate: float = 3e-3
    """learning rate of the score of keys at its peak"""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in (("pattern", Reads), ("score_loss", ScoreLoss)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}")
        parts = len(PARTS.get(self.pattern, ("",)))
        if self.budget < 1 or self.budget % parts:
            raise ValueError(f"budget must be a positive multiple of {parts}, the parts of {self.pattern!r}, got {self.budget}")
        if self.dilation < 1:
            raise ValueError(f"dilation must be at least 1, got {self.dilation}")
        if not 1 <= self.hash_bits <= 31:
            raise ValueError(f"hash_bits must lie in 1..31 (a bin is an integer), got {self.hash_bits}")
        object.__setattr__(self, "score_rate", float(self.score_rate))  # 1 and 1.0 are equal, so they must have one hash
        if not 0 < self.score_rate < math.inf:
            raise ValueError(f"score_rate must be positive and finite, got {self.score_rate}")


class SparseReader(nn.Module):
    """y_i = sum over j in S_i of softmax_j(q_i . k_j / sqrt(width)) v_j, and 0 where S_i is empty; S_i as the configuration's pattern says.

    Hash planes are drawn once, as weights are, and saved with them: results are a function of what is saved. No statistics of a sequence
    enter a hash, and the score of keys sees past queries only, so nothing comes from later positions.
    """

    def __init__(self, config: ReaderConfig, *, heads: int, width: int) -> None:
        super().__init__()
        self.config, self.heads, self.width = config, heads, width
        self.parts = PARTS.get(config.pattern, ())
        self.share = config.budget // max(1, len(self.parts))
        """positions that each part may read"""
        self.score = KeyScore(width, kind=config.score_loss, learning_rate=config.score_rate) if "ks" in self.parts else None
        self.planes: Tensor
        if "lsh" in self.parts:
            self.register_buffer("planes", torch.randn(heads, width, config.hash_bits))

    def forward(
        self, query: PerHead, key: PerHead, value: Float[Tensor, "batch heads length d_v"]
    ) -> Float[Tensor, "batch heads length d_v"]:
        """All positions at once."""
        if not self.parts:
            return softmax_attention(query, key, value)
        return sparse_attention(query, key, value, self.selection(query, key))

    def selection(self, query: PerHead, key: PerHead) -> Pattern:
        """S_i as a value, for every pattern but `full`."""
        return Union(*(self._part(name, query, key) for name in self.parts))

    def _part(self, name: str, query: PerHead, key: PerHead) -> Pattern:
        match name:
            case "window":
                return Window(self.share)
            case "sink":
                return Sink(self.share)
            case "dilated":
                return Dilated(self.config.dilation)
            case "lsh":
                return bin_ranges(self.bins(query), self.bins(key), self.share)
            case _:
                assert self.score is not None  # it is there where keys are selected
                return causal_topk(self.score(query, key), self.share)

    def bins(self, x: PerHead) -> Int64[Tensor, "batch heads length"]:
        """On which side of each plane queries or keys lie."""
        return hash_bins(x, self.planes.to(x.dtype))

    def mixing_matrix(self, query: PerHead, key: PerHead) -> Float[Tensor, "batch heads length length"]:
        """The weights of `forward`, differentiable in queries and keys; a row sums to 1, or to 0 where nothing may be read."""
        length = query.shape[2]
        every = torch.eye(length, max(1, length), dtype=query.dtype, device=query.device).expand(*query.shape[:2], -1, -1)
        if self.parts:
            weights = sparse_attention(query, key, every, self.selection(query, key), backend="reference")
        else:
            weights = softmax_attention(query, key, every, backend="reference")
        return weights[..., :length]

    def init_state(self, like: Tensor, batch: int, value_width: int) -> ReaderState:
        """Nothing read yet, of the dtype and on the device of `like`."""
        keys, values, scores = (like.new_empty(batch, self.heads, 0, *width) for width in ((self.width,), (value_width,), ()))
        time = torch.zeros(batch, dtype=torch.int64, device=like.device)
        if self.score is None:
            return keys, values, time
        return keys, values, time, scores, at_least_float32(like).new_zeros(batch, self.heads, self.width)

    def step(
        self, query: Now, key: Now, value: Float[Tensor, "batch heads d_v"], state: ReaderState
    ) -> tuple[Float[Tensor, "batch heads d_v"], ReaderState]:
        """One position, and the state after it.

        Where positions decide, an entry is dropped when no later query can read it. Where content does, it may stay until there are `most`: how
        many can still be read differs from sample to sample of a batch.
        """
        keys, values, time, *learned = state
        keys, values = (torch.cat((before, now[:, :, None]), dim=2) for before, now in ((keys, key), (values, value)))
        passed = int(time[0]) if len(time) else 0  # the same in every entry of the batch
        if self.score:
            scores, total = learned[0], learned[1] + query.detach()
            with torch.no_grad():
                learned = [torch.cat((scores, self.score.score(key, total)[..., None]), dim=2), total]
        seen, kept = self._by_content(query, keys, *learned[:1]) if self.most else self._by_position(passed, keys)
        weights = (query[:, :, None] @ keys.mT / self.width**0.5).masked_fill(~seen[:, :, None], -torch.inf).softmax(dim=-1)
        out = weights.masked_fill(~seen.any(dim=-1)[..., None, None], 0.0) @ values
        entries = [x.gather(2, kept[..., None].expand(-1, -1, -1, x.shape[3])) for x in (keys, values)]
        if self.score:
            learned[0] = learned[0].gather(2, kept)
        return out[:, :, 0], (*entries, time + 1, *learned)

    @property
    def most(self) -> int | None:
        """Entries carried at most where content decides, all that some later query could read; None where positions do."""
        limits = {"lsh": self.share << self.config.hash_bits, "ks": self.share}
        return sum(limits[part] for part in self.parts) if limits.keys() & self.parts else None

    def carried(self, length: int) -> list[int]:
        """Where positions decide: those of the first `length` that the next query reads, as do all after it while they are carried."""
        if not self.parts:
            return list(range(length))
        found: set[int] = set()
        if "window" in self.parts:
            found.update(range(max(0, length - self.share + 1), length))
        if "sink" in self.parts:
            found.update(range(min(self.share, length)))
        if "dilated" in self.parts:
            found.update(range(self.config.dilation - 1, length, self.config.dilation))
        return sorted(found)

    def _by_position(self, passed: int, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Which entries are read now, the last of them the present position; and the places of those that are kept."""
        there, after = [*self.carried(passed), passed], set(self.carried(passed + 1))
        reads_itself = not self.parts or "window" in self.parts or passed in after
        seen = torch.ones(len(there), dtype=torch.bool, device=keys.device)
        seen[-1] = reads_itself
        kept = torch.tensor([place for place, position in enumerate(there) if position in after], dtype=torch.int64, device=keys.device)
        return seen.expand(*keys.shape[:2], -1), kept.expand(*keys.shape[:2], -1)

    def _by_content(self, query: Now, keys: PerHead, scores: Float[Tensor, "batch heads entries"] | None = None) -> tuple[Tensor, Tensor]:
        """The same. Entries stand in the order of their positions, and one that nobody reads any more changes nothing for the others.

        With more than `most` entries at least one is read by nobody any more, and such a one is dropped; so all are counted, alive or not.
        """
        seen = alive = torch.zeros(keys.shape[:3], dtype=torch.bool, device=keys.device)
        if "lsh" in self.parts:
            bins = self.bins(keys)
            recent = _last_of_each(bins, self.share)
            seen, alive = recent & (bins == self.bins(query[:, :, None])), recent
        if scores is not None:
            best = _best(scores, self.share)
            seen, alive = seen | best, alive | best
        assert self.most is not None
        first_to_keep = (~alive).to(torch.int8).argsort(dim=-1, stable=True)
        return seen, first_to_keep[..., : self.most].sort(dim=-1).values

    def state_size(self, length: int, value_width: int) -> int:
        """Scalars carried: a key, a value and where keys are selected a score for every entry, how many positions were read, and the sum of queries."""
        entries = len(self.carried(length)) if self.most is None else min(length, self.most)
        learned = self.score is not None
        return self.heads * entries * (self.width + value_width + learned) + 1 + learned * self.heads * self.width

    def cost(self, length: int, value_width: int) -> Cost:
        """Two products for every position that may be read, parts of a union counted apart; hashing, scoring, and sorts as length log2 length."""
        sizes = {"full": length, "dilated": 0}
        pairs = sum(_pairs(length, sizes.get(part, self.share)) for part in self.parts or ("full",))
        if "dilated" in self.parts:
            rows = length // self.config.dilation
            pairs += rows * (length + 1) - self.config.dilation * rows * (rows + 1) // 2
        mixing = Cost(2 * pairs * self.heads * (self.width + value_width), 8 * length * self.heads * (self.width + value_width))
        sort = Cost(length * self.heads * length.bit_length(), 16 * length * self.heads)
        if "lsh" in self.parts:
            mixing += (linear_cost(length, self.width, self.config.hash_bits) * 2) * self.heads + sort * 2
        if self.score:
            maps = [layer for layer in self.score.mlp if isinstance(layer, nn.Linear)]
            scoring = sum((linear_cost(length * self.heads, each.in_features, each.out_features) for each in maps), Cost(0, 0))
            mixing += scoring + sort + Cost(2 * length * self.heads * self.width, 0)
        return mixing


def _last_of_each(bins: Int64[Tensor, "batch heads entries"], share: int) -> Bool[Tensor, "batch heads entries"]:
    """Whether an entry is among the last `share` of its bin."""
    ordered, order = bins.sort(dim=-1, stable=True)
    end = torch.searchsorted(ordered, ordered, right=True)
    recent = end - torch.arange(bins.shape[-1], device=bins.device) <= share
    return torch.empty_like(recent).scatter_(-1, order, recent)


def _best(scores: Float[Tensor, "batch heads entries"], share: int) -> Bool[Tensor, "batch heads entries"]:
    """Whether an entry is among the `share` of highest score, of equal ones the earlier."""
    order = scores.sort(dim=-1, descending=True, stable=True).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, order[..., :share], True)


def _pairs(length: int, size: int) -> int:
    """Pairs that are read where every position reads `size` positions, and early ones all that there are."""
    size = min(size, length)
    return size * (size + 1) // 2 + (length - size) * size
