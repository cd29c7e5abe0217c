"""The Triton kernels on GPUs that are not here: they compile, fit, and multiply on tensor cores. GPU speed is not measured."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")
pytestmark = pytest.mark.compile

QUICK = ["80:float32:64", "90:bfloat16:64"]
WHOLE = [":".join(map(str, target)) for target in product((80, 90), ("float32", "float16", "bfloat16"), (16, 64, 128))]
SHARED_LIMIT = 99 * 1024
"""bytes of shared memory that a block may have on every GPU from sm_80 on"""

Row = dict[str, Any]


@pytest.fixture(scope="module", params=[pytest.param(QUICK, id="quick"), pytest.param(WHOLE, id="whole", marks=pytest.mark.slow)])
def kernels(request: pytest.FixtureRequest) -> list[Row]:
    """Compiled in a process of its own, because the interpreter, once chosen, is chosen for good."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    program = Path(__file__).with_name("cross_compile.py")
    run = subprocess.run([sys.executable, program, *request.param], env=environment, stdout=subprocess.PIPE, check=True, timeout=900)
    rows: list[Row] = json.loads(run.stdout)
    assert len(rows) == 7 * len(request.param)
    return rows


def named(kernels: list[Row]) -> list[str]:
    return [row["kernel"] for row in kernels]


def test_no_kernel_spills_registers(kernels: list[Row]) -> None:
    assert named([row for row in kernels if row["stack"] > 0]) == []


def test_every_kernel_fits_the_shared_memory_of_a_small_gpu(kernels: list[Row]) -> None:
    assert named([row for row in kernels if row["shared"] > SHARED_LIMIT]) == []


def test_every_product_runs_on_tensor_cores(kernels: list[Row]) -> None:
    assert named([row for row in kernels if row["tensor_core_instructions"] < len(row["products"])]) == []


def test_no_product_of_float32_is_rounded_to_tf32(kernels: list[Row]) -> None:
    def plain(product: str) -> bool:
        return "xf32> *" in product and "tf32x3" not in product

    assert named([row for row in kernels if any(map(plain, row["products"]))]) == []
