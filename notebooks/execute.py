"""Executes every notebook of this folder, percent scripts, into results/notebooks/*.ipynb; exits 1 if a cell fails, and names it."""

import importlib.util
import sys
import time
from pathlib import Path

NEEDED = ("jupytext", "nbclient", "ipykernel")
OUT = Path("results/notebooks")
SECONDS_A_CELL = 600


def main() -> int:
    """Executes them one after the other and says how each went; 2 where something that this needs is not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"notebooks: {', '.join(missing)} not installed here; `./lab setup` installs what notebooks need", file=sys.stderr)
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    sources = sorted(Path(__file__).parent.glob("[0-9]*.py"))
    failed = 0
    for number, source in enumerate(sources, start=1):
        print(f"[{number}/{len(sources)}] {source.name}", file=sys.stderr, flush=True)
        target = OUT / f"{source.stem}.ipynb"
        began = time.monotonic()
        failure = execute(source, target)
        failed += failure is not None
        print(f"{target}: {failure or 'done'}, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failed else 0


def execute(source: Path, target: Path) -> str | None:
    """Executes a percent script and writes it with its outputs, as far as it came; which cell failed and how, or None."""
    import jupytext
    import nbclient
    import nbformat

    notebook = jupytext.read(source)
    started = [0]
    client = nbclient.NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name="python3",
        on_cell_start=lambda **cell: started.append(cell["cell_index"]),
        extra_arguments=["--log-level=ERROR"],  # the kernel warns at every start that its sockets are not encrypted
    )
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        return failure_of(notebook.cells, started[-1], f"{error.ename}: {error.evalue}")
    except (nbclient.exceptions.CellTimeoutError, nbclient.exceptions.DeadKernelError) as error:
        return failure_of(notebook.cells, started[-1], str(error).partition("\n")[0])
    finally:
        nbformat.write(notebook, target)
    return None


def failure_of(cells: list, number: int, reason: str) -> str:
    """One line that names a cell by its number, from 1, and its first line."""
    first_line = cells[number].source.partition("\n")[0]
    return f"FAILED at cell {number + 1} of {len(cells)} ({first_line}): {reason}"


if __name__ == "__main__":
    sys.exit(main())
