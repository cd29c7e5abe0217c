import pytest

from recall_lab.errors import InputError, choose

KNOWN = {"attention": 1, "mamba": 2, "linear_attention": 3}


def test_a_known_name_is_chosen() -> None:
    assert choose("mixer", "mamba", KNOWN) == 2


def test_a_misspelt_name_is_refused_in_one_line_with_the_nearest_one() -> None:
    with pytest.raises(InputError) as error:
        choose("mixer", "linear_atention", KNOWN)
    assert str(error.value) == (
        "no mixer is called 'linear_atention'; did you mean 'linear_attention'? (known: attention, linear_attention, mamba)"
    )


def test_a_name_like_no_other_gets_the_list_without_a_guess() -> None:
    with pytest.raises(InputError) as error:
        choose("mixer", "xyz", KNOWN)
    assert str(error.value) == "no mixer is called 'xyz' (known: attention, linear_attention, mamba)"
