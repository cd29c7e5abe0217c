"""Two vectors fall into one bin of h random planes with probability (1 - angle / pi)^h, whatever their lengths and their space.

**Proof.** A plane parts x and y iff its normal n has x . n > 0 and not y . n > 0, or the other way round. Both depend on the part of n in the
span of x and y alone. For a standard normal n this part has a uniform direction, and as it goes round, x . n and y . n change sign at two
opposite directions each, those of y an angle after those of x: they differ over two arcs of the size of the angle, which is 2 angle / (2 pi)
of the circle. That some product is 0 has probability 0. The h planes are independent. []
"""

import math

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ...kernels import hash_bins
from ..claim import Claim, Evidence, Scale

ANGLES = np.arange(0, 181, 15)
"""in degrees"""
BITS = 8
AT_ONCE = 10_000
"""draws of planes, 10 MB of them"""


def fan(angles: Float64[np.ndarray, " angles"], width: int, draw: torch.Generator) -> Float64[Tensor, "angles width"]:
    """Vectors at these angles, in radians, from the first axis of a random plane of R^width; their lengths are random as well."""
    first, second = torch.linalg.qr(torch.randn(width, 2, generator=draw, dtype=torch.float64)).Q.T
    turned = torch.from_numpy(angles)[:, None]
    lengths = torch.randn(len(angles), 1, generator=draw, dtype=torch.float64).exp()
    vectors: Tensor = lengths * (turned.cos() * first + turned.sin() * second)
    return vectors


def collisions(x: Float64[Tensor, "vectors width"], draws: int, draw: torch.Generator) -> Int64[np.ndarray, "bits vectors"]:
    """In how many draws of planes each vector shares the bin of the first, by the first plane, the first two and so on to BITS."""
    together = np.zeros((BITS, len(x)), np.int64)
    for start in range(0, draws, AT_ONCE):
        count = min(AT_ONCE, draws - start)
        planes = torch.randn(count, x.shape[1], BITS, generator=draw, dtype=torch.float64)
        bins = hash_bins(x.expand(1, count, -1, -1), planes)[0].numpy()
        apart = bins ^ bins[:, :1]
        together += [(apart & (1 << bits) - 1 == 0).sum(axis=0) for bits in range(1, BITS + 1)]
    return together


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence by counting: each count has a binomial law, and lies where that law puts all but a millionth on either side."""
    from scipy.stats import binom  # half a second to import

    draw = torch.Generator().manual_seed(seed)
    draws = 200_000 if scale == "quick" else 4_000_000
    angles = np.radians(ANGLES)
    law = np.maximum(0.0, 1 - angles / math.pi) ** np.arange(1, BITS + 1)[:, None]
    return Evidence(
        quantity="fraction of draws of 1 to 8 planes that leave two vectors in one bin, at angles of 0 to 180 degrees",
        measured=collisions(fan(angles, 16, draw), draws, draw) / draws,
        at_least=binom.ppf(1e-6, draws, law) / draws,
        at_most=binom.isf(1e-6, draws, law) / draws,
        arrays={"degrees": ANGLES, "law": law},
    )


SIGN_COLLISION = Claim(
    name="hax.sign_collision",
    statement="Over planes with standard normal normals, two vectors other than 0 share a bin of h planes with probability (1 - angle / pi)^h.",
    source="Goemans & Williamson, J. ACM 42 (1995), lemma 3.2; as a hash, Charikar, STOC 2002, section 3",
    standing="proved in the source",
    check=_check,
)
