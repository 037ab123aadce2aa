"""The scoring file of a checkpoint: level words, prompt and image handling."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.data.images import Handling
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import PromptSpec

SCORING_FILE = "artquant.json"
FORM_VERSION = 1


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
            ArtQuantError: the file is no scoring file, or has a version that this release does not read.
        """
        path = folder / SCORING_FILE
        if not path.is_file():
            return cls()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content["form_version"]
            if version != FORM_VERSION:
                raise ArtQuantError(
                    f"{path} has form version {version}, this release reads {FORM_VERSION}; update artquant-plugin"
                )
            levels = content["levels"]
            scale = LevelScale(names=tuple(levels), values=tuple(float(value) for value in levels.values()))
            images = content.get("images", "as_shown")
            if images not in get_args(Handling):
                raise ArtQuantError(f"{path} has images {images!r}; use one of {', '.join(get_args(Handling))}")
            return cls(scale=scale, prompt=PromptSpec(**content["prompt"]), images=images)
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ArtQuantError(f"{path} is not a scoring file ({error!r}); save the checkpoint again") from error
