"""The options, keys, arguments and variables that the code takes, and the tables of docs/ that describe them.

A table of options begins with a line whose first cell names its subjects in code, behind a word for their kind:

    | option of `artquant compare`, `artquant report` | default | meaning |
    | key of `RAD configuration` | default | meaning |

Each row describes one option, or several that mean the same: ``| `--seed` | `0` | seed of the bootstrap |``.
"""

import argparse
import ast
import inspect
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from artquant_plugin.cli import build_parser
from tests.paths import ROOT

KINDS = ("option", "key", "argument", "variable")
REQUIRED = "required"  # what the default's cell says where there is none
_DEFAULT_IN_HELP = re.compile(r"\(default: ((?:%\(default\)s|[^()])+)\)")


@dataclass(frozen=True)
class Documented:
    """One name of a row in a table of options.

    Args:
        page: the name of the page in docs/.
        subject: what takes it: a command, a configuration, a class or a file.
        name: the option, key, argument or variable as the user writes it.
        default: the cell of the default, without backticks.
        meaning: the cell of the description, as it stands.
        row: number of the row's line in the page, from 1.
    """

    page: str
    subject: str
    name: str
    default: str
    meaning: str
    row: int


@dataclass(frozen=True)
class Taken:
    """One option, key, argument or variable that the code takes.

    Args:
        default: its default as the documentation writes it.
        meaning: what tells options of the same meaning: two with different meanings need a row each.
        needed: whether the documentation must have it; an optional one is only compared where a row names it.
    """

    default: str
    meaning: str
    needed: bool = True


def documented(page: Path) -> list[Documented]:
    """Every row of a page's tables of options."""
    found: list[Documented] = []
    subjects: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("|"):
            subjects = []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if header := re.match(rf"({'|'.join(KINDS)}) of (`.*)$", cells[0]):
            subjects = re.findall(r"`([^`]+)`", header.group(2))
            continue
        if not subjects or set(line) <= set("|-: "):
            continue
        assert len(cells) == 3, f"docs/{page.name}:{number} has {len(cells)} cells; a table of options has three"
        names = re.findall(r"`([^`]+)`", cells[0])
        assert names, f"docs/{page.name}:{number} names nothing in code type in its first cell"
        for subject in subjects:
            for name in names:
                found.append(Documented(page.name, subject, name, cells[1].replace("`", ""), cells[2], number))
    return found


def commands(parser: argparse.ArgumentParser | None = None, name: str = "artquant") -> dict[str, dict[str, Taken]]:
    """Every command of `artquant` that has no commands of its own, with its options and arguments by their names."""
    parser = parser or build_parser()
    found: dict[str, dict[str, Taken]] = {}
    own: dict[str, Taken] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, below in action.choices.items():
                found |= commands(below, f"{name} {command}")
        elif not isinstance(action, argparse._HelpAction | argparse._VersionAction):
            metavar = action.metavar if isinstance(action.metavar, str) else None
            title = action.option_strings[-1] if action.option_strings else metavar or action.dest
            own[title] = Taken(default_of_option(action), str(action.help))
    return found or {name: own}


def default_of_option(action: argparse.Action) -> str:
    """The default of an option; where the parser has none, what its help says is done without the option."""
    if action.required:
        return REQUIRED
    if isinstance(action.default, bool):
        return "on" if action.default else "off"
    if action.default not in (None, [], ()):
        values = action.default if isinstance(action.default, list | tuple) else [action.default]
        words = " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
        return "UTF-8" if words == "utf-8-sig" else words  # which reads UTF-8 with a byte order mark and without
    return default_in_help(action) or "none"


def default_in_help(action: argparse.Action) -> str | None:
    """The default that a help text tells, without backticks; None where it tells none."""
    said = _DEFAULT_IN_HELP.search(str(action.help))
    return said.group(1).replace("%(default)s", str(action.default)).replace("`", "") if said else None


def keys(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, Taken]]:
    """The keys of a configuration as ``section.key``, with ``section[].key`` where a section is a list."""
    for name, field in model.model_fields.items():
        path = f"{above}{name}"
        section, several = _section(field.annotation)
        if section is not None:
            yield from keys(section, f"{path}[]." if several else f"{path}.")
        else:
            default = REQUIRED if field.is_required() else in_yaml(field.get_default(call_default_factory=True))
            yield path, Taken(default, f"{_owner(model, name).__name__}.{name}")


def _owner(model: type[BaseModel], name: str) -> type:
    """The class that says what a key means: the first one in the line of ancestors that has it."""
    return [kind for kind in model.__mro__ if name in getattr(kind, "model_fields", {})][-1]


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The section that a field holds, None where it holds a value, and whether the field is a list of them."""
    several = get_origin(annotation) is tuple
    kinds = get_args(annotation) if several or get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind, several
    return None, False


def in_yaml(value: Any) -> str:
    """A value as a configuration file writes it, on one line."""
    if value is None:
        return "null"
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, bool | int | float | list | dict):
        return str(value)
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.strip().removesuffix("\n...").strip()


def arguments(function: Any, *, leave_out: tuple[str, ...] = ()) -> dict[str, Taken]:
    """The arguments of a Python function with their defaults as Python writes them."""
    return {
        name: Taken(REQUIRED if each.default is each.empty else repr(each.default), name)
        for name, each in inspect.signature(function).parameters.items()
        if name not in ("self", *leave_out)
    }


def same_value(said: str, default: str) -> bool:
    """Whether a cell tells a default: in the same words, or as a number of the same value."""
    if said == default:
        return True
    try:
        return float(said) == float(default)
    except ValueError:
        return False


def environment_variables(root: Path = ROOT) -> dict[str, str]:
    """The environment variables that the package reads, each with a place where it does."""
    found: dict[str, str] = {}
    sources = [path for folder in ("artquant_plugin", "tasks", "train") for path in (root / folder).rglob("*.py")]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources}
    constants = {
        target.id: node.value.value
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }
    for path, tree in trees.items():
        for node in ast.walk(tree):
            read = _name_read_from_environment(node)
            name = constants.get(read.id) if isinstance(read, ast.Name) else getattr(read, "value", None)
            if isinstance(name, str):
                found.setdefault(name, f"{path.relative_to(root)}:{node.lineno}")
    return found


def _name_read_from_environment(node: ast.AST) -> ast.expr | None:
    """The expression for the name in ``os.environ.get(NAME)``, ``os.environ[NAME]``, ``NAME in os.environ``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        if node.func.attr == "getenv" or (node.func.attr in ("get", "setdefault") and _is_environ(node.func.value)):
            return node.args[0]
    if isinstance(node, ast.Subscript) and _is_environ(node.value) and isinstance(node.ctx, ast.Load):
        return node.slice
    if isinstance(node, ast.Compare) and _is_environ(node.comparators[0]):
        return node.left
    return None


def _is_environ(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def row(name: str, taken: Taken) -> str:
    """The row that a table lacks, with its description to be written."""
    return f"| `{name}` | {taken.default} | … |"


def table_head(kind: str, subject: str) -> str:
    """The first line of a table of options."""
    return f"| {kind} of `{subject}` | default | meaning |"


def problems_of(subject: str, page: str, kind: str, taken: Mapping[str, Taken], rows: list[Documented]) -> list[str]:
    """What is wrong with the tables about a subject, each as a line that says what to write where.

    Args:
        subject: what takes the options: a command, a configuration, a class or a file.
        page: the page in docs/ that describes the subject.
        kind: the word for what the table lists, one of `KINDS`.
        taken: what the code takes, by name.
        rows: every row of every page.
    """
    problems = []
    own = [each for each in rows if each.subject == subject]
    for each in own:
        place = f"docs/{each.page}:{each.row}"
        if each.page != page:
            problems.append(f"{place}: the options of {subject} belong into docs/{page}; move the row there")
        if each.name not in taken:
            problems.append(f"{place}: {subject} takes no `{each.name}`; take the row out, or mend the name")
            continue
        wanted = taken[each.name].default
        if not same_value(each.default, wanted):
            problems.append(f"{place}: the default of `{each.name}` is {wanted!r}, the table says {each.default!r}")
        if len(re.findall(r"\w+", each.meaning)) < 5:
            problems.append(f"{place}: `{each.name}` has no description; write a sentence of five words or more")
        for other in own:
            if other.name != each.name and other.row == each.row and other.name in taken:
                if taken[other.name].meaning != taken[each.name].meaning:
                    problems.append(f"{place}: `{each.name}` and `{other.name}` differ; give each a row of its own")
            if other.row > each.row and other.name == each.name:
                problems.append(f"docs/{page}:{other.row}: `{each.name}` stands in line {each.row} already")
            if other.row > each.row and other.meaning == each.meaning:
                problems.append(
                    f"docs/{page}:{other.row}: `{other.name}` is described as `{each.name}` is; say what is its own, "
                    "or put both into one row where they mean the same"
                )
    present = {each.name for each in own}
    for name, each_taken in taken.items():
        if each_taken.needed and name not in present:
            problems.append(
                f"docs/{page}: the table under '{table_head(kind, subject)}' lacks a row; write "
                f"{row(name, each_taken)!r} with a description (the code says: {each_taken.meaning})"
            )
    return problems
