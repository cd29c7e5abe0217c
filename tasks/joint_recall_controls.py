"""What can be had in joint recall without reading all of it: exact accuracies of the best guessers that are blind to something.

A table of contexts x keys holds independent uniform values, m_r is the expected largest multiplicity of r of them (`top_count`). A guesser
names the most frequent value among the candidates that are left; where answers are revealed, each is struck out once it has been asked.
"""

import numpy as np
from jaxtyping import Float64

from .top_count import expected_top_counts


def mode_accuracy(candidates: int, values: int) -> Float64[np.ndarray, " candidates"]:
    """m_r / r for r = 1 .. candidates: the accuracy of the most frequent of r candidates, any of which may be the answer."""
    accuracy: Float64[np.ndarray, " candidates"] = expected_top_counts(candidates, values)[1:] / np.arange(1, candidates + 1)
    return accuracy


def block_accuracy(contexts: int, keys: int, values: int) -> Float64[np.ndarray, "contexts keys"]:
    """Accuracy of a reader of all but the context tokens when r blocks of the table are unused and s answers of this block revealed.

    A = sum_j Binom(j; r-1, v^-s) m_{j+1} / (j+1), at [r-1, s]: each of the r-1 wrong blocks agrees with the s revealed answers by chance, and if j
    do, the guess is the mode of j+1 values. No guess is better: every unused block that agrees is equally likely to be this one. Made even by
    `until_used_up` it is the accuracy by slot, and over all slots that of the strategy.
    """
    from scipy.stats import binom  # half a second to import, and only controls need it

    wrong = np.arange(contexts)
    by_chance = float(values) ** -np.arange(keys)
    agree = binom.pmf(wrong, wrong[:, None, None], by_chance[:, None])  # [r-1, s, j]
    accuracy: Float64[np.ndarray, "contexts keys"] = agree @ mode_accuracy(contexts, values)
    return accuracy


def until_used_up(accuracy: Float64[np.ndarray, "candidates ..."]) -> Float64[np.ndarray, "candidates ..."]:
    """The mean over r = 1 .. c of what is reached with r candidates left, at [c-1]: each question uses one of c candidates up."""
    mean: Float64[np.ndarray, "candidates ..."] = (accuracy.cumsum(axis=0).T / np.arange(1, len(accuracy) + 1)).T
    return mean
