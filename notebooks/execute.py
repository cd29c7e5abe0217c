"""Executes every notebook of this folder, percent scripts, into results/notebooks/*.ipynb; exits 1 if a cell fails."""

import sys
from pathlib import Path

import jupytext
import nbclient
import nbformat


def main() -> int:
    """Executes them one after the other and says how each went."""
    here, out = Path(__file__).parent, Path("results/notebooks")
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for source in sorted(here.glob("[0-9]*.py")):
        notebook = jupytext.read(source)
        try:
            nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
        except nbclient.exceptions.CellExecutionError as error:
            failed += 1
            print(f"{source.name} FAILED: {error}", file=sys.stderr)
        nbformat.write(notebook, out / f"{source.stem}.ipynb")
        print(out / f"{source.stem}.ipynb")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
