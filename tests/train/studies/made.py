"""A dataset and a configuration so small that a whole study takes seconds."""

from pathlib import Path
from typing import Any

import yaml

from artquant_plugin.data.dataset import Painting, write_dataset
from tests.tiny import pictures

TEXT = {"perception": "Warm reds glow.", "cognition": "A harbour at dusk.", "emotion": "Calm and still."}
MODEL = {"tiny": {"image_size": 16, "hidden": 16, "vision_layers": 1, "text_layers": 1, "heads": 2}}


def write_paintings(folder: Path, *, described: bool = True, comments: bool = False) -> Path:
    """Twelve paintings for training, four for validation, twenty for testing; two categories take turns."""
    folder.mkdir(parents=True)
    rows = []
    for index, image in enumerate(pictures(36)):
        image.save(folder / f"{index}.png")
        rows.append(
            Painting(
                str(index),
                f"{index}.png",
                "",
                1 + 8 * (index * 7 % 36) / 36,
                category="calm" if index % 2 else "wild",
                comment="I like it." if comments else None,
                description=TEXT if described else None,
            )
        )
    splits = {"train": rows[:12], "validation": rows[12:16], "test": rows[16:]}
    write_dataset(
        folder, name=folder.name, score_range=(0, 10), splits=splits, image_root=".", source="made up", license="CC0"
    )
    return folder


def write_studies(folder: Path, data: Path, **changes: Any) -> Path:
    """A configuration of studies on a dataset, and beside it the training configuration that its runs begin from."""
    training = {
        "data": [str(data)],
        "output": str(folder / "unused"),
        "model": MODEL,
        "train": {"per_device_train_batch_size": 4, "learning_rate": 1e-3, "report_to": [], "disable_tqdm": True},
        "stages": [
            {"name": "mat", "samples": ["describe", "score"], "epochs": 1},
            {"name": "sot", "samples": ["score"], "epochs": 1},
        ],
        "score_batch_size": 8,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.yaml").write_text(yaml.safe_dump(training))
    content = {
        "output": str(folder / "studies"),
        "seeds": [0, 1],
        "datasets": [{"name": "small", "train": [str(folder / "train.yaml")]}],
        "hierarchy": {"reference": "scores"},
        "sufficiency": {"lengths": [50, 100]},
        "generation": {"progress": [50, 100]},
    }
    path = folder / "studies.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path
