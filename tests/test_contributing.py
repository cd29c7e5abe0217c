"""CONTRIBUTING.md is followed word for word: its code is put where it says, into a copy of the tree, and has to work there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recall_lab.run import single_run
from recall_lab.train import train

ROOT = Path(__file__).parents[1]
COPIED = ("recall_lab", "tasks", "kernels", "models", "theory", "tests")
MIXER = "my_mixer.py"


def recipes() -> dict[str, str]:
    """Code by the file where it belongs: the first one named in the paragraph above it."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    blocks = re.findall(r"((?:[^\n]+\n)+)\n```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == page.count("```python")
    return {re.findall(r"`([\w/]+\.py)`", above)[0]: code for above, code in blocks}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in which every recipe but that of the mixer beside the user has been followed."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for folder in COPIED:
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for path, code in recipes().items():
        if path != MIXER:
            (copy / path).parent.mkdir(exist_ok=True)
            with (copy / path).open("a") as file:
                file.write(f"\n{code}" if file.tell() else code)
    return copy


def test_the_mixer_on_the_page_is_the_one_that_is_tested():
    assert recipes()[MIXER] == (ROOT / "tests" / "lab" / MIXER).read_text()


def test_the_mixer_beside_the_user_trains(tmp_path, monkeypatch):
    (tmp_path / MIXER).write_text(recipes()[MIXER])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_mixer", raising=False)
    settings = {"budget.steps": 3, "budget.validation": 64, "budget.test": 64}
    assert train(single_run("mqar", "my_mixer:MyMixer", settings, seed=0))["status"] == "finished"
    assert Path(sys.modules["my_mixer"].__file__).parent == tmp_path


def test_the_task_the_kernel_and_the_claim_of_the_page_are_found_and_pass_their_tests(followed):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "-k", "echo or running_sum or counting"]
    files = ["tests/tasks/test_every_task.py", "tests/kernels/test_running_sum.py", "tests/theory/test_claim.py"]
    environment = {**os.environ, "PYTHONPATH": str(followed)}
    found = subprocess.run([*command, *files], cwd=followed, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    for test in (
        "test_the_oracle_reads_every_target_off_the_tokens[echo] PASSED",
        "test_the_fast_form_agrees_with_the_definition_and_so_does_its_gradient[17] PASSED",
        "test_every_claim_holds_again_in_the_same_way[counting.distinct] PASSED",
    ):
        assert test in found.stdout


def test_the_code_on_the_page_is_in_the_style_of_the_house(followed):
    written = [path for path in recipes() if not (ROOT / path).exists() and path != MIXER]
    assert written
    for check in (["check"], ["format", "--check"]):
        found = subprocess.run([sys.executable, "-m", "ruff", *check, *written], cwd=followed, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout
