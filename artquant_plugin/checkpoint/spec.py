"""The scoring file of a checkpoint: level words, prompt and image handling."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.json_text import read_object
from artquant_plugin.common.text import did_you_mean, literal
from artquant_plugin.data.images import Handling
from artquant_plugin.prompting.attributes import AttributeSpec
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import PromptSpec
from artquant_plugin.prompting.texts import check_text

SCORING_FILE = "artquant.json"
FORM_VERSION = 1  # of a file without attributes, which every release reads
ATTRIBUTES_VERSION = 2  # of a file with attributes, which releases that know none refuse
OWN = "own"  # the name of what a checkpoint's own scoring file says
KEYS = ("form_version", "levels", "prompt", "images", "chat_template", "attributes")
_ATTRIBUTE_KEYS = ("question", "answer_prefix", "values")
_REMEDY = "save the checkpoint again, or mend the file"
_LONGEST_TEMPLATE = 100_000  # characters


@dataclass(frozen=True, slots=True)
class ScoringSpec:
    """The contents of the scoring file: everything beyond weights and processor that a score depends on.

    Args:
        scale: the level words and the score that each stands for.
        prompt: the questions, the answer prefix, and the order of image and text.
        images: how image files are opened, ``as_shown`` or ``as_stored``; `artquant_plugin.data.images.open_image`
            says what each means.
        chat_template: the template, in Jinja, of the conversation, which `load_checkpoint` puts in the place of the
            processor's own; None to leave the processor's.
        name: what results call it: ``own`` for the checkpoint's own scoring file, otherwise the name of the preset or
            of the user's file. Two specs that differ in it alone are equal.
        attributes: what the model was trained to score beside the whole painting, in the order of the results'
            columns; empty for a model that knows no attributes.

    Raises:
        ArtQuantError: `images` is neither ``as_shown`` nor ``as_stored``, or an attribute's values do not fit the
            level words.
    """

    scale: LevelScale = field(default_factory=LevelScale)
    prompt: PromptSpec = field(default_factory=PromptSpec)
    images: Handling = "as_shown"
    chat_template: str | None = None
    name: str = field(default=OWN, compare=False)
    attributes: tuple[AttributeSpec, ...] = ()

    def __post_init__(self) -> None:
        for attribute in self.attributes:
            attribute.scale(self.scale.names)
        if self.images not in get_args(Handling):
            raise ArtQuantError(f"it has images {literal(self.images)}; use one of {', '.join(get_args(Handling))}")

    @property
    def content(self) -> dict[str, Any]:
        """What the scoring file holds, as JSON's types; without ``chat_template`` and ``attributes`` where none is."""
        content: dict[str, Any] = {
            "form_version": ATTRIBUTES_VERSION if self.attributes else FORM_VERSION,
            "levels": dict(zip(self.scale.names, self.scale.values, strict=True)),
            "prompt": dataclasses.asdict(self.prompt),
            "images": self.images,
        }
        if self.chat_template is not None:
            content["chat_template"] = self.chat_template
        if self.attributes:
            content["attributes"] = {
                each.name: {"question": each.question, "answer_prefix": each.answer_prefix, "values": [*each.values]}
                for each in self.attributes
            }
        return content

    def save(self, folder: Path) -> None:
        """Write the scoring file into a checkpoint's folder, which must exist, and replace an earlier one."""
        with atomic_write(folder / SCORING_FILE) as file:
            file.write(json.dumps(self.content, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "ScoringSpec":
        """Read the scoring file of a checkpoint.

        Args:
            folder: the local folder of the checkpoint.

        Raises:
            ArtQuantError: there is no scoring file in the folder, or the file is none: it is not JSON in UTF-8, has a
                version that this release does not read, names a key or a level word twice, or holds levels or prompts
                that `LevelScale` or `PromptSpec` refuses. The message names the file.
        """
        if not has_scoring_file(folder):
            raise ArtQuantError(
                f"'{folder}' holds no {SCORING_FILE}, the file with questions and level words; {_REMEDY}"
            )
        return cls.load_file(folder / SCORING_FILE)

    @classmethod
    def load_file(cls, path: Path) -> "ScoringSpec":
        """Read a scoring file in JSON, of any name.

        Args:
            path: the file, which must exist.

        Raises:
            ArtQuantError: the file is no scoring file, as for `load`.
        """
        return cls.from_content(read_object(path, remedy=_REMEDY, strict=True), path, remedy=_REMEDY)

    @classmethod
    def from_content(
        cls, content: dict[str, Any], path: Path, *, further: tuple[str, ...] = (), remedy: str
    ) -> "ScoringSpec":
        """Make a spec of the content of a scoring file.

        Args:
            content: the object that the file holds, from JSON or YAML.
            path: the file that the content is from, which messages name.
            further: names of keys that the file may hold besides those of a scoring file; they are not read here.
            remedy: what a user can do about a wrong file, as the end of the message.

        Raises:
            ArtQuantError: the content is not that of a scoring file, as for `load`.
        """
        version = content.get("form_version")
        if version not in (FORM_VERSION, ATTRIBUTES_VERSION) or isinstance(version, bool):
            raise ArtQuantError(
                f"{path} has form version {literal(version)}, this release reads {FORM_VERSION} and "
                f"{ATTRIBUTES_VERSION}; "
                "update artquant-plugin"
                if "form_version" in content
                else f"{path} is not a scoring file (it has no form_version); {remedy}"
            )
        check_keys(content, (*KEYS, *further), f"{path} is not a scoring file", remedy)
        for name in ("levels", "prompt"):
            if not isinstance(content.get(name), dict):
                raise ArtQuantError(f"{path} is not a scoring file ({name} is {literal(content.get(name))}); {remedy}")
        levels, prompt, images = content["levels"], content["prompt"], content.get("images", "as_shown")
        known = [each.name for each in dataclasses.fields(PromptSpec)]
        if unknown := [name for name in prompt if name not in known]:
            said = ", ".join(filter(None, (literal(unknown[0]), did_you_mean(unknown[0], known))))
            raise ArtQuantError(f"{path} is not a scoring file (prompt has the unknown key {said}); {remedy}")
        template = content.get("chat_template")
        try:
            if template is not None:
                check_text(template, "chat_template", _LONGEST_TEMPLATE, line_breaks=True)
            scale = LevelScale(tuple(levels), tuple(levels.values()))
            attributes = _attributes(content.get("attributes", {}), path, remedy)
            return cls(scale, PromptSpec(**prompt), images, template, attributes=attributes)
        except ArtQuantError as error:
            raise ArtQuantError(f"{path}: {error}") from error


def _attributes(content: Any, path: Path, remedy: str) -> tuple[AttributeSpec, ...]:
    """The attributes of a scoring file; an error without its name where one is none."""
    if not isinstance(content, dict):
        raise ArtQuantError(f"attributes is {literal(content)}, not an object of attributes by their names; {remedy}")
    found = []
    for name, given in content.items():
        if not isinstance(given, dict) or set(given) != set(_ATTRIBUTE_KEYS) or not isinstance(given["values"], list):
            raise ArtQuantError(
                f"attribute {literal(name)} is {literal(given)}; it needs {', '.join(_ATTRIBUTE_KEYS)}, the last one "
                f"a list; {remedy}"
            )
        found.append(AttributeSpec(name, given["question"], given["answer_prefix"], tuple(given["values"])))
    return tuple(found)


def has_scoring_file(folder: Path) -> bool:
    """Whether a folder holds a scoring file, or a link in its place that leads nowhere, of which reading it tells."""
    path = folder / SCORING_FILE
    return path.exists() or path.is_symlink()


def check_keys(content: dict[str, Any], known: tuple[str, ...], what: str, remedy: str) -> None:
    """Refuse a key that a file may not hold.

    Args:
        content: the object that the file holds.
        known: the names of the keys that it may hold.
        what: the beginning of the message, such as ``x.json is not a scoring file``.
        remedy: the end of the message, which says what a user can do.

    Raises:
        ArtQuantError: there is another key; the message names the known one that is nearest to it.
    """
    if unknown := [name for name in content if name not in known]:
        said = ", ".join(filter(None, (*known, did_you_mean(unknown[0], known))))
        raise ArtQuantError(f"{what} (unknown key {literal(unknown[0])}, known: {said}); {remedy}")
