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
TABLES = {"models/registry.py": "MIXERS", "tests/models/test_every_mixer.py": "CONFIGS"}
"""dictionaries that get a line, by the file they are in; in any other file a recipe's code comes last"""


def recipes() -> dict[str, str]:
    """Code by the file where it belongs: the first one named in the paragraph above it."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    blocks = re.findall(r"((?:[^\n]+\n)+)\n```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == page.count("```python")
    return {re.findall(r"`([\w/]+\.py)`", above)[0]: code for above, code in blocks}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in which every recipe has been followed; the mixer's own file lies in `models/`, as the page says of those kept."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for folder in COPIED:
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for path, code in recipes().items():
        if path in TABLES:
            before, opening, after = re.split(rf"^({TABLES[path]}\b.*{{\n)", (copy / path).read_text(), flags=re.MULTILINE)
            (copy / path).write_text(before + opening + code + after)
            continue
        place = copy / "models" / path if path == MIXER else copy / path
        place.parent.mkdir(exist_ok=True)
        with place.open("a") as file:
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


def test_what_the_page_adds_is_found_and_passes_its_tests(followed):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-v",
        "-k",
        "my_mixer or registered or echo or running_sum or counting",
    ]
    files = ["tests/models/test_every_mixer.py", "tests/tasks/test_every_task.py", "tests/kernels/test_running_sum.py"]
    files += ["tests/theory/test_claim.py"]
    environment = {**os.environ, "PYTHONPATH": str(followed)}
    found = subprocess.run([*command, *files], cwd=followed, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    for test in (
        "test_every_registered_mixer_is_tested PASSED",
        "test_steps_from_the_initial_state_give_the_parallel_form[my_mixer] PASSED",
        "test_the_mixing_matrix_applied_to_the_values_is_the_output[my_mixer] PASSED",
        "test_outputs_have_the_dtype_of_the_weights[torch.float64-my_mixer] PASSED",
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
