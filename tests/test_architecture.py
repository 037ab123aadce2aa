"""The rooms of the package, and which room may import which.

A room is a folder of `artquant_plugin`, or one of the folders `tasks`, `train` and `train/rad`. The table below lists,
for each room, the rooms that its modules may import. An import that the table does not list fails the first test; an
entry that no import uses fails it as well, so that the table stays true.
"""

import ast
import configparser
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import ROOT

ALLOWED = {
    "common": set(),
    "configs": set(),
    "backbones": {"common"},
    "prompting": {"common"},
    "replies": {"common"},
    "data": {"common", "prompting"},
    "checkpoint": {"backbones", "common", "data", "prompting"},
    "environment": {"common", "data"},
    "metrics": {"common", "data"},
    "scoring": {"backbones", "checkpoint", "common", "data", "prompting"},
    "tasks": {"common", "data", "metrics", "prompting", "replies"},
    "artquant_plugin": {"prompting", "scoring"},
    "bulk": {"checkpoint", "common", "data", "prompting", "scoring"},
    "heatmaps": {"backbones", "common", "data", "scoring"},
    "prompt_search": {"checkpoint", "common", "data", "metrics", "prompting", "scoring"},
    "harness": {
        "artquant_plugin",
        "checkpoint",
        "common",
        "data",
        "environment",
        "prompting",
        "replies",
        "scoring",
        "tasks",
    },
    "report": {"artquant_plugin", "checkpoint", "common", "data", "harness", "metrics"},
    "publish": {"backbones", "checkpoint", "common", "data", "metrics", "prompting", "report"},
    "train": {"backbones", "checkpoint", "common", "data", "metrics", "prompting", "publish", "scoring"},
    "train.rad": {"artquant_plugin", "common", "data", "metrics", "prompting", "publish", "replies"},
    "cli": {
        "artquant_plugin",
        "bulk",
        "checkpoint",
        "common",
        "data",
        "environment",
        "heatmaps",
        "metrics",
        "prompt_search",
        "publish",
        "report",
        "train",
        "train.rad",
    },
}

# What may stand at the package's root: it registers nothing and computes nothing.
ROOT_MODULES = {"__init__", "__main__", "levels", "timings"}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for folder in ("artquant_plugin", "tasks", "train", "configs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if parts[0] == "artquant_plugin" else ("artquant_plugin", *parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    """The room of a module: `data` of `artquant_plugin.data.importers.baid`; the package's own name at its root."""
    parts = module.split(".")[1:]
    if parts[:2] == ["train", "rad"]:
        return "train.rad"
    is_folder = MODULES[module].name == "__init__.py"
    return parts[0] if len(parts) > 1 or (parts and is_folder) else "artquant_plugin"


def imports(module: str) -> Iterator[str]:
    """The modules of this package that a module imports, at its head or inside a function, not for types alone."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if whole in MODULES else node.module


IMPORTS = {module: set(imports(module)) - {module} for module in MODULES}


def test_every_import_names_a_module_that_is_there():
    """Imports inside functions too, which neither the linter nor the type checker follows."""
    absent = {
        f"{module}: {node.module}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "artquant_plugin"
        if node.module not in MODULES
    }
    assert not absent


def arrows() -> dict[str, set[str]]:
    """The rooms that each room imports. A `__main__` starts the command line and counts for no room."""
    found: dict[str, set[str]] = {room(module): set() for module in MODULES}
    for module, imported in IMPORTS.items():
        if module.endswith(".__main__"):
            continue
        found[room(module)] |= {room(other) for other in imported} - {room(module)}
    return found


def test_rooms_import_what_the_table_allows_and_nothing_else():
    assert arrows() == ALLOWED


def test_rooms_import_each_other_in_one_direction():
    try:
        list(TopologicalSorter(arrows()).static_order())
    except CycleError as error:
        pytest.fail(f"rooms import each other in a circle: {' -> '.join(error.args[1])}")


def test_modules_import_each_other_in_one_direction():
    try:
        list(TopologicalSorter(IMPORTS).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


def test_only_the_command_line_imports_the_training_module():
    found = {
        module
        for module, imported in IMPORTS.items()
        if module.startswith("artquant_plugin.") and room(module) not in ("train", "train.rad", "cli")
        if any(room(other).startswith("train") for other in imported)
    }
    assert not found


def test_no_module_stands_loose_at_the_root():
    assert {path.stem for path in (ROOT / "artquant_plugin").glob("*.py")} <= ROOT_MODULES


def test_every_folder_with_modules_is_installed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    folders = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(config["options"]["packages"].split()) == folders
