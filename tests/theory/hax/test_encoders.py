"""All memories and all strategies of a size."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.theory.hax.encoders import best_memories, strategies, tables


def test_strategies_know_the_question_and_what_was_revealed() -> None:
    assert strategies(3, 2, revealed=False).shape == (2**3, 8, 3)
    right = strategies(3, 2, revealed=True)
    assert right.shape == (2 ** (1 + 2 + 4), 8, 3)
    shown = tables(3, 2)
    for row, other in product(range(8), repeat=2):
        for t in range(3):
            same_guess = (right[:, row, t] ^ (shown[row, t] == 1)) == (right[:, other, t] ^ (shown[other, t] == 1))
            assert same_guess.all() == (shown[row, :t] == shown[other, :t]).all()  # a guess may differ iff something revealed does


def test_no_two_strategies_are_the_same() -> None:
    for revealed in (False, True):
        guesses = strategies(2, 3, revealed=revealed)
        assert len(np.unique(guesses.reshape(len(guesses), -1), axis=0)) == len(guesses)


@given(score=st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=4), states=st.integers(1, 3))
@settings(max_examples=30)
def test_the_best_memory_is_the_best_of_all_maps_from_tables_to_states(score: list[list[int]], states: int) -> None:
    by_strategy = np.array(score)
    best = 0
    for state in product(range(states), repeat=5):
        in_state = np.array([[entry == s for entry in state] for s in range(states)])
        best = max(best, (in_state @ by_strategy.T).max(axis=1).sum())
    assert best_memories(by_strategy, states)[-1] == best


@pytest.mark.parametrize("revealed", [False, True])
def test_more_states_are_better_up_to_one_a_table(revealed: bool) -> None:
    found = best_memories(strategies(2, 2, revealed=revealed).sum(axis=2), 6)
    assert (np.diff(found[:4]) > 0).all()
    assert (found[3:] == 8).all()
