"""The demo's paintings, and the demo itself from nothing to a table."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.demo.painting import CATEGORIES, LEVEL_VALUES, WEIGHTS, paint, write_demo
from artquant_plugin.metrics.agreement import plcc, srocc
from tests.paths import ROOT


@pytest.fixture(scope="module")
def paintings():
    return [paint(0, index) for index in range(600)]


def test_a_painting_depends_on_its_seed_and_index_alone():
    first, again, other = paint(3, 7), paint(3, 7), paint(3, 8)
    assert np.array_equal(first.image, again.image)
    assert (first.score, first.description) == (again.score, again.description)
    assert not np.array_equal(first.image, other.image)


def test_scores_fill_the_range_and_categories_are_even(paintings):
    scores = np.array([painting.score for painting in paintings])
    assert scores.min() >= 0 and scores.max() <= 10
    assert 4.5 < scores.mean() < 5.5 and scores.std() > 1.5
    counts = [sum(painting.category == category for painting in paintings) for category in CATEGORIES]
    assert min(counts) > 100


def test_the_score_follows_the_attributes_up_to_the_raters_noise(paintings):
    quality = [sum(WEIGHTS[name] * value for name, value in painting.attributes.items()) for painting in paintings]
    assert srocc(quality, [painting.score for painting in paintings]) > 0.97


def test_the_mean_colour_does_not_tell_the_score():
    def features(painting):
        return [1.0, *np.asarray(painting.image, dtype=float).reshape(-1, 3).mean(axis=0)]

    for seed in (0, 1, 2):
        painted = [paint(seed, index) for index in range(600)]
        x, y = np.array([features(p) for p in painted]), np.array([p.score for p in painted])
        weights = np.linalg.lstsq(x[:300], y[:300], rcond=None)[0]
        assert srocc(x[300:] @ weights, y[300:]) < 0.6


def test_descriptions_tell_every_attribute_in_words_and_never_the_score(paintings):
    for painting in paintings:
        assert list(painting.description) == ["perception", "cognition", "emotion"]
        assert not re.search(r"\d|score|rating", " ".join(painting.description.values()), re.IGNORECASE)
    best = max(paintings, key=lambda painting: painting.attributes["light"])
    worst = min(paintings, key=lambda painting: painting.attributes["light"])
    assert "light" in best.description["perception"]
    assert re.search("flat|no light", worst.description["perception"])


def test_a_set_that_was_painted_over_in_part_does_not_load(tmp_path, monkeypatch):
    write_demo(tmp_path, seed=0, train=2, validation=1, test=1, workers=1)
    monkeypatch.setattr("artquant_plugin.data.demo.painting.SIZE", 0)  # painting the second set fails
    with pytest.raises(ValueError):
        write_demo(tmp_path, seed=1, train=2, validation=1, test=1, workers=1)
    with pytest.raises(ArtQuantError, match="holds no dataset.json"):
        Dataset.load(tmp_path)


def test_the_dataset_is_the_same_for_any_number_of_workers(tmp_path):
    folders = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        write_demo(folder, seed=1, train=6, validation=2, test=3, workers=workers)
        folders.append(folder)
    for name in ("train.jsonl", "validation.jsonl", "test.jsonl", "dataset.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    dataset = Dataset.load(folders[0])
    assert {split: info.n for split, info in dataset.info.splits.items()} == {"train": 6, "validation": 2, "test": 3}
    assert dataset.info.level_values == LEVEL_VALUES
    assert dataset.image_path(dataset.split("test")[2]).is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "least"), [(0, 0.80), (1, 0.75), (2, 0.75)])
def test_the_demo_reaches_its_figures(seed, least, tmp_path):
    environment = os.environ | {"ARTQUANT_DATA": str(tmp_path)}
    artquant = Path(sys.executable).parent / "artquant"
    run = str(tmp_path / "run")
    for command in (
        ["data", "demo", "--seed", str(seed)],
        ["train", str(ROOT / "configs/demo.yaml"), "--set", f"seed={seed}", "--set", f"output={run}"],
    ):
        done = subprocess.run([artquant, *command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    from artquant_plugin.scoring.scorer import ArtQuantScorer

    dataset = Dataset.load(tmp_path / "artquant_demo")
    test = dataset.split("test")
    assert len(test) >= 300
    scores = ArtQuantScorer.from_pretrained(run, device="cpu", batch_size=32).score(
        [dataset.image_path(painting) for painting in test]
    )
    predictions, truths = [score.score for score in scores], [painting.score for painting in test]
    assert srocc(predictions, truths) >= least
    assert plcc(predictions, truths) >= least
