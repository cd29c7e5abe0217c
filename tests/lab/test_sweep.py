"""A sweep as people write it: which runs it stands for, what is wrong with it, and what folder it may use."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_lab import sweep as sweeping
from recall_lab.engine import Outcome
from recall_lab.errors import InputError
from recall_lab.models import LanguageModelConfig, state_size
from recall_lab.run import Budget, Optimiser, Run
from recall_lab.store import Store
from recall_lab.sweep import SPEC_FILE, SweepSpec, adopt, held, load, parse, shipped, with_settings
from recall_lab.tasks import AR, MQAR

SPEC = """
seeds = 2
[task]
name = "mqar"
length = 16
pairs = 2
keys = 8
values = 8
[model]
depth = 1
[mixers.attention]
width = 8
[budget]
steps = 2
batch = 4
validation = 8
test = 8
"""


def spec(**changes: Any) -> SweepSpec:
    return replace(parse(SPEC, "tiny.toml"), **changes)


def distinct(runs: Iterable[Run], what: Any) -> list[Any]:
    """What the runs have there, each once, in the order met."""
    return list(dict.fromkeys(what(run) for run in runs))


def test_a_sweep_without_lists_is_one_run_for_each_seed() -> None:
    task = MQAR(length=16, pairs=2, keys=8, values=8)
    model = LanguageModelConfig(vocab_size=task.vocab_size, fields={"width": 8}, depth=1)
    budget = Budget(steps=2, batch=4, validation=8, test=8)
    assert spec().runs() == [Run(task=task, model=model, budget=budget, seed=seed) for seed in (0, 1)]


def test_every_list_is_an_axis() -> None:
    grid = spec(
        task=({"name": ["mqar", "ar"], "pairs": [1, 2], "keys": 8, "values": 8},),
        model={"depth": [1, 2]},
        mixers={"attention": ({"width": [4, 8]},), "sliding_window": ({"width": 4, "window": [2, 3, 4], "short_conv": [1, 4]},)},
        optimiser={"learning_rate": [1e-3, 1e-2], "clip": [1, 2]},
        budget={"steps": [2, 3]},
        seeds=(0, 5),
        data_seed=9,
    )
    runs = grid.runs()
    assert len(runs) == len({run.hash for run in runs}) == (2 * 2) * 2 * (2 + 3 * 2) * (2 * 2) * 2 * 2
    assert {type(run.task) for run in runs} == {MQAR, AR}
    assert {run.seed for run in runs} == {0, 5}
    assert {run.data_seed for run in runs} == {9}
    shares = Counter((run.model.mixer, run.model.depth, run.optimiser.clip, run.budget.steps) for run in runs)
    assert set(shares.values()) == {4 * 2 * 2 * 2, 4 * 6 * 2 * 2}


def test_several_tables_under_one_name_tie_their_fields() -> None:
    text = SPEC.replace("[task]", "[[task]]") + '\n[[task]]\nname = "mqar"\nlength = 32\npairs = [4, 8]\nkeys = 8\nvalues = 8\n'
    text += "[[mixers.sliding_window]]\nwidth = 8\nwindow = 2\n[[mixers.sliding_window]]\nwidth = 16\nwindow = 4\n"
    runs = parse(text, "tied.toml").runs()
    assert distinct(runs, lambda run: (run.task.length, run.task.pairs)) == [(16, 2), (32, 4), (32, 8)]
    windows = [run for run in runs if run.model.mixer == "sliding_window"]
    assert distinct(windows, lambda run: (run.model.fields["width"], run.model.fields["window"])) == [(8, 2), (16, 4)]


def test_a_list_in_a_list_is_one_value() -> None:
    runs = spec(task=({"name": "ar", "gap": [[2, 4], 3]},)).runs()
    assert distinct(runs, lambda run: run.task.gap) == [(2, 4), 3]


def test_a_number_of_seeds_counts_from_nought_and_a_list_is_taken_as_it_is() -> None:
    assert parse(SPEC, "").seeds == (0, 1)
    assert parse(SPEC.replace("seeds = 2", "seeds = [7, 3]"), "").seeds == (7, 3)
    assert parse(SPEC.replace("seeds = 2", ""), "").seeds == (0, 1, 2)


def test_seeds_are_outermost_then_rates_then_tasks_then_mixers() -> None:
    runs = spec(
        task=({**spec().task[0], "pairs": [1, 2]},),
        mixers={"sliding_window": ({"width": 8},), "attention": ({"width": 8},)},
        optimiser={"learning_rate": [1e-2, 1e-3]},
    ).runs()
    order = [(run.seed, -run.optimiser.learning_rate, run.task.pairs, run.model.mixer != "sliding_window") for run in runs]
    assert order == sorted(order)
    assert len(order) == 16


def test_no_run_comes_twice() -> None:
    doubled = spec(seeds=(0, 1, 0), mixers={"attention": ({"width": [8, 8]}, {"width": 8, "heads": 1})})
    assert doubled.runs() == spec().runs()


def test_a_state_asked_for_is_had_at_the_cut_of_every_task() -> None:
    text = SPEC.replace("pairs = 2", "pairs = [2, 4]").replace("width = 8", "state = [256, 512]")
    runs = parse(text + "[mixers.sliding_window]\nwidth = 8\nstate = 100\n", "").runs()
    sizes = {(run.model.mixer, run.task.pairs): [] for run in runs}
    for run in runs:
        sizes[run.model.mixer, run.task.pairs].append(state_size(run.model, run.task.cut))
    for pairs in (2, 4):
        found = sorted(set(sizes["attention", pairs]))
        assert [size == pytest.approx(wanted, rel=0.25) for size, wanted in zip(found, (256, 512), strict=True)] == [True, True]
        assert set(sizes["sliding_window", pairs]) == {24 + 16 * (min(6, 2 * pairs + 1) - 1)}


def test_fields_of_the_model_may_stand_with_the_mixer_and_then_hold_for_it_alone() -> None:
    runs = spec(model={"depth": 1, "mlp": 2}, mixers={"attention": ({"depth": 3},), "sliding_window": ({},)}).runs()
    assert distinct(runs, lambda run: (run.model.mixer, run.model.depth, run.model.mlp)) == [("attention", 3, 2), ("sliding_window", 1, 2)]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds", "seed", "tiny.toml: unknown key 'seed'; did you mean 'seeds'?"),
        ("seeds = 2", "seeds = 0", "tiny.toml: seeds must not be empty"),
        ("seeds = 2", "seeds = []", "tiny.toml: seeds must not be empty"),
        ("seeds = 2", "seeds = true", "tiny.toml: seeds must be a list, each entry a whole number, got True"),
        ("seeds = 2", "seeds = [0, 1, true]", "tiny.toml: seeds must be a list, each entry a whole number, got (0, 1, True)"),
        ("seeds = 2", 'seeds = [0, 1, 2, "3"]', "tiny.toml: seeds must be a list, each entry a whole number, got (0, 1, 2, '3')"),
        ("seeds = 2", "seeds = 2\ndata_seed = true", "tiny.toml: data_seed must be a whole number, got True"),
        ("seeds = 2", "about = 3", "tiny.toml: about must be a text, got 3"),
        ("seeds = 2", "seeds = 2\noptimiser = 3", "tiny.toml: optimiser must be a table, got 3"),
        ("[task]", "[tsk]", "tiny.toml: unknown key 'tsk'; did you mean 'task'?"),
        ('name = "mqar"', "", "[task]: name must be given (known: "),
        ('"mqar"', '"mqra"', "no task is called 'mqra'; did you mean 'mqar'?"),
        ("pairs", "pair", "[task]: unknown key 'pair'; did you mean 'pairs'?"),
        ("pairs = 2", "pairs = []", "[task]: pairs must not be an empty list"),
        ("pairs = 2", 'pairs = [2, "3"]', "[task]: pairs must be a whole number, got '3'"),
        ("pairs = 2", "pairs = [2, 5]", "[task]: length must be at least 20"),
        ("depth", "dept", "[model]: unknown key 'dept'; did you mean 'depth'?"),
        ("depth = 1", "state = 8", "[model]: unknown key 'state' (known: depth, mlp, short_conv)"),
        ("depth = 1", "depth = 0", "[model]: depth must be at least 1, got 0"),
        ("depth = 1", "depth = []", "depth must not be an empty list"),
        ("mixers.attention", "mixers.atention", "no mixer is called 'atention'; did you mean 'attention'?"),
        ("mixers.attention", 'mixers."nowhere:X"', "mixer 'nowhere:X' cannot be used: No module named 'nowhere'"),
        ("[mixers.attention]\nwidth = 8", "[mixers]\nattention = []", "tiny.toml: mixers.attention must not be empty"),
        ("[mixers.attention]\nwidth = 8", "[mixers]\nattention = 8", "tiny.toml: [mixers.attention] must be a table, got 8"),
        ("[mixers.attention]\nwidth = 8", "", "tiny.toml: [mixers] must be given"),
        ("width", "widht", "[mixers.attention]: unknown key 'widht'; did you mean 'width'?"),
        ("width = 8", "dept = 2", "[mixers.attention]: unknown key 'dept'; did you mean 'depth'?"),
        ("width = 8", "stat = 2", "[mixers.attention]: unknown key 'stat'; did you mean 'state'?"),
        ("width = 8", 'width = "8"', "[mixers.attention]: width must be a whole number, got '8'"),
        ("width = 8", "width = 8\nheads = 3", "[mixers.attention]: "),
        ("width = 8", "state = true", "[mixers.attention]: state must be a whole number of scalars, got True"),
        ("width = 8", 'state = "big"', "[mixers.attention]: state must be a whole number of scalars, got 'big'"),
        (
            "width = 8",
            "state = 1",
            "[mixers.attention]: attention cannot have a state of 1 scalars after 4 tokens; nearest is 11 (width=1)",
        ),
        ("width = 8", "width = 8\nstate = 256", "[mixers.attention]: state sets width, so only one of the two may be given"),
        ("steps = 2", "step = 2", "[budget]: unknown key 'step'; did you mean 'steps'?"),
        ("steps = 2", "steps = [2, 0]", "[budget]: steps must be at least 1, got 0"),
        ("steps = 2", "steps = 2.5", "[budget]: steps must be a whole number, got 2.5"),
        (
            "[budget]",
            "[optimiser]\nlearning_rate = [1e-2, nan]\n[budget]",
            "[optimiser]: learning_rate must be positive and finite, got nan",
        ),
        ("[budget]", "[optimiser]\nlearning_rate = []\n[budget]", "[optimiser]: learning_rate must not be an empty list"),
        ("[task]", "[task", "tiny.toml: not TOML: "),
        ("pairs = 2", "pairs = 2\npairs = 3", "tiny.toml: not TOML: "),
    ],
)
def test_a_mistake_gets_one_line_that_says_where_and_what(old: str, new: str, said: str) -> None:
    assert old in SPEC
    with pytest.raises(InputError) as error:
        parse(SPEC.replace(old, new, 1), "tiny.toml").runs()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


WORDS = st.characters(codec="utf-8")
SCALARS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(WORDS, max_size=5), st.booleans())
ENTRIES = SCALARS | st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
TABLES = st.dictionaries(st.text(WORDS, max_size=5), ENTRIES, max_size=3)
GRIDS = st.lists(TABLES, min_size=1, max_size=2).map(tuple)
SPECS = st.fixed_dictionaries(
    {
        "about": st.text(WORDS, max_size=20),
        "task": GRIDS,
        "model": TABLES,
        "mixers": st.dictionaries(st.text(WORDS, max_size=5), GRIDS, min_size=1, max_size=2),
        "optimiser": TABLES,
        "budget": TABLES,
        "seeds": st.lists(st.integers(0, 99), min_size=1, max_size=3).map(tuple),
        "data_seed": st.integers(0, 99),
    }
)


@given(SPECS)
def test_a_spec_is_the_same_once_written_and_read(fields: dict[str, Any]) -> None:
    written = SweepSpec(**fields)
    assert parse(written.to_toml(), "again.toml") == written


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_sweep_says_what_it_is_and_stands_for_runs(name: str) -> None:
    there = load(name)
    assert there.about
    assert "\n" not in there.about
    assert parse(there.to_toml(), "again.toml") == there
    few = replace(there, seeds=there.seeds[:1], optimiser={**there.optimiser, "learning_rate": 1e-3})
    runs = few.runs()
    assert len(runs) >= 2
    assert len(there.seeds) >= 3


def test_settings_are_put_over_the_file() -> None:
    base = spec(mixers={"attention": ({"width": 8}, {"width": 16}), "x.y:Z": ({},)})
    changed = with_settings(
        base,
        [
            "task.pairs=[1, 2]",
            "model.depth=2",
            "mixers.attention.width=4",
            "mixers.x.y:Z.size=3",
            "optimiser.learning_rate=1e-3",
            "budget.steps=5",
            "seeds=4",
            "data_seed=6",
        ],
    )
    assert changed.task[0]["pairs"] == [1, 2]
    assert changed.model == {"depth": 2}
    assert changed.mixers == {"attention": ({"width": 4}, {"width": 4}), "x.y:Z": ({"size": 3},)}
    assert changed.optimiser == {"learning_rate": 1e-3}
    assert changed.budget == {**base.budget, "steps": 5}
    assert (changed.seeds, changed.data_seed) == ((0, 1, 2, 3), 6)
    assert base == spec(mixers=base.mixers)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("pairs=3", "--set pairs=3: no such setting (known: task.FIELD"),
        ("task=3", "--set task=3: no such setting"),
        ("seeds.x=3", "--set seeds.x=3: no such setting"),
        ("mixers.attention=3", "--set mixers.attention=3: no such setting"),
        ("mixers.atention.width=3", "no mixer of this sweep is called 'atention'; did you mean 'attention'?"),
        ("seeds=none", "--set seeds=none: seeds must be a list"),
        ("seeds=0", "--set seeds=0: seeds must not be empty"),
        ("data_seed=1.5", "--set data_seed=1.5: data_seed must be a whole number, got 1.5"),
        ("task.pairs", "--set task.pairs: must read table.field=value"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_one_line(setting: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        with_settings(spec(), [setting])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_further_mixers_stand_beside_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(SPEC)
    there = load(str(path), ["mixers.sliding_window.window=2"], ["sliding_window", "attention"])
    assert there.mixers == {"attention": ({"width": 8}, {}), "sliding_window": ({"window": 2},)}


@pytest.mark.parametrize(
    ("name", "said"), [("dmeo", "no sweep is called 'dmeo'; did you mean 'demo'?"), ("absent.toml", "cannot read absent.toml")]
)
def test_a_sweep_that_is_not_there_is_named(name: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        load(name)


def test_a_file_that_is_no_text_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / SPEC_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot read .*utf-8"):
        load(str(tmp_path / SPEC_FILE))
    with pytest.raises(InputError, match=rf"is not a results folder: cannot read {SPEC_FILE} in it .*utf-8"):
        held(tmp_path)


def test_a_folder_holds_the_sweep_that_adopted_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert adopt(out, spec()) == Store(out)
    assert held(out) == spec()


def test_a_folder_accepts_the_same_sweep_however_it_is_written(tmp_path: Path) -> None:
    adopt(tmp_path, spec())
    again = spec(about="said otherwise", budget={**spec().budget, "stop_at": 0.995})
    adopt(tmp_path, again)
    assert held(tmp_path) == again


@pytest.mark.parametrize(
    "grown",
    [
        {"seeds": (0, 1, 2)},
        {"optimiser": {"learning_rate": [Optimiser().learning_rate, 1e-2]}},
        {"mixers": {"sliding_window": ({},), "attention": ({"width": [4, 8]},)}},
    ],
)
def test_a_folder_accepts_its_sweep_grown(grown: dict[str, Any], tmp_path: Path) -> None:
    adopt(tmp_path, spec())
    adopt(tmp_path, spec(**grown))
    assert held(tmp_path) == spec(**grown)


@pytest.mark.parametrize(
    "other",
    [{"seeds": (0,)}, {"seeds": (1, 2)}, {"data_seed": 1}, {"optimiser": {"learning_rate": 1e-2}}, {"mixers": {"attention": ({},)}}],
)
def test_a_folder_refuses_a_sweep_without_all_of_its_runs(other: dict[str, Any], tmp_path: Path) -> None:
    adopt(tmp_path, spec())
    with pytest.raises(InputError, match=r"holds another sweep: [12] of its 2 runs are not in this one; choose another --out"):
        adopt(tmp_path, spec(**other))
    assert held(tmp_path) == spec()


def test_what_is_no_results_folder_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        held(tmp_path / "absent")
    with pytest.raises(InputError, match=f"cannot read {SPEC_FILE} in it"):
        held(tmp_path)


def test_a_sweep_is_limited_to_so_many_of_the_runs_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[Run]] = []

    def engine(runs: list[Run], store: Store, **how: object) -> Outcome:
        taken.append(runs)
        return Outcome(finished=0, failed=0, skipped=0, interrupted=False)

    monkeypatch.setattr(sweeping, "run_all", engine)
    four = spec(seeds=(0, 1, 2, 3))
    runs = four.runs()
    adopt(tmp_path, four).write(runs[1], {}, {})
    sweeping.sweep(four, tmp_path)
    sweeping.sweep(four, tmp_path, limit=2)
    sweeping.sweep(four, tmp_path, limit=9)
    assert taken == [runs, [runs[0], runs[2]], [runs[0], *runs[2:]]]


@pytest.mark.parametrize("text", ["seeds = [-1]", "seeds = [99999999999999999999]", "data_seed = -1"])
def test_a_seed_that_no_generator_takes_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"seeds and data_seed must lie in 0\.\.2\^63-1"):
        parse(text + "\n[task]\nname = 'mqar'\n[mixers.attention]\n", "mine")
