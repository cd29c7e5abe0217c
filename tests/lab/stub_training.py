"""The command line whose sweeps neither train nor draw: everything else, parent, workers, store and screen, is the real thing.

A run gives numbers that depend on it alone, after STUB_SECONDS, and is appended to the file STUB_BEGUN when it begins, a line of JSON.
"""

import json
import os
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

WORK = "lab.stub_training:work"
"""imported by workers, so this file imports little"""


def work(run: dict[str, Any]) -> dict[str, Any]:
    """The result of a run, as a table needs it."""
    line = json.dumps(run, sort_keys=True) + "\n"
    with Path(os.environ["STUB_BEGUN"]).open("a") as begun:
        begun.write(line)
    time.sleep(float(os.environ["STUB_SECONDS"]))
    share = zlib.crc32(line.encode()) / 2**32
    accuracies = dict.fromkeys(("accuracy", "accuracy_macro", "validation_accuracy"), share)
    certified = {"certified_bits": share, "certified_low": share / 2}
    size = {"state_size": 32, "state_bits": 1024, "parameters": 100}
    return {
        "status": "finished",
        "steps": 4,
        **accuracies,
        **certified,
        **size,
        "curve": [[4, 1.0, share]],
        "by_stratum": [],
        "steps_to_90": None,
    }


@contextmanager
def without_training() -> Iterator[None]:
    """Sweeps of this process are stubbed."""
    import pytest

    from recall_lab import sweep
    from recall_lab.engine import run_all

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "run_all", partial(run_all, work=WORK))
        patch.setitem(sys.modules, "recall_lab.plots", mock.Mock(FIGURE="capacity.png"))  # it takes longer to import than all the rest
        yield


def main() -> None:
    """The command line, stubbed."""
    from recall_lab.cli import main

    with without_training():
        main()
