import math

import numpy as np
import pytest

from artquant_plugin.data.dataset import DatasetInfo, SplitInfo
from artquant_plugin.metrics.agreement import plcc, srocc
from artquant_plugin.report.analysis import accuracy, analyse, calibration, split_shift
from artquant_plugin.report.boards import read_boards
from artquant_plugin.report.model_predictions import PredictionColumns
from artquant_plugin.report.prediction_sources import parse_prediction_source
from tests.report.results import write_csv, write_paintings, write_samples


@pytest.fixture
def analysis(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    dataset = write_paintings(tmp_path / "baid", 20)
    truths = {row.id: row.score for row in dataset.split("test")}
    rng = np.random.default_rng(0)
    noisy: dict[str, float | None] = {
        name: float(np.clip(t + n, 0, 10)) for (name, t), n in zip(truths.items(), rng.normal(size=20), strict=True)
    }
    noisy["p0000"] = noisy["p0019"] = None
    write_samples(tmp_path / "r" / "noisy", dataset, noisy, truths)
    other_scale = write_csv(tmp_path / "pyiqa.csv", [(name, 100 * t) for name, t in truths.items()])
    (board,) = read_boards(
        [parse_prediction_source(str(tmp_path / "r")), parse_prediction_source(str(other_scale))], PredictionColumns()
    )
    return analyse(board, resamples=50, pair_resamples=50)


def test_failures_are_shown_in_two_figures(analysis):
    one = analysis.evaluations[0]
    board = analysis.board
    row = board.matrix()[0]
    known = ~np.isnan(row)
    assert (one.agreement.n, one.failed) == (18, 2)
    assert one.agreement.srocc.value == pytest.approx(srocc(row[known], board.truth[known]))
    filled = np.where(known, row, np.median(row[known]))
    assert one.srocc_all == pytest.approx(srocc(filled, board.truth))
    assert one.plcc_all == pytest.approx(plcc(filled, board.truth))
    assert one.srocc_all < one.agreement.srocc.value


def test_predictions_on_another_scale_have_no_errors(analysis):
    noisy, other = analysis.evaluations
    assert noisy.on_scale and noisy.accuracy is not None
    assert not other.on_scale and other.accuracy is None
    assert other.agreement.srocc.value == pytest.approx(1.0)
    assert math.isnan(other.srocc_all)  # nothing is missing


def test_groups(analysis):
    assert analysis.categories.groups == ["portrait", "sea & sky"]
    assert analysis.categories.sizes == [10, 10]
    board, row = analysis.board, analysis.board.matrix()[0]
    own = np.arange(20) % 2 == 0
    own[0] = False  # p0000 has no score
    figures = analysis.categories.figures[0][0]
    assert figures.n == 9
    assert figures.srocc == pytest.approx(srocc(row[own], board.truth[own]))
    assert figures.bias == pytest.approx((row[own] - board.truth[own]).mean())
    assert figures.mae == pytest.approx(np.abs(row[own] - board.truth[own]).mean())
    # Scores from 1 to 9 in bands of 2: 9 - 1 over 19 steps of 8 / 19.
    assert analysis.bands.groups == ["0 to 2", "2 to 4", "4 to 6", "6 to 8", "8 to 10"]
    assert analysis.bands.sizes == [3, 5, 4, 5, 3]
    assert analysis.attributes.groups == ["color"]
    assert analysis.attributes.sizes == [19]  # one painting has no such score
    assert analysis.attributes.figures[1][0].srocc == pytest.approx(1.0)
    assert math.isnan(analysis.attributes.figures[1][0].bias)


def test_a_group_of_two_has_no_correlation(analysis):
    for model in analysis.bands.figures:
        for figures in model:
            assert math.isnan(figures.srocc) == (figures.n < 3)


def test_calibration_does_not_part_equal_predictions():
    rng = np.random.default_rng(0)
    predictions, truth = rng.integers(4, 7, 300), rng.normal(5, 1, 300)
    bins = calibration(predictions, truth)
    assert [mean for mean, _, _ in bins] == [4.0, 5.0, 6.0]
    for mean, people, count in bins:
        own = predictions == mean
        assert (people, count) == (pytest.approx(truth[own].mean()), own.sum())
    assert [count for _, _, count in calibration(np.arange(100), np.arange(100))] == [10] * 10


def test_accuracy_stands_beside_the_majority_class():
    # Above 5: people 1, 0, 0, 0; model 1, 1, 0, 0. Always "not above" is right on three.
    found = accuracy([6, 7, 4, 5], [6, 5, 4, 3], 5.0)
    assert (found.share, found.majority) == (0.75, 0.75)


def info(train, test) -> DatasetInfo:
    splits = {
        name: SplitInfo(n=n, mean=mean, median=mean, variance=sd**2)
        for name, (n, mean, sd) in {"train": train, "test": test}.items()
    }
    return DatasetInfo("x", (0, 10), ".", splits, "", "")


def test_a_test_split_unlike_the_training_split_is_said_so():
    # BAID's own statistics.
    text = split_shift(info((50737, 4.571, 1.646), (6400, 4.717, 0.607)))
    assert "(mean 4.72, standard deviation 0.61, n = 6,400)" in text
    assert "(mean 4.57, standard deviation 1.65, n = 50,737)" in text
    assert split_shift(info((50737, 4.571, 1.646), (6400, 4.717, 1.6))) == ""
    assert split_shift(info((100, 4.0, 1.0), (100, 4.5, 1.0))) != ""
    assert split_shift(None) == ""
