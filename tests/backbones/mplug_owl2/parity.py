"""What the paper's own implementation computed, as tests read it."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from artquant_plugin.backbones.mplug_owl2.configuration import MPLUGOwl2Config
from artquant_plugin.backbones.mplug_owl2.modeling import MPLUGOwl2ForConditionalGeneration
from tests.paths import ROOT, shared

OWN = ROOT / "tests" / "recorded" / "parity"  # the synthetic part, which ships with the project
IMAGES = OWN / "images"


@dataclass(frozen=True)
class Case:
    """A model with its recorded inputs and outputs."""

    folder: Path
    config: MPLUGOwl2Config
    expected: dict[str, Any]
    io: dict[str, Tensor]

    def model(self) -> MPLUGOwl2ForConditionalGeneration:
        model = MPLUGOwl2ForConditionalGeneration(self.config)
        model.load_state_dict(load_file(self.folder / "model.safetensors"), strict=True)
        return model.float().eval()

    def expanded(self, ids: Tensor) -> Tensor:
        """Recorded ids, -200 for an image, with a place for each of its tokens."""
        places = [self.config.image_token_index] * self.config.tokens_per_image
        rows = [sum((places if index == -200 else [index] for index in row), []) for row in ids.tolist()]
        return torch.tensor(rows)


def case(name: str) -> Case:
    """B is the project's own; A has LLaMA-2's vocabulary and stays in ../shared, or its test is skipped."""
    return _case(OWN / "B_h64_v256" if name == "B" else shared("parity/A_h8_v32000"))


@functools.cache
def _case(folder: Path) -> Case:
    config = MPLUGOwl2Config.from_original(json.loads((folder / "config.json").read_text()))
    expected = json.loads((folder / "expected.json").read_text())
    return Case(folder, config, expected, load_file(folder / "io.safetensors"))
