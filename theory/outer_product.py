"""P(n) = E_s[F(s/r)^(M-n) (E_a F((s-a)/r))^(n-1)]: recall from S = sum_i k_i^T v_i, linear attention's state, with random codes.

n keys are random unit vectors of R^dk, their values n of M random unit vectors of R^dv, and the answer is the code nearest to y = k S.
The score of the right code is s = 1 + crosstalk ~ N(1, (n-1) / (dk dv)); y has length r, r^2 = s^2 + (n-1)/dk (1 - 1/dv); a code that
was not stored scores r cos of a random angle, F being the law of that cosine; a stored one adds a ~ N(0, 1/(h dk)), its own key's overlap:
h heads, each with keys of its own in R^dk and dv / h coordinates of the codes, average their overlaps, and change nothing else.
Half is recalled at n ~ dk dv / (2 ln M): the memory is linear in the size of the state, and certifies at its best load 0.28 bit a scalar at
16 x 16 with 256 codes and 0.42 at 256 x 256 with 8192, far below the wall.

The setting is Kohonen's correlation matrix memory (IEEE Trans. Computers C-21, 1972), the reading of linear attention as such a memory
arXiv:2102.11174 (sec. 4.1), and 1 / (2 ln M) the constant of such memories (McEliece et al., IEEE Trans. Inf. Theory 33, 1987). The curve
is ours; it fixes r at its mean, and so errs low by up to 0.09 where a width is 16. With Gaussians in place of cosines, whose tails are
bounded, it would be far too low. Nothing here bounds codes that are learned, or keys that are orthogonal: those are exact to n = dk.
"""

import math

import numpy as np
import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.special import betainc, roots_hermitenorm

from ..kernels import linear_attention
from ..tasks import certified_bits
from .claim import Claim, Evidence, Scale

NODES, _WEIGHTS = roots_hermitenorm(120)
WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
"""E[f(z)] = sum_j WEIGHTS_j f(NODES_j) for a standard normal z, exact for polynomials of degree 239"""

LOADS = (0.5, 0.65, 0.8, 1.0, 1.25, 1.6)
"""where the curve is checked, in units of the load at which one head recalls half: from nearly everything to a quarter; most bits at 0.65"""


def outer_product_accuracy(pairs: int | float, *, key_width: int, value_width: int, candidates: int, heads: int = 1) -> float:
    """P(n) of this module: the fraction of `pairs` random pairs that is recalled among `candidates` value codes.

    key_width is a head's, value_width that of all heads together. A fractional n is as good as a whole one. Raises ValueError unless
    1 <= pairs <= candidates, key_width >= 1, value_width >= 2 and heads >= 1.
    """
    if not 1 <= pairs <= candidates:
        raise ValueError(f"pairs must lie in 1..candidates={candidates} (each stored value is another code), got {pairs}")
    if key_width < 1 or value_width < 2:
        raise ValueError(f"key_width must be at least 1 and value_width at least 2, got {key_width} and {value_width}")
    if heads < 1:
        raise ValueError(f"heads must be at least 1, got {heads}")
    right = 1 + NODES * math.sqrt((pairs - 1) / (key_width * value_width))
    length = np.sqrt(right**2 + (pairs - 1) / key_width * (1 - 1 / value_width))
    overlap = NODES / math.sqrt(heads * key_width)
    beaten = _cosine_law(right / length, value_width)
    beaten_if_stored = _cosine_law((right[:, None] - overlap) / length[:, None], value_width) @ WEIGHTS
    return min(1.0, float(WEIGHTS @ (beaten ** (candidates - pairs) * beaten_if_stored ** (pairs - 1))))


def outer_product_k50(*, key_width: int, value_width: int, candidates: int) -> float:
    """The n with P(n) = 1/2, near dk dv / (2 ln M); infinity where even n = candidates are recalled better than that."""

    def excess(pairs: int | float) -> float:
        return outer_product_accuracy(pairs, key_width=key_width, value_width=value_width, candidates=candidates) - 0.5

    return math.inf if excess(candidates) > 0 else float(brentq(excess, 1.0, candidates))


def outer_product_bits_per_scalar(*, key_width: int, value_width: int, candidates: int) -> float:
    """max_n n R_M(1 - P(n)) / (dk dv): certified bits a scalar of state at the best load, 1 / (2 ln 2) as widths grow without end."""

    def bits(pairs: int | float) -> float:
        accuracy = outer_product_accuracy(pairs, key_width=key_width, value_width=value_width, candidates=candidates)
        return certified_bits(accuracy, stored=float(pairs), values=candidates)

    half = outer_product_k50(key_width=key_width, value_width=value_width, candidates=candidates)
    best = minimize_scalar(lambda pairs: -bits(pairs), bounds=(1.0, min(half, candidates)), method="bounded")
    return -float(best.fun) / (key_width * value_width)


def simulate(*, pairs: int, key_width: int, value_width: int, candidates: int, heads: int = 1, draws: int, seed: int) -> np.ndarray:
    """Fractions recalled in `draws` random memories: all pairs are written, then asked, in one pass of the `linear_attention` kernel."""
    random = np.random.default_rng(seed)
    recalled = np.empty(draws)
    for draw in range(draws):
        keys = _unit(random, heads * pairs, key_width).reshape(heads, pairs, key_width)
        codes = _unit(random, candidates, value_width)
        silent = torch.zeros_like(keys)
        shown, asked = torch.cat((keys, silent), dim=1), torch.cat((silent, keys), dim=1)
        per_head = codes[:pairs].reshape(pairs, heads, value_width // heads).transpose(0, 1)
        written = torch.cat((per_head, torch.zeros_like(per_head)), dim=1)
        read = linear_attention(asked[None], shown[None], written[None])[0, :, pairs:].transpose(0, 1).reshape(pairs, value_width)
        recalled[draw] = ((read @ codes.T).argmax(dim=1) == torch.arange(pairs)).double().mean()
    return recalled


def _unit(random: np.random.Generator, count: int, width: int) -> torch.Tensor:
    """`count` independent directions of R^width, `[count, width]` float32."""
    vectors = random.standard_normal((count, width))
    return torch.from_numpy((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))


def _cosine_law(x: np.ndarray, width: int) -> np.ndarray:
    """P(u_1 <= x) for u uniform on the unit sphere of R^width: u_1^2 ~ Beta(1/2, (width-1)/2)."""
    x = np.clip(x, -1.0, 1.0)
    law: np.ndarray = 0.5 + 0.5 * np.sign(x) * betainc(0.5, (width - 1) / 2, x**2)
    return law


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence at several shapes (key width, value width, codes, heads), a row each: along the curve, then on the bits certified at its best."""
    shapes = [(16, 16, 256, 1), (64, 32, 512, 1), (16, 32, 512, 2)]
    if scale == "full":
        shapes += [(32, 32, 1024, 1), (32, 128, 1024, 1), (128, 32, 1024, 1), (64, 64, 4096, 1), (32, 32, 512, 4)]
    draws = 40 if scale == "quick" else 200
    measured, predicted, tolerance, loads = [], [], [], []
    for key_width, value_width, candidates, heads in shapes:
        half = outer_product_k50(key_width=key_width, value_width=value_width, candidates=candidates)
        pairs = [round(load * half) for load in LOADS]
        shape = {"key_width": key_width, "value_width": value_width, "candidates": candidates, "heads": heads}
        recalled = np.array([simulate(pairs=n, **shape, draws=draws, seed=seed) for n in pairs])
        law = np.array([outer_product_accuracy(n, **shape) for n in pairs])
        mean, noise = recalled.mean(axis=1), 3 * recalled.std(axis=1, ddof=1) / math.sqrt(draws)
        bits, bits_of_law, bits_at_most = (
            _most_bits(pairs, accuracy, candidates) / (key_width * value_width) for accuracy in (mean, law, np.minimum(mean + noise, 1.0))
        )
        stated, stated_bits = (0.05, 0.02) if min(key_width, value_width) >= 32 else (0.09, 0.04)
        measured.append([*mean, bits])
        predicted.append([*law, bits_of_law])
        tolerance.append([*(stated + noise), stated_bits + bits_at_most - bits])
        loads.append(pairs)
    return Evidence(
        quantity="fraction of n random pairs recalled from a sum of outer products, n rising, then the most bits a scalar certified so",
        measured=np.array(measured),
        predicted=np.array(predicted),
        tolerance=np.array(tolerance),
        arrays={"pairs": np.array(loads), "shapes": np.array(shapes)},
    )


def _most_bits(pairs: list[int], accuracy: np.ndarray, candidates: int) -> float:
    """Bits certified at the best of these loads."""
    return max(certified_bits(float(a), stored=float(n), values=candidates) for n, a in zip(pairs, accuracy, strict=True))


OUTER_PRODUCT = Claim(
    name="recall.outer_product",
    statement=(
        "Linear attention with random unit keys and values recalls a fraction P(n) of n pairs, within 0.05 for widths of 32 and more and "
        "within 0.09 from 16; half of them at n near dk dv / (2 ln M), M value codes. At its best load it certifies as many bits a scalar "
        "as the law has, within 0.02 for widths of 32 and more and within 0.04 from 16: 0.28 at 16 x 16 with 256 codes, 0.34 at 32 x 32 with "
        "1024, 0.38 at 64 x 64 with 4096."
    ),
    source="new; the memory is Kohonen's (IEEE Trans. Computers C-21, 1972) and linear attention as such arXiv:2102.11174, sec. 4.1",
    standing="new",
    check=_check,
)
