"""Memories so small that all of them can be tried: every map from tables to states, with every way to answer from a state.

A table is n answers over v values, in the order in which they are asked. A memory puts it into one of finitely many states; a strategy
belongs to a state, and guesses by the question alone or, where answers are revealed, also by the answers to the questions before it.
"""

from functools import reduce
from itertools import product

import numpy as np
from jaxtyping import Bool, Int64


def tables(questions: int, values: int) -> Int64[np.ndarray, "tables questions"]:
    """All tables of `questions` answers out of 0 .. values-1."""
    return np.array(list(product(range(values), repeat=questions)))


def strategies(questions: int, values: int, *, revealed: bool) -> Bool[np.ndarray, "strategies tables questions"]:
    """Which answers each strategy gets right in each of `tables`: v^n strategies, or v^(1 + v + ... + v^(n-1)) if answers are `revealed`."""
    shown = tables(questions, values)
    heard = [[(t, tuple(row[:t]) if revealed else ()) for t in range(questions)] for row in shown.tolist()]
    number = {what: index for index, what in enumerate(sorted({what for row in heard for what in row}))}
    situation = np.array([[number[what] for what in row] for row in heard])
    guess = np.array(list(product(range(values), repeat=len(number))))
    right: Bool[np.ndarray, "strategies tables questions"] = guess[:, situation] == shown
    return right


def best_memories(
    score: Bool[np.ndarray, "strategies tables"] | Int64[np.ndarray, "strategies tables"], states: int
) -> Int64[np.ndarray, " states"]:
    """The highest sum over tables of score[strategy of the table's state, table] that a memory of at most 1 .. `states` states has.

    All memories are compared: a best one of s states, on a set of tables, is one state that holds a part of the set, with the strategy
    that is best there, and a best one of s - 1 states on the others. So 3^tables comparisons a state do for states^tables memories.
    """
    count = score.shape[1]
    sets = np.arange(2**count)
    members = sets[:, None] >> np.arange(count) & 1
    one_state = reduce(np.maximum, (members @ row for row in score.astype(np.int64)))
    best, found = one_state, [one_state[-1]]
    for _ in range(1, states):
        fewer, best = best, best.copy()
        for part in sets:
            others = sets[sets & part == 0]
            whole = part | others
            best[whole] = np.maximum(best[whole], one_state[part] + fewer[others])
        found.append(best[-1])
    return np.array(found)
