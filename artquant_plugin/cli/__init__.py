"""The `artquant` command: it parses the command line, runs one sub-command, and prints errors as one line.

Each sub-command is a module of this package with `add_parser(subparsers)`; heavy imports (torch, transformers)
happen inside its `run`, so that `--help` answers at once.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from artquant_plugin import __version__
from artquant_plugin.cli import (
    compare,
    convert,
    data,
    describe,
    doctor,
    heatmap,
    metrics,
    models,
    prompt_search,
    publish,
    rad,
    report,
    results,
    score,
    train,
)
from artquant_plugin.cli.idle_options import refuse_idle_options
from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning, MachineError
from artquant_plugin.common.library_messages import leave_out_library_messages
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.text import visible

COMMANDS = (
    data,
    rad,
    train,
    convert,
    score,
    describe,
    heatmap,
    results,
    metrics,
    compare,
    report,
    publish,
    models,
    prompt_search,
    doctor,
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """Print a usage error as one line, as all other errors are."""
        self.exit(2, f"{self.prog}: error: {visible(message)} (see `{self.prog} --help`)\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(prog="artquant", description="Score paintings as people do: data, training, metrics.")
    parser.add_argument("--version", action="version", version=f"artquant {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning, in the place of `warnings.showwarning`.

    Our own warnings are printed without file and line, which help no user. A library's warning keeps them, since they
    tell whose it is.
    """
    if issubclass(category, ArtQuantWarning):
        text = f"artquant: warning: {visible(str(message))}\n"
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after the program's name; None to take those of the process.

    Returns:
        The exit code: 0; 1 where `artquant doctor` found a problem or `artquant rad generate` made nothing; 2 for an
        error that the user can mend, or a fault of this machine (printed as one line on stderr); 130 and 141 when the
        user, or the reader of the output, stops it.
    """
    args = build_parser().parse_args(argv)
    try:
        with warnings.catch_warnings():  # which restores `showwarning` at the end
            warnings.showwarning = _show_warning
            leave_out_library_messages()
            if not sys.stderr.isatty():  # in a file, each update of a progress bar would be a line of its own
                os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            refuse_idle_options(args)
            code: int | None = args.run(args)
    except (ArtQuantError, MachineError) as error:
        return _failed(str(error))
    except BrokenPipeError:  # the program that reads the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError as error:
        return _failed(str(machine_error(error, "the command cannot go on")))
    except OSError as error:
        file = error.filename
        if is_machine_fault(error):
            doing = f"{str(file)!r} cannot be read or written" if file else "the command cannot go on"
            return _failed(str(machine_error(error, doing)))
        if file is None:  # not about a file, and so no error that the user can mend
            raise
        return _failed(f"{error.strerror}: {str(file)!r}; mend the path")
    except KeyboardInterrupt:
        print("artquant: interrupted", file=sys.stderr)
        return 130
    return code or 0


def _failed(message: str) -> int:
    """Print an error as one line on stderr, and return the exit code of a failed command."""
    print(f"artquant: error: {visible(message)}", file=sys.stderr)
    return 2
