"""The Triton kernels on GPUs that are not here: they compile, fit, and multiply on tensor cores. GPU speed is not measured."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")
pytestmark = pytest.mark.compile

QUICK = ["80:float32:64", "90:bfloat16:64"]
WHOLE = [":".join(map(str, target)) for target in product((80, 90), ("float32", "float16", "bfloat16"), (16, 64, 128, 256))]
SHARED_LIMIT = 99 * 1024
"""bytes of shared memory that a block may have on every GPU from sm_80 on"""

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What `cross_compile.py` prints."""

    launched: list[str]
    rows: list[Row]

    def where(self, wrong: Callable[[Row], bool]) -> list[str]:
        return [f"{row['kernel']} {row['target']}" for row in self.rows if wrong(row)]


@pytest.fixture(scope="module", params=[pytest.param(QUICK, id="quick"), pytest.param(WHOLE, id="whole", marks=pytest.mark.slow)])
def kernels(request: pytest.FixtureRequest) -> Compiled:
    """Compiled in a process of its own, because the interpreter, once chosen, is chosen for good."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    program = Path(__file__).with_name("cross_compile.py")
    run = subprocess.run([sys.executable, program, *request.param], env=environment, stdout=subprocess.PIPE, check=True, timeout=900)
    return Compiled(**json.loads(run.stdout))


def test_every_kernel_is_compiled(kernels: Compiled) -> None:
    assert sorted({row["kernel"] for row in kernels.rows}) == kernels.launched


def test_no_kernel_spills_registers(kernels: Compiled) -> None:
    assert kernels.where(lambda row: row["stack"] > 0) == []


def test_every_kernel_fits_the_shared_memory_of_a_small_gpu(kernels: Compiled) -> None:
    assert kernels.where(lambda row: row["shared"] > SHARED_LIMIT) == []


def test_every_product_runs_on_tensor_cores(kernels: Compiled) -> None:
    assert kernels.where(lambda row: row["tensor_core_instructions"] < len(row["products"])) == []


def test_no_product_of_float32_is_rounded_to_tf32(kernels: Compiled) -> None:
    def plain(product: str) -> bool:
        return "xf32> *" in product and "tf32x3" not in product

    assert kernels.where(lambda row: any(map(plain, row["products"]))) == []
