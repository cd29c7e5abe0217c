"""Addressable random words: sample number i of a stream owns fixed cells of a counter-based generator.

Philox 4x64 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") maps a 128-bit key and a 256-bit counter to four
64-bit words. The key names what is drawn, the counter which sample; so any slice of a stream can be made at any time, by any worker.
"""

import hashlib
import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import UInt64

Split = Literal["train", "validation", "test"]

WORDS_PER_BLOCK = 4
"""64-bit words that one step of the Philox counter yields"""


@dataclass(frozen=True)
class Stream:
    """An endless sequence of samples; streams of different seeds or splits share no random word."""

    seed: int
    split: Split = "train"

    def __post_init__(self) -> None:
        if self.split not in get_args(Split):
            raise ValueError(f"split must be one of {', '.join(get_args(Split))}, got {self.split!r}")


def canonical_json(content: Mapping[str, Any]) -> str:
    """The one text of a mapping: keys sorted, no spaces, NumPy's whole numbers as Python's, so that equal contents have equal hashes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False, default=operator.index)


def philox_words(identity: Mapping[str, Any], start: int, count: int, per_sample: int) -> UInt64[np.ndarray, "count words"]:
    """Words of samples start .. start+count-1 of the stream that `identity` names, `per_sample` 64-bit words each.

    The key is the first 16 bytes of SHA-256 over the canonical JSON of `identity`. Raises ValueError outside 0 .. 2^63.
    """
    if start < 0 or count < 0 or start + count > 2**63:
        raise ValueError(f"samples must lie in 0 .. 2**63, got start={start}, count={count}")
    digest = hashlib.sha256(canonical_json(identity).encode()).digest()
    blocks = -(-per_sample // WORDS_PER_BLOCK)
    generator = np.random.Philox(key=int.from_bytes(digest[:16], "little"), counter=start * blocks)
    words: UInt64[np.ndarray, "count words"] = generator.random_raw(count * blocks * WORDS_PER_BLOCK)
    return words.reshape(count, blocks * WORDS_PER_BLOCK)[:, :per_sample]
