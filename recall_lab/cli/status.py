"""`recall-lab status`: what is done, what failed and why, what is left."""

from pathlib import Path

from .options import Json
from .printing import print_json, print_table


def status(folder: Path, /, *, json: Json = False) -> int:
    """Say what is done, running, left, and what failed and why.

    Exit 1 if a run failed.

    Args:
        folder: results of a sweep

    """
    from ..store import Store
    from ..sweep import held

    runs, store = {run.hash: run for run in held(folder).runs()}, Store(folder)
    done = store.rows(runs)
    failed = {hash: failure for hash, failure in store.failures().items() if hash in runs}
    running = [hash for hash in runs if hash not in done and store.is_claimed(hash)]
    diverged = [hash for hash, row in done.items() if row.result["status"] == "diverged"]
    left = len(runs) - len(done) - len(running)
    if json:
        reasons = {hash: failure.reason for hash, failure in failed.items()}
        print_json({"runs": len(runs), "done": len(done), "diverged": diverged, "running": running, "failed": reasons, "left": left})
        return 1 if failed else 0
    print(f"{len(done)} of {len(runs)} runs done ({len(diverged)} diverged), {len(running)} running, {len(failed)} failed, {left} left")
    if failed:
        print_table(("run", "reason", "last lines"), [(hash, failure.reason, failure.detail) for hash, failure in failed.items()])
    return 1 if failed else 0
