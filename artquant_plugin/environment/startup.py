"""How errors are said on lmms-eval's own command line: one line on stderr, and exit code 1.

lmms-eval logs a traceback for any error and exits with 0. Our entry point is loaded before an evaluation starts: it
reads the metadata of packages, which takes some milliseconds, and says which are outside our bounds and how to mend
it. Our other errors end the evaluation in the same way.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.common.text import one_line
from artquant_plugin.environment.requirements import requirements, unmet

# Private modules of other packages that lmms-eval 0.7.3 imports when an evaluation starts (evaluator.py,
# `_enable_reentrant_filelocks`). Without one of them no evaluation can succeed, whatever its model and tasks.
PRIVATE_MODULES = {"filelock": "filelock._api"}
_WITHOUT_EVALUATION = {"-h", "--help", "list", "list_groups", "list_tags", "list_subtasks"}


def check_versions(arguments: Sequence[str]) -> None:
    """Print a line on stderr for each package that is installed in a version outside the bounds of our metadata.

    Args:
        arguments: the arguments of the process, `sys.argv`, with the program's name first.

    Raises:
        SystemExit: with code 1, where the process is an evaluation on lmms-eval's command line that is sure to fail.
            A program that imports lmms-eval as a library is only warned.
    """
    try:
        broken = unmet(requirements())
        fatal = [requirement for requirement in broken if _lacks_private_module(requirement.package)]
    except Exception:  # An error here would make lmms-eval drop the models of every plugin.
        return
    ends = bool(fatal) and is_evaluation(arguments)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # one process per machine prints
        for requirement in fatal if ends else broken:
            if requirement in fatal:
                kind = "error" if ends else "warning"
                module = PRIVATE_MODULES[requirement.package]
                effect = f"lmms-eval cannot evaluate without its module {module}"
            else:
                kind, effect = "warning", "lmms-eval, or our model and tasks, may fail with it"
            line = f"artquant: {kind}: {requirement.complaint}: {effect}; mend it with `{requirement.remedy}`"
            sys.stderr.write(line + "\n")
    if ends:
        sys.exit(1)


@contextmanager
def errors_end_evaluation() -> Iterator[None]:
    """End an evaluation on lmms-eval's command line with one line, where the block stops by one of our errors.

    A fault of this machine and Ctrl-C end it in the same way. Further runs that a file of ``--config`` lists do not
    take place. A program that imports lmms-eval as a library gets the exception as it is.

    Raises:
        SystemExit: with code 1 for an error, and 130 for Ctrl-C as the `artquant` command has it, after the line on
            stderr.
    """
    try:
        yield
    except (ArtQuantError, MachineError) as error:
        if not is_evaluation(sys.argv):
            raise
        sys.stderr.write(f"artquant: error: {one_line(error)}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        if not is_evaluation(sys.argv):
            raise
        sys.stderr.write("artquant: interrupted\n")
        sys.exit(130)


def is_evaluation(arguments: Sequence[str]) -> bool:
    """Whether a process evaluates through lmms-eval's command line.

    Args:
        arguments: the process's `sys.argv`, with the program's name first.

    Returns:
        False for programs that import lmms-eval, for its other commands, for help, and for lists of tasks.
    """
    program = Path(arguments[0])
    if program.stem != "lmms-eval" and program.parts[-2:] != ("lmms_eval", "__main__.py"):
        return False
    given = arguments[1:]
    evaluates = bool(given) and (given[0] == "eval" or given[0].startswith("-"))
    return evaluates and not any(argument.rpartition("=")[2] in _WITHOUT_EVALUATION for argument in given)


def _lacks_private_module(package: str) -> bool:
    module = PRIVATE_MODULES.get(package)
    return module is not None and importlib.util.find_spec(module) is None
