"""The package as users get it: the wheel holds the five folders under one name, and works away from the checkout."""

import functools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARIES = ("tasks", "kernels", "models", "theory")


@functools.cache
def tree() -> list[Path]:
    """What a checkout holds, relative to its root; links are entries of their own."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for path in map(Path, listed.rstrip("\0").split("\0")) if (ROOT / path).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for path in tree():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, copy / path, follow_symlinks=False)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_package_and_its_four_libraries_and_nothing_else(wheel):
    expected = {Path("recall_lab/py.typed")}
    for path in tree():
        if path.parts[0] in LIBRARIES and path.suffix == ".py":
            expected.add("recall_lab" / path)
        elif path.parts[0] == "recall_lab" and path.suffix in (".py", ".toml"):
            expected.add(path)
    held = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    described = {path for path in held if path.parts[0].endswith(".dist-info")}
    assert held - described == expected
    assert "LICENSE" in {path.name for path in described}


def test_the_unpacked_wheel_works_without_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import sys, recall_lab; print(recall_lab.__file__, file=sys.stderr); from recall_lab.cli import main; main()"
    command = [sys.executable, "-P", "-c", code, "ls", "--json"]
    found = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert Path(found.stderr.splitlines()[0]).is_relative_to(tmp_path)
    listed = json.loads(found.stdout)
    assert set(listed["sweeps"]) == {path.stem for path in tree() if path.parts[:2] == ("recall_lab", "sweeps")}
    assert all(listed[kind] for kind in ("tasks", "mixers", "kernels", "claims"))
