"""The look at the versions when lmms-eval loads us: one line for each package outside our bounds.

lmms-eval logs a traceback and exits with 0 where a package does not suit it. Our entry point is loaded before an
evaluation starts, reads metadata alone (some milliseconds), and can say what is wrong and how to mend it.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from artquant_plugin.environment.requirements import requirements, unmet

# Private modules of other packages that lmms-eval 0.7.3 imports when an evaluation starts (evaluator.py,
# `_enable_reentrant_filelocks`). Without one of them no evaluation can succeed, whatever its model and tasks.
PRIVATE_MODULES = {"filelock": "filelock._api"}
_WITHOUT_EVALUATION = {"-h", "--help", "list", "list_groups", "list_tags", "list_subtasks"}


def check_versions(arguments: Sequence[str]) -> None:
    """Print a line on stderr for each package that our metadata asks for in another version.

    Args:
        arguments: of the process, `sys.argv`.

    Raises:
        SystemExit: with code 1, where the process is an evaluation on lmms-eval's command line and sure to fail.
            A program that imports lmms-eval as a library is only warned.
    """
    try:
        broken = unmet(requirements())
        fatal = [each for each in broken if _lacks_private_module(each.package)]
    except Exception:  # lmms-eval would drop every plugin's models; what is wrong here fails again where it matters
        return
    ends = bool(fatal) and is_evaluation(arguments)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # once for all processes of a machine
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


def is_evaluation(arguments: Sequence[str]) -> bool:
    """Whether a process evaluates through lmms-eval's command line.

    Args:
        arguments: its `sys.argv`.

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
