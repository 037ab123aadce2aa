"""Options that do nothing beside the others of a command line: a table per command, and one function that reads it.

An option that is taken and ignored leaves its user with a wrong belief, such as scores of another prompt. A command
gives its table with `add_idle_options`, and `artquant` refuses what the table says before it runs the command.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from artquant_plugin.common.errors import ArtQuantError


@dataclass(frozen=True, slots=True)
class IdleOptions:
    """Options that do nothing under the same condition.

    Args:
        options: the options as they are typed. One that has a default needs the action `Noted`, without which a user
            who writes the default itself goes unnoticed.
        idle: tells of a command line's values whether the options do nothing.
        when: completes "… does nothing", such as "without --out".
        remedy: what to do about it, in the imperative; leaving the option out is named beside it.
    """

    options: tuple[str, ...]
    idle: Callable[[argparse.Namespace], bool]
    when: str
    remedy: str


class Noted(argparse.Action):
    """The action ``store``, which also notes in `args.noted` that the user gave the option.

    It is for options that have a default: without the note, the default and the same value from the user are alike.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Store the value of the option, and its name."""
        setattr(namespace, self.dest, values)
        namespace.noted = {*getattr(namespace, "noted", ()), self.dest}


def add_idle_options(parser: argparse.ArgumentParser, *entries: IdleOptions) -> None:
    """Give a command its table.

    Args:
        parser: the parser of the command, which has the options.
        *entries: the table; the first entry that applies is the one that the user reads.
    """
    parser.set_defaults(idle_options=entries, parser=parser)


def refuse_idle_options(args: argparse.Namespace) -> None:
    """Stop at the first option that was given and does nothing.

    Args:
        args: a parsed command line. Nothing happens where its command has no table.

    Raises:
        ArtQuantError: names the option, why it does nothing, and the remedy.
    """
    entries: Sequence[IdleOptions] = getattr(args, "idle_options", ())
    for entry in entries:
        for option in entry.options:
            if is_given(args, option) and entry.idle(args):
                raise ArtQuantError(f"{option} does nothing {entry.when}; {entry.remedy}, or leave {option} out")


def is_given(args: argparse.Namespace, option: str) -> bool:
    """Whether the user gave an option that an `IdleOptions` may name.

    Args:
        args: a parsed command line whose command has a table.
        option: the option as it is typed, such as ``--out``.
    """
    name = option.removeprefix("--").replace("-", "_")
    return name in getattr(args, "noted", ()) or getattr(args, name) != args.parser.get_default(name)
