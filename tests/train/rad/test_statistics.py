"""A score's place among others, worked out by hand."""

import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Painting
from artquant_plugin.train.rad.statistics import Statistics, statistics_by_split


def paintings(*scores):
    return [Painting(str(score), f"{score}.jpg", "", score) for score in scores]


def test_mean_median_variance_and_percentiles():
    told = Statistics.of([9.0, 8.0, 8.0, 9.0, 6.0])
    assert (told.mean, told.median, told.variance) == (8.0, 8.0, pytest.approx(6 / 5))  # (1 + 0 + 0 + 1 + 4) / 5
    # A high number that is the lowest of its collection is in the lowest place: half of its own fifth.
    assert told.percentile(6.0) == 10.0
    assert told.percentile(8.0) == 40.0  # one of five is lower, two are equal and count half
    assert told.percentile(10.0) == 100.0


def test_by_default_no_test_score_is_told():
    splits = {"train": paintings(2.0, 4.0), "test": paintings(9.0)}
    assert statistics_by_split(splits, "train")["test"].mean == 3.0
    assert statistics_by_split(splits, "split")["test"].mean == 9.0
    assert statistics_by_split(splits, "dataset")["train"].mean == 5.0


def test_without_a_training_split_all_scores_are_told():
    assert statistics_by_split({"test": paintings(2.0, 4.0)}, "train")["test"].mean == 3.0


def test_an_empty_dataset_is_an_error():
    with pytest.raises(ArtQuantError, match="no paintings"):
        statistics_by_split({"train": []}, "train")
