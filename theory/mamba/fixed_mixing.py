"""What a layer whose mixing ignores its input can tell apart: whether functions f_i exist with the score sum_i f_i(window_i, c) right.

Such a layer computes, at the position of a question, y = sum_i K_i phi_i(window_i): K_i any matrices that do not depend on the input (any LTI
state space model with any state, a convolution of any length, causal or not), phi_i any functions of the w tokens up to position i (a short
convolution with a nonlinearity and a linear map, an MLP). A gate, a skip and whatever else is made of the question's own window is the same
for all inputs as long as that window holds nothing of what is remembered, and a norm is one positive factor: so the score of symbol c, linear
in y, is sum_i f_i(window_i, c) with arbitrary functions f_i, up to a constant of c that some f_i takes in. Nothing else is asked of the layer.

Answers are right iff every input's answer beats every rival: linear inequalities G f > 0 in the numbers f_i(W, c). By Gordan's theorem either
they have a solution, or a sum of them with weights >= 0, not all 0, reads 0 > 0: a certificate that there is none. Both can be verified in
whole numbers. A linear program also finds the largest margin for |f_i(W, c)| <= 1, 0 iff there is no solution.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int64
from scipy.optimize import linprog

from ..claim import Evidence

OUTSIDE = -1
"""stands in windows for what lies before the first token and after the last, the same in every input"""


class Comparisons(NamedTuple):
    """The inequalities G f > 0: a row for each input and each rival of its answer, a column for each number f_i(W, c)."""

    matrix: Int64[np.ndarray, "rows columns"]
    """G: for every window of the input 1 at the answer and -1 at the rival"""
    tokens: Int64[np.ndarray, "rows length"]
    answer: Int64[np.ndarray, " rows"]
    rival: Int64[np.ndarray, " rows"]
    columns: list[tuple[int, tuple[int, ...], int]]
    """(i, W, c): a place, a window of tokens that ends there, a symbol that is scored"""


def comparisons(
    tokens: Int64[np.ndarray, "inputs length"], answers: Int64[np.ndarray, " inputs"], *, symbols: int, window: int
) -> Comparisons:
    """The inequalities that say: of the symbols 0 .. symbols-1, each input's answer has the highest score. A window sees `window` tokens."""
    inputs, length = tokens.shape
    answer = answers.repeat(symbols - 1)
    rival = np.concatenate([np.delete(np.arange(symbols), a) for a in answers])
    around = np.pad(tokens, ((0, 0), (window - 1, window - 1)), constant_values=OUTSIDE)
    blocks, columns = [], []
    for place in range(length + window - 1):
        seen, which = np.unique(around[:, place : place + window], axis=0, return_inverse=True)
        block = np.zeros((len(answer), len(seen), symbols), np.int64)
        rows, which = np.arange(len(answer)), which.reshape(inputs).repeat(symbols - 1)
        block[rows, which, answer] = 1
        block[rows, which, rival] = -1
        blocks.append(block.reshape(len(answer), -1))
        columns += [(place, tuple(map(int, view)), symbol) for view in seen for symbol in range(symbols)]
    return Comparisons(np.hstack(blocks), tokens.repeat(symbols - 1, axis=0), answer, rival, columns)


def best_margin(asked: Comparisons) -> float:
    """The largest t with G f >= t for some |f| <= 1, by linear programming (HiGHS): 0 iff no f answers everything."""
    rows, columns = asked.matrix.shape
    against = np.hstack([-asked.matrix, np.ones((rows, 1))])
    bounds: list[tuple[float, float | None]] = [*[(-1.0, 1.0)] * columns, (0.0, None)]
    found = linprog(np.append(np.zeros(columns), -1.0), A_ub=against, b_ub=np.zeros(rows), bounds=bounds, method="highs")
    assert found.fun is not None, "f = 0 and t = 0 are allowed, and t is bounded"
    return -found.fun


def answers_all(asked: Comparisons, score: Callable[[int, tuple[int, ...], int], int]) -> bool:
    """Whether f_i(W, c) = score(i, W, c) answers every input, in whole numbers."""
    f = np.array([score(*column) for column in asked.columns], np.int64)
    return bool((asked.matrix @ f > 0).all())


def is_certificate(asked: Comparisons, chosen: Bool[np.ndarray, " rows"]) -> bool:
    """Whether the sum of the chosen inequalities reads 0 > 0, in whole numbers: then no f answers everything."""
    return bool(chosen.any() and not asked.matrix[chosen].sum(axis=0).any())


class Verdict(NamedTuple):
    """What was found on one problem."""

    margin: float
    """`best_margin`"""
    exact: float
    """1 if a given f answers everything, 0 if a given certificate says that none does, NaN if neither; in whole numbers"""


def verdict(asked: Comparisons, score: Callable[[int, tuple[int, ...], int], int], chosen: Bool[np.ndarray, " rows"]) -> Verdict:
    """The margin, and which of the two proofs on offer, a solution `score` or a certificate `chosen`, goes through."""
    exact = 1.0 if answers_all(asked, score) else 0.0 if is_certificate(asked, chosen) else np.nan
    return Verdict(best_margin(asked), exact)


@runtime_checkable
class Instance(Protocol):
    """A task small enough to list all its inputs, with a theorem on it and both proofs."""

    @property
    def symbols(self) -> int:
        """Answers are 0 .. symbols-1."""

    @property
    def window(self) -> int:
        """Tokens that a window sees."""

    @property
    def possible(self) -> bool:
        """Whether the theorem says that a fixed mixing can."""

    def inputs(self) -> tuple[Int64[np.ndarray, "inputs length"], Int64[np.ndarray, " inputs"]]:
        """All inputs and their answers."""

    def score(self, place: int, view: tuple[int, ...], symbol: int) -> int:
        """The f_i(W, c) of the proof that it can."""

    def certificate(self, asked: Comparisons) -> Bool[np.ndarray, " rows"]:
        """The rows of the proof that it cannot."""


def settled(instance: Instance) -> Verdict:
    """The verdict on all inputs of an instance."""
    tokens, answers = instance.inputs()
    asked = comparisons(tokens, answers, symbols=instance.symbols, window=instance.window)
    return verdict(asked, instance.score, instance.certificate(asked))


def evidence(instances: Sequence[Instance]) -> Evidence:
    """Evidence on instances whole: every input, by linear programming and by the proof's certificate or solution."""
    possible = np.array([instance.possible for instance in instances])
    return Evidence(
        quantity="the largest margin with scores of at most 1, by linear programming; then whether there is one, in whole numbers",
        measured=np.array([settled(instance) for instance in instances]).T,
        at_least=np.stack([0.01 * possible, possible]),
        at_most=np.stack([np.where(possible, np.inf, 0.0), possible]),
        tolerance=np.array([[1e-6], [0.0]]),
        arrays={"instances": np.array(instances), "possible": possible},
    )
