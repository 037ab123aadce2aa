"""Reading a configuration: YAML files are merged, overrides are applied, and the result is checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import did_you_mean, listed, one_line


class Section(BaseModel):
    """A section of a configuration: unknown keys are errors, and its values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Config = TypeVar("Config", bound=BaseModel)
KNOWN_KEYS = 25  # how many known keys a message names
_MERGE = "tag:yaml.org,2002:merge"  # the tag of the key <<, which may stand more than once
_NOT_ALONE = ("accelerate", "rad", "scoring")  # folders of files that are no configurations by themselves


def read_config(kind: type[Config], paths: Path | Sequence[Path], overrides: Sequence[str] = ()) -> Config:
    """Read YAML files, later ones over earlier ones, and apply overrides.

    Args:
        kind: what the content is checked against.
        paths: one file or several; those that ship, such as ``demo.yaml`` or ``models/qwen3.5-4b.yaml``, are found by
            their name from anywhere. Sections are merged, other values replaced.
        overrides: ``section.key=value`` each, the value in YAML.

    Returns:
        The checked configuration.

    Raises:
        ArtQuantError: no such file, no YAML, an unknown key (the nearest is named) or a value of the wrong kind.
    """
    content: dict[str, Any] = {}
    sources = [find_shipped(path) for path in ([paths] if isinstance(paths, Path) else paths)]
    for source in sources:
        _merge(content, read_mapping(source))
    for override in overrides:
        _override(content, override)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ArtQuantError(f"{' + '.join(map(str, sources))}: {explain(kind, error)}") from error


class _StrictLoader(yaml.SafeLoader):
    """Refuses a mapping in which a key stands twice, of which YAML's own loader keeps the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[str] = []
        for key, _ in node.value:
            if key.tag != _MERGE and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.append(key.value)
        return super().construct_mapping(node, deep)


def read_mapping(source: Path) -> dict[str, Any]:
    """The content of one YAML file.

    Raises:
        ArtQuantError: it is no YAML, a key stands twice in a mapping, or it is no mapping.
    """
    try:
        content = yaml.load(source.read_text(encoding="utf-8"), Loader=_StrictLoader)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArtQuantError(f"{source} is not YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise ArtQuantError(f"{source} holds no mapping; start from one of the shipped configurations")
    return content


def _merge(content: dict[str, Any], later: dict[str, Any]) -> None:
    for key, value in later.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            _merge(content[key], value)
        else:
            content[key] = value


def shipped_folder() -> Path:
    """The folder of the configurations that ship."""
    shipped = Path(__file__).resolve().parent.parent / "configs"
    if not shipped.is_dir():  # installed from a wheel: configs/ is a sibling package
        from importlib.resources import files

        shipped = Path(str(files("artquant_plugin.configs")))
    return shipped


def find_shipped(path: Path) -> Path:
    """A file that is given, or that ships under this name.

    Raises:
        ArtQuantError: it is neither.
    """
    shipped = shipped_folder()
    inside = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
    for candidate in (path, shipped / inside):
        if candidate.is_file():
            return candidate
    names = ", ".join(
        sorted(
            str(file.relative_to(shipped)) for file in shipped.rglob("*.yaml") if file.parent.name not in _NOT_ALONE
        )
    )
    raise ArtQuantError(f"no configuration {str(path)!r}; give a YAML file, or one that ships: {names}")


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ArtQuantError(f"--set {override!r} is not of the form section.key=value")
    *sections, last = key.split(".")
    target: Any = content
    for section in sections:
        target = target.setdefault(section, {}) if isinstance(target, dict) else None
        if target is None:
            raise ArtQuantError(f"--set {key}: {section!r} is not a section of the configuration")
    if not isinstance(target, dict):
        raise ArtQuantError(f"--set {key}: {sections[-1]!r} is not a section of the configuration")
    try:
        target[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ArtQuantError(f"--set {key}: {value!r} is not a YAML value") from error


def explain(kind: type[BaseModel], error: ValidationError) -> str:
    """One problem as one line, with the keys that lead to it; an unknown key comes first, as it may explain the rest.

    Args:
        kind: What the content was checked against.
        error: All problems that were found.
    """
    problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    # A union's alternatives are no part of the user's file.
    place = ".".join(str(part) for part in problem["loc"] if not str(part).startswith(("literal[", "tuple[")))
    if problem["type"] == "extra_forbidden":
        known = _keys_at(kind, problem["loc"][:-1])
        remedy = did_you_mean(problem["loc"][-1], known) or f"known here: {listed(known, KNOWN_KEYS)}"
        return f"unknown key {place!r}; {remedy}"
    if problem["type"] == "missing":
        return f"key {place!r} is missing; add it"
    message = problem["msg"].removeprefix("Value error, ")
    at = f"{place}: " if place else ""  # what is wrong between two sections has no place of its own
    return f"{at}{message}" + ("" if problem["type"] == "value_error" else f", not {problem['input']!r}")


def _keys_at(kind: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    section: Any = kind
    for part in location:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next(item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel))
    return list(section.model_fields)
