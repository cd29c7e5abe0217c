"""A sum of outer products of n random sign keys of width N with one of v values each reads with noise of variance (n-1) / (v N) in every value.

S = sum_j k_j^T e_(v_j) holds pair j as a key k_j in {-1, 1}^N / sqrt(N) and the unit vector of its value, drawn uniformly: linear attention's state,
or that of a state space model that never fades. Read at k_i, value c has the score [v_i = c] + e_c with e_c = sum_(j != i, v_j = c) k_i . k_j.

**Claim**: N e_c is a sum of N m fair signs with m ~ Binom(n-1, 1/v), and has the characteristic function (1 - 1/v + cos(t)^N / v)^(n-1). So e_c has
mean 0 and variance (n-1) / (v N). **Proof**: whatever k_i is, the products of its entries with those of another key are N fair signs, independent
of each other and from key to key; each of the n-1 others has the value c with probability 1/v, independently. []

Different values share no pair, so given how many pairs each has, their noises are independent. These numbers add up to n-1; taken as independent
too, with p the law of N e_c and F(x) = P(N e_c <= x), they make the accuracy

    sum_x p(x) / v sum_(k = 0 .. v-1) F(x + N - 1)^k F(x + N)^(v-1-k)

where k values come before the right one: the first of equal scores is taken. With many pairs of a value, m is near n / v, e_c near a Gaussian with
sigma^2 = n / (v N), and the accuracy near the integral of phi(z) Phi(z + 1/sigma)^(v-1). With few it is not: a value of several pairs is noisier
than one of none, and at n = 256, v = 64, N = 32 the Gaussian says 0.675, the law 0.620.
"""

import math

import numpy as np
import torch
from jaxtyping import Float64
from scipy.special import ndtr, roots_hermitenorm

from ...kernels import linear_attention
from ..claim import Claim, Evidence, Scale

NODES, _WEIGHTS = roots_hermitenorm(120)
WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
"""E[f(z)] = sum_j WEIGHTS_j f(NODES_j) for a standard normal z"""

SIZES = [(256, 16, 32), (256, 16, 64), (256, 16, 128), (1024, 16, 64), (64, 4, 16), (256, 64, 32), (64, 64, 16), (32, 16, 8)]
"""pairs, values, width"""
CROWDED = 16
"""pairs of a value, on average, from which on the Gaussian is claimed"""
MANY = 64
"""values, with few pairs each, of which the Gaussian is claimed to be too high"""
ERRORS = 5
"""standard errors that sampling may cost: of so many accuracies and variances, 4 would be passed by one in a thousand checks"""


def noise(pairs: int, values: int, width: int) -> Float64[np.ndarray, " multiples"]:
    """The law of N e_c, the probability of x at [x + len / 2], from its characteristic function."""
    length = 1 << (2 * (pairs - 1) * width + 1).bit_length()  # from -(pairs - 1) width to (pairs - 1) width, and a power of 2
    signs = np.cos(2 * math.pi / length * np.arange(length))
    law = np.fft.ifft((1 - 1 / values + signs**width / values) ** (pairs - 1)).real
    return np.fft.fftshift(law).clip(min=0.0)


def accuracy(pairs: int, values: int, width: int) -> float:
    """The accuracy by the law of the noise."""
    law = noise(pairs, values, width)
    at_most = law.cumsum()
    x = np.flatnonzero(law > 1e-16)
    below, up_to = (at_most[np.minimum(x + above, len(law) - 1)] for above in (width - 1, width))
    right = sum(below**k * up_to ** (values - 1 - k) for k in range(values)) / values
    return float(law[x] @ right)


def gaussian_accuracy(pairs: int, values: int, width: int) -> float:
    """The integral of phi(z) Phi(z + 1/sigma)^(v-1), sigma^2 = n / (v N)."""
    return float(WEIGHTS @ ndtr(NODES + math.sqrt(values * width / pairs)) ** (values - 1))


def simulate(pairs: int, values: int, width: int, *, draws: int, random: np.random.Generator) -> Float64[np.ndarray, "2 draws"]:
    """Mean square of the noise, and accuracy, in each draw of a memory that is written, then read at all its keys, by `linear_attention`."""
    keys = random.choice([-1.0, 1.0], (draws, 1, pairs, width))  # not scaled, so that all sums are exact, and equal scores equal
    value = random.integers(0, values, (draws, pairs))
    stored = np.eye(values)[value][:, None]
    written, read, asked = (torch.from_numpy(x) for x in (np.concatenate([keys, 0 * keys], 2), stored, np.concatenate([0 * keys, keys], 2)))
    scores = linear_attention(asked, written, torch.cat([read, torch.zeros_like(read)], dim=2))[:, 0, pairs:].numpy() / width
    return np.stack([((scores - stored[:, 0]) ** 2).mean(axis=(1, 2)), (scores.argmax(axis=2) == value).mean(axis=1)])


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence by simulation: the mean square of the noise, the accuracy by both laws, and how far below the Gaussian it is with few pairs."""
    random = np.random.default_rng(seed)
    rounds, draws = 1 if scale == "quick" else 10, 100
    drawn = np.array([np.hstack([simulate(*size, draws=draws, random=random) for _ in range(rounds)]) for size in SIZES])
    (square, right), (square_error, right_error) = drawn.mean(axis=2).T, ERRORS * drawn.std(axis=2, ddof=1).T / math.sqrt(rounds * draws)
    pairs, values, width = np.array(SIZES).T
    gaussian = np.array([gaussian_accuracy(*size) for size in SIZES])
    crowded = pairs >= CROWDED * values
    spread = ~crowded & (values >= MANY)
    expected = np.concatenate([(pairs - 1) / (values * width), [accuracy(*size) for size in SIZES], gaussian[crowded]])
    unbounded = np.full(spread.sum(), np.inf)
    return Evidence(
        quantity="variance of the noise of a read-out; its accuracy, against the law of the noise; the same, against a Gaussian where it is claimed; "
        "how far it is below the Gaussian with few pairs of each of many values",
        measured=np.concatenate([square, right, right[crowded], (gaussian - right)[spread]]),
        at_least=np.concatenate([expected, np.full(spread.sum(), 0.05)]),
        at_most=np.concatenate([expected, unbounded]),
        tolerance=np.concatenate([square_error, 0.01 + right_error, (0.015 + right_error)[crowded], right_error[spread]]),
        arrays={"sizes": np.array(SIZES), "gaussian": gaussian},
    )


NOISE_LAW = Claim(
    name="hax.noise_law",
    statement=(
        "Linear attention over n pairs of random keys of N signs and one-hot values, uniform among v, reads the score of every value with noise of "
        "variance (n-1) / (v N). At sizes of 32 to 1024 pairs, 1 to 64 of them a value, its accuracy is within 0.01 of that of the noise's own law, "
        "in which the number of pairs of a value varies; and, at those with 16 pairs a value and more, within 0.015 of that of Gaussian noise of "
        "variance n / (v N), which with 1 and 4 pairs of each of 64 values is too high by 0.05 and more."
    ),
    source="the reading of linear attention as a correlation memory, arXiv:2102.11174, sec. 4.1 (Kohonen, IEEE Trans. Computers C-21, 1972)",
    standing="reconstructed",
    check=_check,
)
