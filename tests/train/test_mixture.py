"""What a stage sees in an epoch, and in which order."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Painting, write_dataset
from artquant_plugin.data.ratings import PaintingRatings
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.train.config import load_config
from artquant_plugin.train.data import MixedSamples, Sample, load_training_data
from artquant_plugin.train.order import EpochSampler
from tests.train.runs import write_config, write_small


def samples(name: str, count: int) -> list[Sample]:
    return [Sample("score", f"{name}{number}", Path()) for number in range(count)]


def test_each_group_is_seen_as_often_as_its_weight_says_and_another_part_each_epoch():
    mixed = MixedSamples([(samples("a", 10), 1.0), (samples("b", 10), 2.5), (samples("c", 10), 0.3)], seed=1)
    seen: Counter[str] = Counter()
    epochs = []
    for epoch in range(200):
        mixed.set_epoch(epoch)
        counts = Counter(sample.painting_id for sample in mixed.samples)
        assert len(mixed) == 10 + 25 + 3
        assert all(counts[f"a{number}"] == 1 and counts[f"b{number}"] in (2, 3) for number in range(10))
        assert max(counts[f"c{number}"] for number in range(10)) == 1
        seen += counts
        epochs.append(tuple(sample.painting_id for sample in mixed.samples))
    assert len(set(epochs)) > 100
    # 200 draws of 3 of 10 without replacement: 60 each, standard deviation 6.5.
    assert all(35 < seen[f"c{number}"] < 85 for number in range(10))
    mixed.set_epoch(7)
    assert tuple(sample.painting_id for sample in mixed.samples) == epochs[7]


def test_the_order_is_every_sample_once_and_depends_on_seed_and_epoch_alone():
    torch.manual_seed(0)
    mixed = MixedSamples([(samples("a", 50), 1.0)], seed=0)
    sampler = EpochSampler(mixed, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        torch.rand(1)  # what else draws numbers does not matter
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] == orders[2] != orders[1]
    assert orders[0] != list(EpochSampler(mixed, seed=4))


def test_batches_hold_samples_of_like_length_when_grouped():
    lengths = np.random.default_rng(0).integers(1, 100, 203).tolist()
    mixed = MixedSamples([(samples("", 203), 1.0)], seed=0)
    sampler = EpochSampler(mixed, seed=0, batch_size=8, length=lambda sample: lengths[int(sample.painting_id)])
    order = list(sampler)
    assert sorted(order) == list(range(203))

    def padding(order: list[int]) -> int:
        batches = [[lengths[index] for index in order[at : at + 8]] for at in range(0, 203, 8)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    assert padding(order) < 0.2 * padding(list(EpochSampler(mixed, seed=0)))
    firsts = [lengths[order[at]] for at in range(0, 200, 8)]
    assert firsts != sorted(firsts) and firsts != sorted(firsts, reverse=True)  # no curriculum


def test_grouped_batches_mix_kinds_as_often_as_those_that_are_not():
    """Scores are shorter than any description: sorted together, steps would hold one kind each."""
    described = [Sample("describe", str(number), Path(), description="x" * (20 + number)) for number in range(120)]
    mixed = MixedSamples([(described, 1.0), (samples("", 120), 1.0)], seed=0)
    plain = list(EpochSampler(mixed, seed=2, batch_size=8))
    grouped = list(EpochSampler(mixed, seed=2, batch_size=8, length=lambda sample: len(sample.description or "x")))
    assert sorted(grouped) == list(range(240))

    def batches(order: list[int]) -> list[list[Sample]]:
        return [[mixed.samples[index] for index in order[at : at + 8]] for at in range(0, 240, 8)]

    def kinds(order: list[int]) -> Counter[tuple[str, ...]]:
        return Counter(tuple(sample.kind for sample in batch) for batch in batches(order))

    def padding(order: list[int]) -> int:
        lengths = [[len(sample.description) for sample in batch if sample.description] for batch in batches(order)]
        return sum(max(each) * len(each) - sum(each) for each in lengths if each)

    assert kinds(grouped) == kinds(plain)
    assert padding(grouped) < 0.2 * padding(plain)


def test_a_paintings_samples_meet_in_a_batch_when_they_share_its_image(tmp_path):
    data = write_small(tmp_path / "data", count=10, validation=0)
    material = load_training_data(load_config(write_config(tmp_path, data)))
    mixed = material.mixed(("describe", "score"), seed=0)
    sampler = EpochSampler(mixed, seed=0, share_images=True)
    orders = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(order) == list(range(20))
        for first, second in zip(order[::2], order[1::2], strict=True):
            assert mixed.samples[first].painting_id == mixed.samples[second].painting_id
        orders.append(order)
    assert orders[0] != orders[1]


def test_datasets_are_mixed_by_the_configuration(tmp_path):
    one = write_small(tmp_path / "one", count=12, validation=4, name="one")
    two = write_small(tmp_path / "two", count=20, validation=0, name="two")
    data = [str(one), {"name": str(two), "weight": 0.5}]
    material = load_training_data(load_config(write_config(tmp_path, one, data=data)))
    assert len(material.mixed(("describe", "score"), seed=0)) == 2 * (8 + 10)
    assert [len(paintings) for paintings in material.validation] == [4, 0]


def test_labels_follow_the_configuration(tmp_path):
    data = write_small(tmp_path / "data", count=6, validation=0)
    scores = [1 + 8 * (index % 5) / 4 for index in range(6)]

    def labels(**levels) -> np.ndarray:
        stages = [{"name": "s", "samples": ["score"], "epochs": 1}]
        material = load_training_data(load_config(write_config(tmp_path, data, levels=levels, stages=stages)))
        return np.array([sample.label for sample in material.samples["score"][0]])

    scale = LevelScale()
    assert np.array_equal(labels(), scale.soft_labels(scores))
    assert np.array_equal(labels(sigma=2.0), scale.soft_labels(scores, sigma=2.0))
    assert np.array_equal(labels(method="onehot"), scale.soft_labels(scores, "onehot"))
    expected = scale.soft_labels(scores, "gaussian", deviations=[0.7] * 6)
    assert np.array_equal(labels(method="gaussian", deviation=0.7), expected)


def test_deviations_may_be_an_attribute_of_the_paintings(tmp_path):
    folder = write_small(tmp_path / "data", count=2, validation=0)
    rows = [Painting(str(i), f"{i}.png", "", 4.0 + i, attributes={"std": 0.5 + i}) for i in range(2)]

    def made(rows, **levels) -> np.ndarray:
        write_dataset(
            folder, name="d", score_range=(0, 10), splits={"train": rows}, image_root=".", source="", license=""
        )
        stages = [{"name": "s", "samples": ["score"], "epochs": 1}]
        material = load_training_data(load_config(write_config(tmp_path, folder, levels=levels, stages=stages)))
        return np.array([sample.label for sample in material.samples["score"][0]])

    expected = LevelScale().soft_labels([4.0, 5.0], "gaussian", deviations=[0.5, 1.5])
    assert np.array_equal(made(rows, method="gaussian", deviation="std"), expected)
    rows[1] = Painting("1", "1.png", "", 5.0, attributes={"std": None})
    with pytest.raises(ArtQuantError, match="painting '1' has no attribute 'std'; set levels.deviation"):
        made(rows, method="gaussian", deviation="std")


def test_deviations_may_be_those_of_each_paintings_ratings(tmp_path):
    folder = write_small(tmp_path / "data", count=2, validation=0)
    ratings = [PaintingRatings((3.0, 5.0), (0, 1)), PaintingRatings((5.0, 5.0), (0, 1))]

    def made(ratings) -> np.ndarray:
        rows = [
            Painting(str(i), f"{i}.png", "", given.mean, rating_sd=given.deviation, raters=given.number)
            for i, given in enumerate(ratings)
        ]
        write_dataset(
            folder,
            name="d",
            score_range=(0, 10),
            splits={"train": rows},
            image_root=".",
            source="",
            license="",
            ratings={str(i): given for i, given in enumerate(ratings)},
        )
        levels = {"method": "gaussian", "deviation": "rating_sd"}
        stages = [{"name": "s", "samples": ["score"], "epochs": 1}]
        material = load_training_data(load_config(write_config(tmp_path, folder, levels=levels, stages=stages)))
        return np.array([sample.label for sample in material.samples["score"][0]])

    expected = LevelScale().soft_labels([4.0, 5.0], "gaussian", deviations=[2**0.5, 0.0])
    assert np.array_equal(made(ratings), expected)
    with pytest.raises(ArtQuantError, match="painting '1' has one rating alone, which has no standard deviation"):
        made([ratings[0], PaintingRatings((5.0,), (0,))])


def test_a_dataset_without_raters_has_no_deviations_of_ratings(tmp_path):
    data = write_small(tmp_path / "data", count=2, validation=0)
    levels = {"method": "gaussian", "deviation": "rating_sd"}
    stages = [{"name": "s", "samples": ["score"], "epochs": 1}]
    with pytest.raises(
        ArtQuantError, match="'0' has a score but no ratings of single people, so no rating_sd; import"
    ):
        load_training_data(load_config(write_config(tmp_path, data, levels=levels, stages=stages)))
