"""Writing what lmms-eval and other tools leave: folders of samples, prediction files, a dataset with pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from artquant_plugin.data.dataset import Dataset, Painting, write_dataset

DATE = "20260101_000000"


def write_paintings(folder: Path, count: int, *, name: str = "baid", **fields: Any) -> Dataset:
    """Write a dataset whose test split has plain pictures, two categories, one attribute, and texts with markup."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for index in range(count):
        score = round(1 + 8 * index / max(count - 1, 1), 3)
        colour = tuple(int(part) for part in rng.integers(40, 220, 3))
        Image.new("RGB", (60 + 40 * (index % 2), 80), colour).save(folder / "images" / f"p{index:04}.png")
        rows.append(
            Painting(
                id=f"p{index:04}",
                image=f"images/p{index:04}.png",
                sha256="",
                score=score,
                category=("portrait", "sea & sky")[index % 2],
                attributes={"color": None if index == 0 else score / 2},
                comment=f"comment {index} </script><script>window.hacked = 1</script>",
                description={"perception": f"seen {index}", "cognition": "known", "emotion": "<b>felt</b>"},
            )
        )
    train = [Painting(f"t{index}", f"t{index}.png", "", score) for index, score in enumerate((0.0, 5.0, 10.0))]
    return write_dataset(
        folder,
        name=name,
        score_range=(0, 10),
        splits={"train": train, "test": rows},
        image_root=".",
        source="made for a test",
        license="none",
        **fields,
    )


def write_samples(
    folder: Path,
    dataset: Dataset | str,
    predictions: Mapping[str, float | None],
    truths: Mapping[str, float],
    *,
    task: str = "baid",
    kind: str = "openai",
    replies: Mapping[str, str] | None = None,
    categories: Mapping[str, str] | None = None,
    date: str = DATE,
) -> Path:
    """Write a model's folder with samples and the results file beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    images: dict[str, str] = {}
    manifest = f"/gone/{dataset}/test.jsonl"
    if isinstance(dataset, Dataset):
        images = {row.id: str(dataset.image_path(row)) for row in dataset.split("test")}
        manifest = str(dataset.folder / "test.jsonl")
    lines = []
    for name, prediction in predictions.items():
        scored = {
            "id": name,
            "prediction": prediction,
            "reason": None if prediction is not None else "empty",
            "truth": truths[name],
            "category": (categories or {}).get(name),
            "levels": _levels((replies or {}).get(name, "")),
        }
        line: dict[str, Any] = {"scored": scored, "missing": 0, "filtered_resps": (replies or {}).get(name, "")}
        if name in images:
            line["input_media"] = [images[name]]
        lines.append(json.dumps(line) + "\n")
    (folder / f"{date}_samples_{task}.jsonl").write_text("".join(lines))
    content = {
        "model_name": folder.name,
        "lmms_eval_version": "0.7.3",
        "git_hash": "abc1234",
        "config": {"model": kind, "model_args": "model=x,note=<i>"},
        "configs": {
            task: {
                "dataset_kwargs": {"data_files": {"test": manifest}},
                "metadata": {"version": 1.0, "prompt": "plain-1"},
                "lmms_eval_specific_kwargs": {"prompt": "How good is it?"},
            }
        },
        "total_evaluation_time_seconds": "12.6",
    }
    (folder / f"{date}_results.json").write_text(json.dumps(content))
    return folder


def _levels(reply: str) -> dict[str, float] | None:
    return json.loads(reply).get("levels") if reply.startswith("{") else None


def write_csv(path: Path, rows: Sequence[tuple[str, object]]) -> Path:
    """Write a prediction file with a row per image."""
    path.write_text("image,prediction\n" + "".join(f"{image},{value}\n" for image, value in rows))
    return path
