"""The scoring file of a checkpoint: level words, prompt and image handling."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.json_text import read_object
from artquant_plugin.common.text import literal
from artquant_plugin.data.images import Handling
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import PromptSpec

SCORING_FILE = "artquant.json"
FORM_VERSION = 1
_KEYS = ("form_version", "levels", "prompt", "images")


@dataclass(frozen=True, slots=True)
class ScoringSpec:
    """The contents of the scoring file: everything beyond weights and processor that a score depends on.

    Args:
        scale: the level words and the score that each stands for.
        prompt: the questions, the answer prefix, and the order of image and text.
        images: how image files are opened, ``as_shown`` or ``as_stored``; `artquant_plugin.data.images.open_image`
            says what each means.
    """

    scale: LevelScale = field(default_factory=LevelScale)
    prompt: PromptSpec = field(default_factory=PromptSpec)
    images: Handling = "as_shown"

    def save(self, folder: Path) -> None:
        """Write the scoring file into a checkpoint's folder, which must exist, and replace an earlier one."""
        content = {
            "form_version": FORM_VERSION,
            "levels": dict(zip(self.scale.names, self.scale.values, strict=True)),
            "prompt": dataclasses.asdict(self.prompt),
            "images": self.images,
        }
        with atomic_write(folder / SCORING_FILE) as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "ScoringSpec":
        """Read the scoring file of a checkpoint.

        Args:
            folder: the local folder of the checkpoint; without a scoring file in it, the result has the defaults.

        Raises:
            ArtQuantError: the file is no scoring file: it is not JSON in UTF-8, has a version that this release does
                not read, names a key or a level word twice, or holds levels or prompts that `LevelScale` or
                `PromptSpec` refuses. The message names the file.
        """
        path = folder / SCORING_FILE
        if not path.exists() and not path.is_symlink():
            return cls()
        remedy = "save the checkpoint again, or mend the file"
        content = read_object(path, remedy=remedy, strict=True)
        version = content.get("form_version")
        if version != FORM_VERSION or isinstance(version, bool):
            raise ArtQuantError(
                f"{path} has form version {literal(version)}, this release reads {FORM_VERSION}; "
                "update artquant-plugin"
                if "form_version" in content
                else f"{path} is not a scoring file (it has no form_version); {remedy}"
            )
        if unknown := [name for name in content if name not in _KEYS]:
            raise ArtQuantError(
                f"{path} is not a scoring file (unknown key {literal(unknown[0])}, known: {', '.join(_KEYS)}); "
                f"{remedy}"
            )
        for name in ("levels", "prompt"):
            if not isinstance(content.get(name), dict):
                raise ArtQuantError(f"{path} is not a scoring file ({name} is {literal(content.get(name))}); {remedy}")
        levels, prompt, images = content["levels"], content["prompt"], content.get("images", "as_shown")
        if images not in get_args(Handling):
            raise ArtQuantError(f"{path} has images {literal(images)}; use one of {', '.join(get_args(Handling))}")
        known = {each.name for each in dataclasses.fields(PromptSpec)}
        if unknown := [name for name in prompt if name not in known]:
            raise ArtQuantError(
                f"{path} is not a scoring file (prompt has the unknown key {literal(unknown[0])}); {remedy}"
            )
        try:
            return cls(LevelScale(tuple(levels), tuple(levels.values())), PromptSpec(**prompt), images)
        except ArtQuantError as error:
            raise ArtQuantError(f"{path}: {error}") from error
