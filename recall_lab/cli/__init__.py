"""The command line: a verb a file, each a typed function that calls the library and prints. Nothing heavy is imported until a verb runs."""

import os
import sys
from pathlib import Path

from cyclopts import App, CycloptsError

from .. import __version__
from ..errors import InputError
from .doctor import doctor
from .export import export
from .ls import ls
from .plot import plot
from .show import show
from .status import status
from .sweep import sweep
from .table import table
from .train import train
from .verify import verify

HELP = """How much can a sequence model recall with the memory it carries?

    recall-lab sweep demo                  a small grid, to a table and a figure
    recall-lab verify                      the theorems, checked numerically
    recall-lab ls                          what there is
    recall-lab show mqar                   a task drawn, with its oracle's answers

Results go to stdout, progress to stderr. Exit codes: 0 done, 1 a check or a run failed, 2 bad input, 130 interrupted.
"""

app = App(name="recall-lab", help=HELP, version=__version__, help_format="plaintext")
for _verb in (ls, show, train, sweep, status, table, plot, export, verify, doctor):
    app.command(_verb)


def main() -> None:
    """Runs the command line: the only place where errors become exit codes."""
    sys.path.append(str(Path.cwd()))  # so that `my_mixer:MyMixer` is found beside the user, after everything that is installed
    try:
        code = app(exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except (CycloptsError, InputError) as error:
        code = complain(error)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has gone; nothing is left to say, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def complain(error: Exception) -> int:
    """One line on stderr; the exit code of bad input."""
    print(f"recall-lab: {' '.join(str(error).split())}", file=sys.stderr)
    return 2
