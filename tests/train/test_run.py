"""A training run in miniature, from a dataset on the disk to a checkpoint that scores."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
import yaml

from artquant_plugin.checkpoint import ScoringSpec
from artquant_plugin.dataset import Painting, write_dataset
from artquant_plugin.errors import ArtQuantError
from artquant_plugin.scoring import ArtQuantScorer
from artquant_plugin.train.config import load_config
from artquant_plugin.train.run import train
from tests.tiny import pictures

TEXT = {"perception": "Warm reds.", "cognition": "A harbour.", "emotion": "Calm."}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "small"
    rows = []
    for index, image in enumerate(pictures(24)):
        folder.mkdir(exist_ok=True)
        image.save(folder / f"{index}.png")
        rows.append(Painting(str(index), f"{index}.png", "", 1 + 8 * (index % 5) / 4, description=TEXT))
    splits = {"train": rows[:16], "validation": rows[16:]}
    write_dataset(
        folder, name="small", score_range=(0, 10), splits=splits, image_root=".", source="made up", license="CC0"
    )
    return folder


def config_file(folder: Path, data: Path, **changes) -> Path:
    content = {
        "data": [str(data)],
        "output": str(folder / "run"),
        "model": {"tiny": {"image_size": 32, "hidden": 32, "vision_layers": 1, "text_layers": 1, "heads": 2}},
        "train": {"per_device_train_batch_size": 8, "learning_rate": 1e-3, "logging_steps": 1},
        "stages": [
            {"name": "mat", "samples": ["describe", "score"], "epochs": 1},
            {"name": "sot", "samples": ["score"], "epochs": 1},
        ],
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    return train(load_config(config_file(folder, data))).output


def test_a_run_leaves_a_checkpoint_that_scores(finished):
    result = ArtQuantScorer.from_pretrained(str(finished), device="cpu").score(pictures(1))[0]
    assert 1 <= result.score <= 10
    assert ScoringSpec.load(finished) == ScoringSpec()


def test_the_curves_hold_the_loss_and_its_parts_of_every_step(finished):
    with (finished / "training-curves.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    steps = [line for line in lines if line["loss"]]
    assert [line["stage"] for line in steps] == ["mat"] * 4 + ["sot"] * 2  # 32 samples, then 16, in batches of 8
    for line in steps:
        parts = [float(line[name] or 0) for name in ("ce_description", "ce_answer", "kl")]
        assert float(line["loss"]) == pytest.approx(sum(parts), rel=1e-3)
    assert not steps[-1]["ce_description"]
    assert [line["stage"] for line in lines if line["eval_srocc"]] == ["mat", "sot"]


def test_the_record_tells_what_was_trained_with_what(finished, data):
    record = json.loads((finished / "training.json").read_text())
    assert record["config"]["data"] == [{"name": str(data), "weight": 1.0}]
    assert set(record["data"]) == {"small"}
    assert {"torch", "transformers", "python"} <= set(record["versions"])
    again = load_config(finished / "config.train.yaml")
    assert again.model_dump(mode="json") == record["config"]


def test_a_finished_run_is_not_trained_over_unless_asked(finished, data, tmp_path):
    path = config_file(tmp_path, data, output=str(finished))
    with pytest.raises(ArtQuantError, match="holds a finished checkpoint; pass --overwrite or another output"):
        train(load_config(path))


def test_training_over_a_checkpoint_that_fails_leaves_it_and_every_other_file(data, tmp_path):
    output = train(load_config(config_file(tmp_path, data))).output
    (output / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}
    path = config_file(tmp_path, data, train={"learning_rate": 1e30, "per_device_train_batch_size": 2})
    with pytest.raises(ArtQuantError, match="the loss became"):
        train(load_config(path), overwrite=True)
    assert {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()} == before
    train(load_config(config_file(tmp_path, data, seed=1)), overwrite=True)
    assert (output / "notes.txt").read_text() == "mine"
    assert json.loads((output / "training.json").read_text())["config"]["seed"] == 1
    assert (output / "model.safetensors").read_bytes() != before["model.safetensors"]


def test_the_same_seed_gives_the_same_weights(finished, data, tmp_path):
    from safetensors.torch import load_file

    again = train(load_config(config_file(tmp_path, data))).output
    before, after = (load_file(folder / "model.safetensors") for folder in (finished, again))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_goes_on_from_a_checkpoint(finished, data, tmp_path):
    path = config_file(
        tmp_path,
        data,
        model={"pretrained": str(finished)},
        stages=[{"name": "sot", "samples": ["score"], "epochs": 1}],
    )
    scores = [
        ArtQuantScorer.from_pretrained(str(folder), device="cpu").score(pictures(1))[0].score
        for folder in (finished, train(load_config(path)).output)
    ]
    assert math.isfinite(scores[1])
    assert scores[0] != scores[1]


def test_a_loss_that_is_not_finite_stops_the_run(data, tmp_path):
    path = config_file(tmp_path, data, train={"learning_rate": 1e30, "per_device_train_batch_size": 2})
    with pytest.raises(ArtQuantError, match="the loss became .* lower train.learning_rate"):
        train(load_config(path))
    assert not (tmp_path / "run" / "artquant.json").exists()


def test_descriptions_that_are_not_there_are_missed_at_once(data, tmp_path):
    bare = tmp_path / "bare"
    rows = [Painting("0", "0.png", "", 5.0)]
    write_dataset(
        bare, name="bare", score_range=(0, 10), splits={"train": rows}, image_root=str(data), source="", license=""
    )
    with pytest.raises(ArtQuantError, match="has no descriptions; train with stages of `samples: .score.`"):
        train(load_config(config_file(tmp_path, bare)))


def test_scores_outside_the_levels_are_refused_before_training(data, tmp_path):
    path = config_file(tmp_path, data, levels={"values": [5, 4, 3, 2, 1]})
    with pytest.raises(ArtQuantError, match=r"outside the levels' range \[1, 5\]"):
        train(load_config(path))
