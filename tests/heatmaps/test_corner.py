"""A model that is trained on paintings whose score is the brightness of one corner looks there."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.heatmaps.maps import heat_maps
from artquant_plugin.metrics.agreement import srocc
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.config import load_config
from artquant_plugin.train.run import train

SIDE = 32  # pixels
TRAIN, VALIDATION, LOOKED_AT = 600, 60, 20  # paintings


def painting(index: int) -> tuple[Image.Image, float]:
    """Four quarters of grey, each with grain; the brightness of the one at the bottom left is the score."""
    rng = np.random.default_rng((7, index))
    brightness = rng.random((2, 2))
    grey = 30 + 190 * np.kron(brightness, np.ones((SIDE // 2, SIDE // 2)))
    grained = grey[..., None] + rng.normal(0, 12, (SIDE, SIDE, 3))
    return Image.fromarray(grained.clip(0, 255).astype(np.uint8)), float(round(10 * brightness[1, 0], 3))


def write_corners(folder: Path) -> Path:
    """A dataset of such paintings."""
    folder.mkdir()
    rows = []
    for index in range(TRAIN + VALIDATION):
        image, score = painting(index)
        image.save(folder / f"{index}.png")
        rows.append(Painting(str(index), f"{index}.png", "", score))
    write_dataset(
        folder,
        name="corners",
        score_range=(0, 10),
        splits={"train": rows[:TRAIN], "validation": rows[TRAIN:]},
        image_root=".",
        source="made up",
        license="CC0",
        level_values=(10.0, 7.5, 5.0, 2.5, 0.0),
    )
    return folder


@pytest.mark.slow(seconds=25)
def test_the_maps_of_a_trained_model_lie_in_the_corner_that_decides(tmp_path):
    """The corner is a quarter of the painting: a map that knew nothing would have a quarter of its mass there."""
    content = {
        "data": [str(write_corners(tmp_path / "corners"))],
        "output": str(tmp_path / "run"),
        "model": {"tiny": {"image_size": SIDE, "hidden": 32, "vision_layers": 2, "text_layers": 1, "heads": 2}},
        "levels": {"values": [10, 7.5, 5, 2.5, 0]},
        "train": {"learning_rate": 3e-3, "per_device_train_batch_size": 16, "report_to": []},
        "stages": [{"name": "sot", "samples": ["score"], "epochs": 10}],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    scorer = ArtQuantScorer.from_pretrained(str(train(load_config(tmp_path / "config.yaml")).output), device="cpu")
    new = [painting(TRAIN + VALIDATION + index) for index in range(LOOKED_AT)]
    found = list(heat_maps(scorer, [image for image, _ in new]))
    learned = srocc(np.array([each.score for each in found]), np.array([score for _, score in new]))
    shares = np.array([each.maps["gradient"].share(0, 0.5, 0.5, 1) for each in found])
    assert learned > 0.95
    assert shares.mean() > 0.7
    assert (shares > 0.5).mean() > 0.8
