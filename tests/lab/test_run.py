"""A run's identity is its content: what changes the hash, what does not, and what is no run at all."""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.tiny import TASK, as_users_call, tiny_run
from strategies import STRATEGIES

from recall_lab.errors import InputError
from recall_lab.models import LanguageModelConfig
from recall_lab.run import SCHEMA, Budget, Optimiser, Run, mixer_config_from, single_run
from recall_lab.tasks import AR, MQAR, Task

RUN = tiny_run()

MIXERS = st.one_of(
    st.tuples(
        st.just("attention"), st.fixed_dictionaries({"width": st.sampled_from([4, 8]), "positions": st.sampled_from(["none", "rotary"])})
    ),
    st.tuples(st.just("sliding_window"), st.fixed_dictionaries({"window": st.integers(1, 9)})),
    st.tuples(st.just("linear_attention"), st.fixed_dictionaries({"feature_map": st.sampled_from(["identity", "taylor"])})),
)

OPTIMISERS = st.builds(
    Optimiser,
    learning_rate=st.floats(1e-9, 1e3),
    weight_decay=st.floats(0, 10),
    warmup=st.floats(0, 1),
    clip=st.floats(1e-3, 1e9),
)

COUNTS = st.integers(1, 10**6)

BUDGETS = st.builds(
    Budget,
    steps=COUNTS,
    batch=COUNTS,
    check_every=COUNTS,
    stop_at=st.floats(1e-6, 9),
    validation=COUNTS,
    test=COUNTS,
    loss_on=st.sampled_from(["answers", "all"]),
)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Any task with any mixer, optimiser and budget."""
    task = draw(st.one_of(*STRATEGIES.values()))
    mixer, own = draw(MIXERS)
    vocabulary = task.vocab_size + draw(st.integers(0, 3))
    model = LanguageModelConfig(vocab_size=vocabulary, mixer=mixer, fields=own, depth=draw(st.integers(1, 4)), mlp=draw(st.integers(0, 4)))
    seeds = st.integers(0, 2**63)
    return Run(task=task, model=model, optimiser=draw(OPTIMISERS), budget=draw(BUDGETS), seed=draw(seeds), data_seed=draw(seeds))


def changed(table: Mapping[str, Any], path: str, value: object) -> dict[str, Any]:
    """The table with another value at `a.b.c`."""
    name, _, rest = path.partition(".")
    return {**table, name: changed(table[name], rest, value) if rest else value}


def without(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != name}


def backwards(table: Any) -> Any:
    """Tables with their keys in the other order, at every depth."""
    return {key: backwards(table[key]) for key in reversed(table)} if isinstance(table, dict) else table


def test_a_run_is_a_value_that_a_set_can_hold():
    again = Run.from_dict(RUN.to_dict())
    assert len({RUN, again, replace(RUN, seed=RUN.seed + 1)}) == 2


def test_the_hash_of_a_run_is_the_same_in_every_process_on_every_machine() -> None:
    assert RUN.hash == "05d6e0153a6f7b97"


@given(runs())
def test_a_run_is_the_same_once_written_and_read(run: Run) -> None:
    written = json.dumps(run.to_dict())
    again = Run.from_dict(json.loads(written))
    assert again == run
    assert again.hash == run.hash
    assert json.dumps(again.to_dict()) == written


@given(runs(), runs())
def test_runs_have_one_hash_if_they_are_equal_and_two_if_not(one: Run, other: Run) -> None:
    assert (one.hash == other.hash) == (one == other)


@given(runs())
def test_the_order_of_fields_is_no_part_of_a_run(run: Run) -> None:
    assert Run.from_dict(backwards(run.to_dict())).hash == run.hash


CHANGES: dict[str, tuple[type, dict[str, object]]] = {
    "optimiser": (Optimiser, {"learning_rate": 1e-3, "weight_decay": 0.2, "warmup": 0.1, "clip": 2.0}),
    "budget": (
        Budget,
        {
            "steps": 9,
            "batch": 9,
            "check_every": 3,
            "stop_at": 0.9,
            "validation": 17,
            "test": 33,
            "loss_on": "all",
            "eval_lengths": [32, 20],
        },
    ),
    "model": (
        LanguageModelConfig,
        {
            "vocab_size": 65,
            "mixer": "sliding_window",
            "fields": {"width": 16},
            "depth": 2,
            "short_conv": 1,
            "mlp": 2,
        },
    ),
    "task": (
        MQAR,
        {
            "values": 9,
            "keys": 9,
            "filler": "blank",
            "fillers": 5,
            "length": 17,
            "pairs": 3,
            "queries": 1,
            "power": 0.5,
            "layout": "scattered",
            "order": "race",
            "iid_values": True,
            "repeat_queries": True,
        },
    ),
}


def test_every_field_that_decides_a_result_is_in_the_hash() -> None:
    described = changed(RUN.to_dict(), "model.vocab_size", 64)  # room for every change of the task, which then is the only change
    found = [RUN.hash, replace(RUN, seed=1).hash, replace(RUN, data_seed=1).hash]
    for part, (kind, changes) in CHANGES.items():
        assert changes.keys() == {field.name for field in fields(kind)} - {"blank_first"}
        found += [Run.from_dict(changed(described, f"{part}.{name}", value)).hash for name, value in changes.items()]
    blank = changed(described, "task.filler", "blank")  # without which there is none to be the first
    found.append(Run.from_dict(changed(blank, "task.blank_first", True)).hash)
    assert len(set(found)) == len(found) == 3 + 4 + 8 + 6 + 12 + 1


def test_the_version_of_the_samples_is_in_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = tiny_run().hash
    monkeypatch.setattr(MQAR, "version", MQAR.version + 1)
    assert tiny_run().hash != before


def test_spelling_a_default_out_changes_nothing() -> None:
    spelt = changed(RUN.to_dict(), "model.fields", {"width": 8})
    short = changed(spelt, "task", {"name": "mqar", "length": 16, "pairs": 2, "keys": 8, "values": 8, "fillers": 4, "order": "shuffled"})
    short["model"] = without(without(short["model"], "vocab_size"), "mixer")
    short["optimiser"] = {"learning_rate": 1e-2}
    assert Run.from_dict(short).hash == RUN.hash


def test_a_whole_number_where_a_number_is_wanted_is_the_same_number() -> None:
    with as_users_call():
        whole, stop = Optimiser(learning_rate=1, weight_decay=0, warmup=1, clip=1), Budget(stop_at=1)
    assert whole == Optimiser(learning_rate=1.0, weight_decay=0.0, warmup=1.0, clip=1.0)
    table = changed(RUN.to_dict(), "optimiser", {"learning_rate": 1, "weight_decay": 0, "warmup": 1, "clip": 1})
    assert Run.from_dict(table).hash == replace(RUN, optimiser=whole).hash
    assert replace(RUN, budget=stop).hash == replace(RUN, budget=Budget(stop_at=1.0)).hash


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("sed", 1, "run: unknown key 'sed'; did you mean 'seed'?"),
        ("schema", SCHEMA + 1, f"schema must be {SCHEMA}, got {SCHEMA + 1}"),
        ("optimiser.learningrate", 1.0, "[optimiser]: unknown key 'learningrate'; did you mean 'learning_rate'?"),
        ("optimiser.clip", "1", "[optimiser]: clip must be a number, got '1'"),
        ("optimiser.clip", True, "[optimiser]: clip must be a number, got True"),
        ("optimiser", [], "[optimiser] must be a table, got []"),
        ("budget.step", 1, "[budget]: unknown key 'step'; did you mean 'steps'?"),
        ("budget.steps", 1.5, "[budget]: steps must be a whole number, got 1.5"),
        ("budget.steps", 0, "[budget]: steps must be at least 1, got 0"),
        ("model.dept", 1, "[model]: unknown key 'dept'; did you mean 'depth'?"),
        ("model.vocab_size", 3, "run: vocab_size must be at least 20, the task's, got 3"),
        ("model.mixer", "atention", "no mixer is called 'atention'; did you mean 'attention'?"),
        ("model.mixer", 3, "[model]: mixer must be a text, got 3"),
        ("model.fields", 3, "[model]: fields must be a table, got 3"),
        ("model.fields.widht", 3, "[mixers.attention]: unknown key 'widht'; did you mean 'width'?"),
        ("task.pair", 3, "[task]: unknown key 'pair'; did you mean 'pairs'?"),
        ("task.pairs", True, "[task]: pairs must be a whole number, got True"),
        ("task.name", "mqra", "no task is called 'mqra'; did you mean 'mqar'?"),
        ("task.name", 3, "[task]: name must be given (known: ar, "),
        ("task.version", 0, "[task]: mqar is at version 1 here, got 0"),
        ("task", 3, "[task] must be a table, got 3"),
        ("seed", "1", "run: seed must be a whole number, got '1'"),
        ("seed", True, "run: seed must be a whole number, got True"),
        ("data_seed", 0.5, "run: data_seed must be a whole number, got 0.5"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(path: str, value: object, said: str) -> None:
    with pytest.raises(InputError) as error:
        Run.from_dict(changed(RUN.to_dict(), path, value))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["task", "model", "optimiser", "budget", "seed", "data_seed"])
def test_a_run_with_a_part_missing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"run: {name} must be given"):
        Run.from_dict(without(RUN.to_dict(), name))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Optimiser, {"learning_rate": 0.0}),
        (Optimiser, {"learning_rate": math.nan}),
        (Optimiser, {"learning_rate": math.inf}),
        (Optimiser, {"weight_decay": -0.1}),
        (Optimiser, {"weight_decay": math.inf}),
        (Optimiser, {"warmup": 1.1}),
        (Optimiser, {"warmup": math.nan}),
        (Optimiser, {"clip": 0.0}),
        (Optimiser, {"clip": math.inf}),
        *((Budget, {name: 0}) for name in ("steps", "batch", "check_every", "validation", "test")),
        (Budget, {"stop_at": 0.0}),
        (Budget, {"stop_at": math.inf}),
        (Budget, {"stop_at": math.nan}),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(kind: type, fields: dict[str, float]) -> None:
    [(name, value)] = fields.items()
    with pytest.raises(ValueError, match=rf"^{name} must .*, got {value}$"):
        kind(**fields)


def test_the_model_must_know_every_token_of_the_task() -> None:
    for vocabulary in (TASK.vocab_size, TASK.vocab_size + 5):
        assert replace(RUN, model=replace(RUN.model, vocab_size=vocabulary)).model.vocab_size == vocabulary
    with pytest.raises(ValueError, match=f"vocab_size must be at least {TASK.vocab_size}, the task's, got 3"):
        replace(RUN, model=replace(RUN.model, vocab_size=3))


def test_a_single_run_has_the_fields_it_was_given_and_else_the_defaults() -> None:
    settings = {"task.pairs": 2, "mixer.window": 4, "model.depth": 1, "optimiser.learning_rate": 1, "budget.steps": 7}
    run = single_run("mqar", "sliding_window", settings, seed=5)
    task = MQAR(pairs=2)
    assert run == Run(
        task=task,
        model=LanguageModelConfig(vocab_size=task.vocab_size, mixer="sliding_window", fields={"window": 4}, depth=1),
        optimiser=Optimiser(learning_rate=1.0),
        budget=Budget(steps=7),
        seed=5,
    )
    assert run.data_seed == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pairs": 3}, "--set pairs: no such setting (known: task.FIELD, mixer.FIELD"),
        ({"task": 3}, "--set task: no such setting"),
        ({"taks.pairs": 3}, "--set taks.pairs: no such setting"),
        ({"task.name": "ar"}, "--set task.name: task and mixer are chosen by name"),
        ({"model.mixer": "sliding_window"}, "--set model.mixer: task and mixer are chosen by name"),
        ({"model.fields": 3}, "--set model.fields: task and mixer are chosen by name"),
        ({"task.pair": 3}, "[task]: unknown key 'pair'; did you mean 'pairs'?"),
        ({"mixer.widht": 3}, "[mixers.attention]: unknown key 'widht'; did you mean 'width'?"),
        ({"model.dept": 3}, "[model]: unknown key 'dept'; did you mean 'depth'?"),
        ({"model.vocab_size": 3}, "run: vocab_size must be at least 160, the task's, got 3"),
        ({"optimiser.rate": 3}, "[optimiser]: unknown key 'rate'"),
        ({"optimiser.learning_rate": math.inf}, "[optimiser]: learning_rate must be positive and finite, got inf"),
        ({"budget.steps": "many"}, "[budget]: steps must be a whole number, got 'many'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        single_run("mqar", "attention", settings, 0)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mixer", [":Attention", "recall_lab.models:", "recall_lab.models:Nothing", "nowhere:X", "math:pi", ".x:Y"])
def test_an_import_path_that_leads_to_no_mixer_is_refused(mixer: str) -> None:
    with pytest.raises(InputError, match=r"^mixer '.*' cannot be used: "):
        mixer_config_from(mixer, {})


def test_a_mixer_goes_by_its_import_path_too() -> None:
    assert mixer_config_from("recall_lab.models.attention:Attention", {"width": 8}) == mixer_config_from("attention", {"width": 8})


@pytest.mark.parametrize("gap", [3, [2, 5]])
def test_a_list_is_taken_for_the_pair_that_a_task_wants(gap: object) -> None:
    task: Task = single_run("ar", "attention", {"task.gap": gap}, 0).task
    assert isinstance(task, AR)
    assert task.gap == (gap if isinstance(gap, int) else (2, 5))


def test_a_mixer_from_outside_whose_file_has_changed_makes_another_run(tmp_path, monkeypatch):
    path = tmp_path / "changing.py"
    path.write_text("from recall_lab.models.attention import Attention\nclass Mine(Attention):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "changing", raising=False)
    run = single_run("mqar", "changing:Mine", {}, seed=0)
    described, name = run.to_dict(), run.hash
    assert Run.from_dict(described).hash == name
    path.write_text(path.read_text() + "# changed\n")
    assert replace(run).hash != name
    with pytest.raises(InputError, match=r"^mixer 'changing:Mine': its file is not the one of this run: it has changed$"):
        Run.from_dict(described)
    assert "code" not in RUN.to_dict()["model"]
