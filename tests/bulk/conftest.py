from pathlib import Path

import pytest
from PIL import Image

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from tests.tiny import tiny_llava


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A saved checkpoint of random weights."""
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(folder, *tiny_llava(), ScoringSpec())
    return folder


@pytest.fixture
def paintings(tmp_path) -> Path:
    """Ten grey images of brightness 0, 10, …, 90, in two folders."""
    folder = tmp_path / "paintings"
    for index in range(10):
        path = folder / ("early" if index < 4 else "late") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 8), (index * 10,) * 3).save(path)
    return folder
