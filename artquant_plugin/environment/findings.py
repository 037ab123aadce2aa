"""What a check found, and how a check that fails itself becomes a finding."""

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
        found: what is there, such as the installed version.
        tested: the version that was tested, or the bounds; empty for things without versions.
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
        area: of its findings.
        name: what it looks at.
        run: returns the findings; it may raise anything.
    """

    area: str
    name: str
    run: Callable[[], Sequence[Finding]]


def guarded(check: Check) -> list[Finding]:
    """The findings of a check; one problem with the reason where the check itself fails.

    A check fails where a package that it imports is absent or broken, which is what the command is there to report.
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
        kind: name of the exception's type.
        text: of the exception; may be empty or have many lines.
    """
    lines = text.strip().splitlines()
    return f"{kind}: {lines[0]}" if lines else kind
