"""Findings of checks, and how a check that itself fails becomes a finding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from typing import Literal

from artquant_plugin.environment.requirements import reinstall_command

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table of `artquant doctor`.

    Args:
        state: ``problem`` where something that the product does would fail, ``note`` where something is slower, absent
            or untested, else ``ok``.
        area: the kind of thing that was looked at, such as ``package`` or ``disk``.
        name: the thing, such as the name of a package.
        found: what there is on this machine, such as the installed version.
        tested: the version that was tested, or the bounds of versions; empty for things without versions.
        message: what a problem or a note means, in one sentence without a full stop; empty for ``ok``.
        remedy: a command to type, or what to do where no command does it; empty where there is nothing to do.
    """

    state: State
    area: str
    name: str
    found: str
    tested: str = ""
    message: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A function that looks at one thing, with the names to use should it fail.

    Args:
        area: the area of its findings, such as ``package``.
        name: the name of what it looks at, for the finding of a check that fails.
        run: the function, which returns the findings and may raise any exception.
    """

    area: str
    name: str
    run: Callable[[], Sequence[Finding]]


def guarded(check: Check) -> list[Finding]:
    """Run a check; one that itself fails gives one problem with the reason.

    A check fails where a package that it imports is absent or broken, which is just what the command must report.

    Args:
        check: the check to run, whatever it raises.
    """
    try:
        return list(check.run())
    except Exception as error:  # whatever a broken package raises
        reason = failure_text(type(error).__name__, str(error))
        module = error.name if isinstance(error, ModuleNotFoundError) else None
        absent = module is not None and not isinstance(error, PackageNotFoundError)  # which names no module
        remedy = f"pip install {str(module).partition('.')[0]}" if absent else reinstall_command()
        message = f"{check.name} could not be looked at ({reason})"
        return [Finding("problem", check.area, check.name, "unknown", message=message, remedy=remedy)]


def failure_text(kind: str, text: str) -> str:
    """An exception in one line: its type, and the first line of its text.

    Args:
        kind: the name of the exception's type, such as ``ImportError``.
        text: the exception's message, which may be empty or have many lines.
    """
    lines = text.strip().splitlines()
    return f"{kind}: {lines[0]}" if lines else kind
