"""The command line: a verb a file, each a typed function that calls the library and prints. Nothing heavy is imported until a verb runs."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from cyclopts import App, CycloptsError, Group, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from .. import __version__
from ..errors import InputError, unknown
from .doctor import doctor
from .export import export
from .ls import ls
from .plot import plot
from .printing import say
from .reproduce import reproduce
from .show import show
from .status import status
from .sweep import sweep
from .table import table
from .train import train
from .verify import verify

HELP = "How much can a sequence model recall with the memory it carries?"

EPILOGUE = """Begin with
  recall-lab sweep demo    a small grid, to a table and a figure
  recall-lab verify        the theorems, checked numerically
  recall-lab ls            what there is, a line each
  recall-lab show mqar     a task drawn, with its oracle's answers

More on a verb, with examples: recall-lab VERB --help
Results go to stdout, progress to stderr.
Exit codes: 0 done, 1 a check or a run failed, 2 bad input, 130 interrupted."""

VERBS: dict[str, dict[Callable[..., int], str]] = {
    "Measure": {
        sweep: """
  recall-lab sweep demo
  recall-lab sweep demo --dry-run
  recall-lab sweep demo --mixer my_module:MyMixer --out results/mine
  recall-lab sweep my_grid.toml --set task.pairs=[4,8,16]""",
        train: """
  recall-lab train --mixer sliding_window --set mixer.window=8
  recall-lab train --mixer my_module:MyMixer --set task.pairs=8 --json""",
    },
    "Read what was measured": {
        status: """
  recall-lab status results/demo""",
        table: """
  recall-lab table results/demo
  recall-lab table results/demo --format csv > demo.csv""",
        plot: """
  recall-lab plot results/demo --out figures""",
        export: """
  recall-lab export results/demo --format csv""",
        reproduce: """
  recall-lab reproduce hax_table3
  recall-lab reproduce hax_table3 --runs results/hax_reduced""",
    },
    "Check theorems": {
        verify: """
  recall-lab verify
  recall-lab verify recall.wall recall.window --scale full""",
    },
    "Look around": {
        ls: """
  recall-lab ls mixers""",
        show: """
  recall-lab show mqar --set length=32 --set pairs=2
  recall-lab show sliding_window --set window=8
  recall-lab show my_module:MyMixer
  recall-lab show recall.wall""",
        doctor: """
  recall-lab doctor""",
    },
}
"""the verbs by what one wants, in the order of the help, with examples"""

app = App(
    name="recall-lab",
    help=HELP,
    help_epilogue=EPILOGUE,
    help_format="plaintext",
    version=__version__,
    group_commands=Group("Otherwise", sort_key=len(VERBS)),
)
for _place, (_title, _verbs) in enumerate(VERBS.items()):
    _group = Group(_title, sort_key=_place)
    for _order, (_verb, _examples) in enumerate(_verbs.items()):
        app.command(_verb, group=_group, sort_key=_order, help_epilogue=f"For example{_examples}", version_flags=())


def main() -> None:
    """Runs the command line: the only place where errors become exit codes."""
    sys.path.append(str(Path.cwd()))  # so that `my_mixer:MyMixer` is found beside the user, after everything that is installed
    warnings.showwarning = warn
    # At once, for an exception comes out of a half imported torch as another one; while it trains, a sweep has its own way to end.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        check_environment()
        code = app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except (CycloptsError, InputError) as error:
        code = complain(worded(error))
    except BrokenPipeError:  # the reader of our output has gone; nothing is left to say, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:  # with a name: a path that the user gave; without: a disk that is full
        code = complain(f"{error.filename}: {error.strerror}") if error.filename else complain(error.strerror or str(error), code=1)
    sys.exit(code)


def check_environment() -> None:
    """Raises InputError where a variable that the lab reads cannot be used."""
    if asked := os.environ.get("RECALL_LAB_BACKEND"):
        from ..kernels import Backend  # takes seconds, so only where there is something to check

        known = get_args(Backend)
        if asked not in known:
            raise InputError(f"RECALL_LAB_BACKEND: {unknown('backend', asked, known)}")


def warn(message: Warning | str, *_where: object, **_how: object) -> None:
    """A warning as one line on stderr, without the place in our code that gives it."""
    say(f"recall-lab: {message}")


def complain(line: str, code: int = 2) -> int:
    """One line on stderr; the exit code, that of bad input unless told otherwise."""
    say(f"recall-lab: {' '.join(line.split())}")
    return code


def worded(error: CycloptsError | InputError) -> str:
    """What is wrong, what is allowed and the nearest name, also where the parser's own words leave one out."""
    verb = " ".join(error.command_chain or ()) if isinstance(error, CycloptsError) else ""
    match error:
        case UnknownCommandError(unused_tokens=[name, *_]):
            return unknown("verb", name, [*(each.__name__ for verbs in VERBS.values() for each in verbs), "--help", "--version"])
        case UnknownOptionError(token=token, argument_collection=arguments):
            options = [name for argument in arguments for name in argument.names if name.startswith("--")]
            return unknown(f"option of {verb}", (token.keyword or token.value).partition("=")[0], [*options, "--help"])
        case UnusedCliTokensError(unused_tokens=[token, *_]):
            return f"{verb} takes nothing like {token!r} here; see recall-lab {verb} --help"
    return str(error)
