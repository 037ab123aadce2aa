"""A small dataset and configurations for whole runs."""

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from artquant_plugin.data.dataset import Painting, write_dataset
from tests.tiny import pictures

TEXT = {"perception": "Warm reds.", "cognition": "A harbour.", "emotion": "Calm."}
TINY = {"tiny": {"image_size": 32, "hidden": 32, "vision_layers": 1, "text_layers": 1, "heads": 2}}
LORA = {
    "language": {"method": "lora", "learning_rate": 5e-3},
    "vision": {"method": "full"},
    "projector": {"method": "full", "learning_rate": 2e-3},
    "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
}


def write_small(folder: Path, *, count: int = 24, validation: int = 8, name: str = "small") -> Path:
    """Paintings of noise with a description each; `count` of them, the last ones for validation."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, image in enumerate(pictures(count)):
        image.save(folder / f"{index}.png")
        text = TEXT | {"emotion": "Calm. " * (1 + index % 4)}
        rows.append(Painting(str(index), f"{index}.png", "", 1 + 8 * (index % 5) / 4, description=text))
    splits = {"train": rows[: count - validation], "validation": rows[count - validation :]}
    splits = {split: found for split, found in splits.items() if found}
    write_dataset(
        folder, name=name, score_range=(0, 10), splits=splits, image_root=".", source="made up", license="CC0"
    )
    return folder


def write_config(folder: Path, small: Path, /, **changes: Any) -> Path:
    """A configuration of two stages on a dataset; `train` is merged, other keys are replaced."""
    content = {
        "data": [str(small)],
        "output": str(folder / "run"),
        "model": TINY,
        "train": {
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "report_to": [],
            **changes.pop("train", {}),
        },
        "stages": [
            {"name": "mat", "samples": ["describe", "score"], "epochs": 1},
            {"name": "sot", "samples": ["score"], "epochs": 1},
        ],
        "score_batch_size": 8,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All weights that a checkpoint's folder holds."""
    return {
        f"{path.name}:{name}": value
        for path in sorted(folder.glob("*.safetensors"))
        for name, value in load_file(path).items()
    }


def same(first: Path, second: Path) -> bool:
    """Whether two checkpoints hold the same weights, bit for bit."""
    one, other = weights(first), weights(second)
    return bool(one) and set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)
