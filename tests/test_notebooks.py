"""Every notebook runs from its first cell to its last, and `notebooks/execute.py` says which cell failed where one does not."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("[0-9]*.py"))
MOST_CELLS = 25


def execute(folder: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, folder / "execute.py"], cwd=cwd, env=environment, capture_output=True, text=True)


def test_every_notebook_executes(tmp_path):
    found = execute(NOTEBOOKS, tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
    for source in SOURCES:
        notebook = nbformat.read(tmp_path / "results" / "notebooks" / f"{source.stem}.ipynb", 4)
        assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
        assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_notebook_is_short_and_begins_with_what_it_claims(source):
    cells = jupytext.read(source).cells
    assert len(cells) <= MOST_CELLS
    assert all(word in cells[0].source for word in ("**Claim.**", "**Source.**", "**You will see**"))
    assert "**What it does not say.**" in cells[-1].source


def test_a_failing_cell_is_named_and_the_others_are_still_executed(tmp_path):
    shutil.copy(NOTEBOOKS / "execute.py", tmp_path)
    (tmp_path / "1_bad.py").write_text("# %% [markdown]\n# Prose\n# %%\nvalue = 0\n# %%\nshare = 1 / value\n")
    (tmp_path / "2_good.py").write_text("# %%\nprint('well')\n")
    found = execute(tmp_path, tmp_path)
    assert found.returncode == 1
    bad, good = found.stdout.splitlines()
    assert "1_bad.ipynb: FAILED at cell 3 of 3 (share = 1 / value): ZeroDivisionError: division by zero" in bad
    assert "2_good.ipynb: done" in good


def test_a_missing_ipykernel_gets_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    assert runpy.run_path(str(NOTEBOOKS / "execute.py"))["main"]() == 2
    assert capsys.readouterr().err == "notebooks: ipykernel not installed here; `./lab setup` installs what notebooks need\n"
    assert not list(tmp_path.iterdir())
