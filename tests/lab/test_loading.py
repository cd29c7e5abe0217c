"""Tables that people write: what becomes of a good one, and the one line about a bad one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.errors import InputError
from recall_lab.loading import as_table, build, parse_setting, type_name, unknown_key


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One field of every kind that our own dataclasses have."""

    dish: str
    people: int = 2
    hours: float = 0.5
    spicy: bool = False
    course: Literal["first", "main"] = "main"
    oven: int | None = None
    heat: int | tuple[int, int] = 3
    steps: tuple[int, ...] = ()
    notes: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.people < 1:
            raise ValueError(f"people must be at least 1, got {self.people}")


def refusal(table: Mapping[str, Any]) -> str:
    with pytest.raises(InputError) as error:
        build(Recipe, table, "[recipe]")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_table_becomes_a_value_with_defaults_for_what_it_leaves_out() -> None:
    table = {"dish": "soup", "people": 4, "course": "first", "oven": 200, "heat": [1, 2], "steps": [1, 2, 3], "notes": {"salt": [1]}}
    assert build(Recipe, table, "[recipe]") == Recipe(
        dish="soup", people=4, course="first", oven=200, heat=(1, 2), steps=(1, 2, 3), notes={"salt": [1]}
    )


def test_a_whole_number_is_a_number() -> None:
    hours = build(Recipe, {"dish": "soup", "hours": 2}, "[recipe]").hours
    assert (hours, type(hours)) == (2.0, float)


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("dish", 3, "a text"),
        ("people", 2.0, "a whole number"),
        ("people", "2", "a whole number"),
        ("people", True, "a whole number"),
        ("hours", "2", "a number"),
        ("hours", True, "a number"),
        ("spicy", 1, "true or false"),
        ("course", "last", "one of 'first', 'main'"),
        ("oven", 1.5, "a whole number or left out"),
        ("oven", False, "a whole number or left out"),
        ("heat", [1], "a whole number or a list of 2"),
        ("heat", [1, "2"], "a whole number or a list of 2"),
        ("heat", [1, True], "a whole number or a list of 2"),
        ("steps", 3, "a list, each entry a whole number"),
        ("notes", 3, "a table or left out"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_type_that_is_wanted(field: str, value: object, wanted: str) -> None:
    shown = tuple(value) if isinstance(value, list) else value
    assert refusal({"dish": "soup", field: value}) == f"[recipe]: {field} must be {wanted}, got {shown!r}"


@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from(["x", True, None, 0.5]))
def test_one_bad_entry_of_a_list_is_found_wherever_it_stands(before: int, after: int, bad: object) -> None:
    assert "steps must be a list, each entry a whole number" in refusal({"dish": "soup", "steps": [1] * before + [bad] + [1] * after})


def test_an_unknown_key_is_refused_with_the_nearest_one_and_all_there_are() -> None:
    known = "course, dish, heat, hours, notes, oven, people, spicy, steps"
    assert refusal({"dish": "soup", "poeple": 3}) == f"[recipe]: unknown key 'poeple'; did you mean 'people'? (known: {known})"
    assert refusal({"dish": "soup", "zzz": 3}) == f"[recipe]: unknown key 'zzz' (known: {known})"


def test_a_value_that_the_class_refuses_is_refused_in_its_words() -> None:
    assert refusal({"dish": "soup", "people": 0}) == "[recipe]: people must be at least 1, got 0"


def test_a_field_without_default_must_be_given() -> None:
    assert refusal({"people": 3}) == "[recipe]: dish must be given"


def test_a_type_error_of_the_class_itself_is_no_fault_of_the_user() -> None:
    @dataclass(frozen=True)
    class Broken:
        size: int = 1

        def __post_init__(self) -> None:
            len(self.size)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="has no len"):
        build(Broken, {"size": 2}, "[broken]")


def test_the_known_keys_are_sorted() -> None:
    assert unknown_key("c", {"b": 1, "a": 2}, "here") == "here: unknown key 'c' (known: a, b)"


def test_only_a_table_is_a_table() -> None:
    assert as_table({"a": 1}, "[x]") == {"a": 1}
    with pytest.raises(InputError, match=r"^\[x\] must be a table, got \[1\]$"):
        as_table([1], "[x]")


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (int, "a whole number"),
        (float | None, "a number or left out"),
        (tuple[int, int], "a list of 2"),
        (tuple[str, ...], "a list, each entry a text"),
        (tuple[Mapping[str, Any], ...], "a list, each entry a table"),
        (Literal["a", 2], "one of 'a', 2"),
        (Recipe, "Recipe"),
    ],
)
def test_types_have_names_that_a_person_says(hint: object, name: str) -> None:
    assert type_name(hint) == name


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("task.pairs=4", "task.pairs", 4),
        ("task.pairs=[4, 8]", "task.pairs", [4, 8]),
        ("optimiser.learning_rate=1e-2", "optimiser.learning_rate", 0.01),
        ("task.iid_values=true", "task.iid_values", True),
        ("task.order=shuffled", "task.order", "shuffled"),
        ('task.order="shuffled"', "task.order", "shuffled"),
        (" task.order = race ", "task.order", "race"),
        ("about=a=b", "about", "a=b"),
        ("task.order=", "task.order", ""),
    ],
)
def test_a_setting_is_a_path_and_a_toml_value_or_a_text(setting: str, path: str, value: object) -> None:
    assert parse_setting(setting) == (path, value)


@pytest.mark.parametrize("setting", ["task.pairs", "", "=4", "  =4"])
def test_a_setting_without_name_or_value_is_refused(setting: str) -> None:
    with pytest.raises(InputError, match=r"must read table\.field=value"):
        parse_setting(setting)
