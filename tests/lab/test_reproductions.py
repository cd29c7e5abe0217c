"""Published tables beside ours: what is printed is what was published and what is computed here."""

import json
from pathlib import Path

import pytest
from lab.terminal import call

from recall_lab.errors import InputError
from recall_lab.models import LanguageModel
from recall_lab.reproductions import REPRODUCTIONS, hax_table3
from recall_lab.reproductions.hax_table3 import PUBLISHED, TASK, accuracy
from recall_lab.sweep import adopt, load


def test_the_table_has_every_figure_its_controls_and_weights_set_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recall_lab.reproductions.hax_table3.accuracy", lambda model: 0.5)
    found = REPRODUCTIONS["hax_table3"](None)
    assert found.tables[0].rows[1][1:9] == ("36.6", "19.6", "70.6", "48.6", "49.3", "13.5", "60.1", "74.3")
    cells = {row[0]: row[1:] for row in found.tables[1].rows}
    assert cells["contexts unread"] == ("39.26", "23.66")
    assert cells["context tokens unread: blocks told by what was revealed"] == ("92.02", "23.66")
    assert found.data["constructions"]["Mamba-2 without attention (B)"] == [0.5]
    assert {tuple(reached) for name, reached in found.data["constructions"].items() if "LSH" in name} == {(0.5,) * 3}
    assert cells["weights set by hand: Mamba-2 without attention (B)"] == ("50.00", "")
    assert len(found.tables) == 2


def test_what_is_said_follows_from_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recall_lab.reproductions.hax_table3.accuracy", lambda model: 0.5)
    named = {f"{base} {name}".replace("Mamba Samba", "Samba"): reached for base, row in PUBLISHED.items() for name, reached in row.items()}
    below = ", ".join(name for name, reached in named.items() if reached < 39.26)
    first, second, third, _ = REPRODUCTIONS["hax_table3"](None).says
    assert first.startswith(f"13 of 19 published rows lie below what a reader who ignores contexts reaches (39.3): {below}; ")
    assert second.startswith("The best row, Mamba-2 +HAX (74.3), is below what a reader who never looks at a context token reaches (92.0).")
    assert "is 3.7 points from" in third
    monkeypatch.setitem(PUBLISHED["Mamba-2"], "+HAX", 95.0)
    assert "(95.0), is above" in REPRODUCTIONS["hax_table3"](None).says[1]


def test_weights_set_by_hand_are_judged_on_tables_of_sizes_from_all_over(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    monkeypatch.setattr("recall_lab.reproductions.hax_table3.predict", lambda model, batch: judged.append(batch) or batch.targets)
    assert accuracy(LanguageModel.__new__(LanguageModel)) == 1.0
    sizes = {
        ((row >= TASK.first_context).sum() // 2, (targets >= 0).sum())
        for row, targets in zip(judged[0].tokens, judged[0].targets, strict=True)
    }
    assert sizes == {(contexts, contexts * keys) for contexts, keys in TASK.cells[:48]}
    assert {contexts for contexts, _ in sizes} == set(range(5, 17))


def test_a_folder_without_joint_recall_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        hax_table3.reproduce(tmp_path / "nowhere")
    adopt(tmp_path, load("demo"))
    with pytest.raises(InputError, match="has no finished run of joint_recall"):
        hax_table3.reproduce(tmp_path)


def test_a_misspelt_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    ended = call("reproduce", "hax-tabel3", cwd=tmp_path)
    assert ended.code == 2
    assert "no reproduction is called 'hax_tabel3'; did you mean 'hax_table3'?" in ended.err


@pytest.mark.slow
def test_the_verb_prints_what_programs_and_people_read(tmp_path: Path) -> None:
    ended = call("reproduce", "hax-table3", "--json", cwd=tmp_path)
    assert ended.code == 0
    found = json.loads(ended.out)
    assert min(min(reached) for reached in found["constructions"].values()) > 0.98
    assert found["published_per_cent"] == PUBLISHED


def test_the_grid_of_the_paper_has_its_models_at_its_sizes() -> None:
    runs = load("hax_paper").runs()
    assert {run.budget.steps for run in runs} == {400_000}
    assert {run.task for run in runs} == {TASK}
    patterns = {(run.model.mixer, run.model.fields.get("pattern", "none"), run.model.fields["width"]) for run in runs}
    assert len(patterns) == 2 * (2 + 7)
    assert len(runs) == 3 * len(patterns)
    for run in runs:  # the whole share of the budget, and no more, is read of the positions of the longest sample
        if "d" in run.model.fields.get("pattern", "").split("+"):
            share = 64 // len(run.model.fields["pattern"].split("+"))
            assert share - 2 <= TASK.length // run.model.fields["dilation"] <= share
