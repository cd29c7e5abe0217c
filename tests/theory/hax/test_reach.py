"""What the questions can reach, by mask and by operator."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.kernels import Dilated, Pattern, Sink, Strided, Union, Window
from recall_lab.theory.hax.reach import VALUES, WORD, certified_by_entries, read, seen

sizes = st.integers(1, 40)
part = st.one_of(st.builds(kind, sizes) for kind in (Window, Sink, Dilated, Strided))


@given(parts=st.lists(part, min_size=1, max_size=3), length=st.integers(2, 60), data=st.data())
@settings(max_examples=50)
def test_the_operator_reads_what_the_mask_says(parts: list[Pattern], length: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, length - 1))
    pattern = Union(*parts)
    assert (read(pattern, length, cut) == seen(pattern, length, cut)).all()


@given(size=sizes, length=st.integers(2, 60), data=st.data())
@settings(max_examples=50)
def test_of_a_table_each_pattern_reaches_the_positions_of_its_formula(size: int, length: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, length - 1))
    assert seen(Window(size), length, cut).sum() == min(size - 1, cut)
    assert seen(Sink(size), length, cut).sum() == min(size, cut)
    assert seen(Dilated(size), length, cut).sum() == cut // size
    residues = {i % size for i in range(cut, length)}
    assert seen(Strided(size), length, cut).sum() == sum(j % size in residues for j in range(cut))


@pytest.mark.parametrize("entries", [0, 3, 40])
def test_a_word_an_answer_certifies_what_it_stores_where_everything_fits_and_less_elsewhere(entries: int) -> None:
    assert math.log2(VALUES) == WORD
    for questions in (1, entries + 1):
        assert certified_by_entries(entries, questions) == pytest.approx(WORD * questions)
    assert certified_by_entries(entries, entries + 2) < WORD * (entries + 1)
