"""b >= n R_v(e) for a memory of b bits with mean error e, also where each answer is revealed before the next question.

Here n answers are independent and uniform over v values, asked once each in an order that does not depend on them, and R_v(e) = log2 v -
h2(e) - e log2(v-1) for e <= 1 - 1/v, and 0 beyond: `certified_bits` is n R_v(e).

**Proof.** Condition on the order. Let U be what is carried to the first question, V_1 .. V_n the answers in the order asked, and e_t the
error at the t-th. Its guess is a function of U, of V_1 .. V_(t-1), and of coins that are independent of the answers, on which we condition
as well. By the chain rule

    b >= I(U; V_1 .. V_n) = sum_t I(U; V_t | V_1 .. V_(t-1)),

and V_t is uniform given the answers before, so each term is log2 v - H(V_t | U, V_1 .. V_(t-1)), which is at least R_v(e_t): by Fano's
inequality, and because it is not negative. R_v is convex, so the sum is at least n R_v of the mean of the e_t, and again so for the mean
over orders and coins. []

Without revealed answers this is `recall.wall`, where the sum is over H(V_t | U) instead. Revealed answers are no memory: with or without
them, the same bits certify the same accuracy. In the instances that are searched here even the best memories are equally good with and
without.

The bound is met by one state, no bits (e = 1 - 1/v), and by v^n states (e = 0). In between memories of few answers stay below: 2 states
answer 2 binary questions with accuracy 3/4, where the bound allows .89; only over many answers at once can it be approached (rate
distortion). A bound on bits says nothing about a model whose state is many times n log2 v: at the paper's sizes no wall of this family
binds (see `prefix_wall.py`).
"""

import numpy as np
from jaxtyping import Float64
from scipy.optimize import brentq

from ...tasks import certified_bits
from ..claim import Claim, Evidence, Scale
from .encoders import best_memories, strategies

SIZES = ((2, 2), (2, 3), (3, 2))
"""(n, v) of which memories of every number of states are searched"""


def best_accuracy(questions: int, values: int, states: int, *, revealed: bool) -> Float64[np.ndarray, " states"]:
    """Mean accuracy over all tables of the best memory of at most 1 .. `states` states, found among all."""
    right = strategies(questions, values, revealed=revealed).sum(axis=2)
    accuracy: Float64[np.ndarray, " states"] = best_memories(right, states) / (questions * values**questions)
    return accuracy


def allowed_accuracy(bits: float, *, stored: float, values: int) -> float:
    """The accuracy at which `stored` answers over `values` certify `bits`, 1 from stored log2(values) on: no memory of these bits exceeds it."""
    least, most = (certified_bits(accuracy, stored=stored, values=values) for accuracy in (1 / values, 1.0))
    if not least < bits < most:
        return 1.0 if bits >= most else 1 / values

    def excess(accuracy: float) -> float:
        return certified_bits(accuracy, stored=stored, values=values) - bits

    return float(brentq(excess, 1 / values, 1.0))


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on the best of all memories of 1 .. v^n states, which are tried whole, without and with revealed answers."""
    del seed  # nothing is drawn
    instances = [(n, v, v**n) for n, v in SIZES] + ([(2, 4, 4)] if scale == "full" else [])
    accuracy, certified, bits, allowed, tight = [], [], [], [], []
    for n, v, states in instances:
        sizes = np.log2(np.arange(1, states + 1))
        for revealed in (False, True):
            accuracy.append(best_accuracy(n, v, states, revealed=revealed))
            certified.append(certified_bits(accuracy[-1], stored=float(n), values=v))
            bits.append(sizes)
            allowed.append([allowed_accuracy(float(b), stored=float(n), values=v) for b in sizes])
            tight.append(np.isin(np.arange(1, states + 1), (1, v**n)))
    wall = np.concatenate(bits)
    return Evidence(
        quantity="bits certified by the best of all memories of 1 .. v^n states",
        measured=np.concatenate(certified),
        at_most=wall,
        at_least=np.where(np.concatenate(tight), wall, 0.0),
        tolerance=1e-9,
        arrays={"accuracy": np.concatenate(accuracy), "allowed": np.concatenate(allowed), "bits": wall},
    )


PER_QUERY = Claim(
    name="hax.per_query",
    statement=(
        "A memory of b bits that answers n questions, whose answers are independent and uniform over v values, with mean error e <= 1 - "
        "1/v has b >= n (log2 v - h2(e) - e log2(v-1)), also where each answer is revealed before the next question. The best memory of "
        "one state and that of v^n states meet it."
    ),
    source=(
        "new; builds on Fano's inequality for each answer, given those before it (Cover & Thomas, Elements of Information Theory, 2nd "
        "ed., thm 2.10.1)"
    ),
    standing="new",
    check=_check,
)
