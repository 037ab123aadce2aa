import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics import resampling
from artquant_plugin.metrics.agreement import bootstrap_agreement, evaluate, mae, plcc, rmse, srocc
from artquant_plugin.metrics.paired_bootstrap import paired_bootstrap
from artquant_plugin.metrics.resampling import LARGEST


def test_values_derived_by_hand():
    x, y = [1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 6.0]
    # Ranks 1234 and 1324: 1 - 6 · 2 / (4 · 15) = 0.8.
    # Deviations (-1.5, -.5, .5, 1.5) and (-2, 0, -1, 3): 7 / sqrt(5 · 14).
    assert srocc(x, y) == pytest.approx(0.8)
    assert plcc(x, y) == pytest.approx(7 / math.sqrt(70))
    assert mae(x, y) == pytest.approx(1.0)  # (0 + 1 + 1 + 2) / 4
    assert rmse(x, y) == pytest.approx(math.sqrt(1.5))  # (0 + 1 + 1 + 4) / 4


def test_ties_take_their_mean_rank():
    # Ranks (1.5, 1.5, 3) and (1, 2, 3): deviations (-.5, -.5, 1), (-1, 0, 1): 1.5 / sqrt(1.5 · 2).
    assert srocc([1, 1, 2], [1, 2, 3]) == pytest.approx(1.5 / math.sqrt(3))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=40))
def test_equal_to_scipy_with_many_ties(pairs):
    x, y = np.array(pairs, dtype=float).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return
    assert srocc(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert plcc(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("metric", [srocc, plcc])
@pytest.mark.parametrize(
    ("x", "message"),
    [([2.0, 2.0, 2.0], "all 3 predictions equal 2"), ([1.0, math.nan, math.inf], "2 of 3 predictions are not finite")],
)
def test_constant_and_nan_predictions_give_nan_with_a_warning(metric, x, message):
    with pytest.warns(UserWarning, match=message):
        assert math.isnan(metric(x, [1.0, 2.0, 3.0]))


def test_nan_predictions_are_not_dropped_by_evaluate():
    with pytest.warns(UserWarning, match="1 of 3 predictions"):
        scores = evaluate(["a", "b", "c"], [1.0, math.nan, 2.0], [1.0, 2.0, 3.0])
    assert scores.n == 3
    assert all(math.isnan(metric.value) for metric in (scores.srocc, scores.plcc, scores.mae, scores.rmse))


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_tiny_and_huge_values_do_not_leave_the_floats(scale):
    assert plcc(np.array([1, 2, 4]) * scale, [1, 2, 4]) == pytest.approx(1.0)


@pytest.mark.parametrize("ties", [False, True])
def test_the_bootstrap_equals_scipy_on_the_same_resamples(ties):
    rng = np.random.default_rng(1)
    x = rng.normal(size=300)
    y = 0.5 * x + rng.normal(size=300)
    if ties:
        x, y = x.round(1), y.round(0)
    draws = bootstrap_agreement(x, y, resamples=150, seed=3)
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    rng = np.random.default_rng(3)
    chosen = np.concatenate([rng.integers(0, 300, (n, 300), dtype=np.int32) for n in (128, 22)])
    for row, images in zip(draws, chosen, strict=True):
        a, b = x[images], y[images]
        expected = (
            stats.spearmanr(a, b).statistic,
            stats.pearsonr(a, b).statistic,
            np.abs(a - b).mean(),
            np.sqrt(((a - b) ** 2).mean()),
        )
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-12)


def test_a_resample_that_is_constant_has_no_correlation_and_spoils_no_interval():
    draws = bootstrap_agreement([1.0, 2.0, 3.0], [3.0, 1.0, 2.0], resamples=500, seed=0)
    constant = np.isnan(draws[:, 0])
    assert constant.any() and not constant.all()
    np.testing.assert_array_equal(constant, np.isnan(draws[:, 1]))
    assert np.nanquantile(draws[:, 0], 0.025) == -1.0
    # Of 12 predictions, 9 are equal: (9 / 12) ** 12 = 3 % of the resamples hold nothing else.
    x = np.array([1.0] * 9 + [2.0, 3.0, 4.0])
    scores = evaluate([f"{index:02}" for index in range(12)], x, np.arange(12.0))
    assert -1 <= scores.srocc.low < scores.srocc.value < scores.srocc.high <= 1


def test_the_order_of_the_documents_does_not_matter():
    rng = np.random.default_rng(0)
    ids = [f"p{index}" for index in range(200)]
    x, y = rng.normal(size=(2, 200)).round(1)
    shuffled = rng.permutation(200)
    again = evaluate([ids[index] for index in shuffled], x[shuffled], y[shuffled])
    assert evaluate(ids, x, y) == again


def test_the_interval_covers_the_value_and_narrows_with_n():
    rng = np.random.default_rng(0)
    widths = []
    for n in (50, 5000):
        x = rng.normal(size=n)
        scores = evaluate([str(index) for index in range(n)], x, x + rng.normal(size=n), resamples=400)
        assert scores.srocc.low < scores.srocc.value < scores.srocc.high
        widths.append(scores.srocc.high - scores.srocc.low)
    assert widths[1] < widths[0] / 5  # by sqrt(100) in expectation


def test_without_resamples_there_is_no_interval_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(evaluate(["a", "b"], [1, 2], [1, 2], resamples=0).srocc.low)


@pytest.mark.parametrize(
    ("ids", "x", "y", "message"),
    [
        (["a"], [1.0, 2.0], [1.0, 2.0], "1 ids for 2 pairs"),
        (["a", "a"], [1.0, 2.0], [1.0, 2.0], "'a' occurs twice"),
        ([], [], [], "no pair"),
        (["a"], [1.0], [1.0, 2.0], "two lists of the same length"),
    ],
)
def test_wrong_input_is_one_line(ids, x, y, message):
    with pytest.raises(ArtQuantError, match=message):
        evaluate(ids, x, y)


RNG = np.random.default_rng(7)
HUMAN = RNG.uniform(0, 10, 60)
LIKE = HUMAN + RNG.normal(size=60)
EXTREMES = {
    "as people do": LIKE,
    "a huge offset": LIKE + 1e15,
    "a huge negative offset": -1e15 - LIKE,
    "the last digits alone": 5 + np.round(LIKE) * 2.0**-50,
    "denormal numbers": np.round(LIKE * 10) * 5e-324,
    "near the largest float": LIKE * 1e307,
    "both ends of the floats": np.sign(LIKE - 5) * 1.7e308 * RNG.uniform(0.9, 1, 60),
    "some near the largest float": np.where(np.arange(60) % 7 == 0, 1e300, LIKE),
    "an outlier": np.append(LIKE[:-1], 1e9),
    "an outlier whose square is no float": np.append(LIKE[:-1], -1e200),
    "an outlier beside denormal numbers": np.append(LIKE[:-1] * 1e-310, 1e308),
}


def exact_pearson(x, y) -> float:
    """Pearson's correlation in rational numbers, rounded once."""
    x, y = [Fraction(float(value)) for value in x], [Fraction(float(value)) for value in y]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    product = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    square = product**2 / (sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y))
    return math.copysign(math.sqrt(square), 1 if product > 0 else -1)


@pytest.mark.parametrize("x", EXTREMES.values(), ids=list(EXTREMES))
def test_plcc_is_that_of_exact_arithmetic_in_the_data_and_in_every_resample(x):
    assert plcc(x, HUMAN) == pytest.approx(exact_pearson(x, HUMAN), abs=1e-13)
    assert plcc(HUMAN, x) == pytest.approx(exact_pearson(x, HUMAN), abs=1e-13)
    draws = bootstrap_agreement(x, HUMAN, resamples=20, seed=1)
    paired = paired_bootstrap(np.stack([LIKE, x]), HUMAN, resamples=20, seed=1)[:, 1, 1]
    by_prediction, by_truth = np.argsort(x, kind="stable"), np.argsort(HUMAN, kind="stable")
    for row, images in enumerate(np.random.default_rng(1).integers(0, 60, (20, 60), dtype=np.int32)):
        drawn = by_prediction[images]
        assert draws[row, 1] == pytest.approx(exact_pearson(x[drawn], HUMAN[drawn]), abs=1e-11)
        drawn = by_truth[images]
        assert paired[row] == pytest.approx(exact_pearson(x[drawn], HUMAN[drawn]), abs=1e-11)


@pytest.mark.parametrize("x", EXTREMES.values(), ids=list(EXTREMES))
def test_every_value_lies_in_its_interval(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = evaluate([f"{index:02}" for index in range(60)], x, HUMAN, resamples=300)
    for metric in (scores.srocc, scores.plcc, scores.mae, scores.rmse):
        assert metric.low <= metric.value <= metric.high or metric.value == math.inf


@given(st.integers(10, 25), st.integers(0, 10**6))
def test_the_value_of_data_with_few_different_values_lies_in_its_interval(n, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, rng.integers(2, 5), n) + 0.0, rng.integers(0, rng.integers(2, 8), n) + 0.0
    if np.ptp(x) and np.ptp(y):
        scores = evaluate([f"{index:02}" for index in range(n)], x, y, resamples=200)
        for metric in (scores.srocc, scores.plcc, scores.mae, scores.rmse):
            assert math.isnan(metric.low) or metric.low <= metric.value <= metric.high


def test_a_perfect_correlation_has_an_interval_that_holds_it():
    x = np.arange(30) / 7
    scores = evaluate([f"{index:02}" for index in range(30)], x, 3 * x + 0.1)
    assert scores.srocc.low == scores.srocc.value == scores.srocc.high == 1.0
    assert scores.plcc.low <= scores.plcc.value <= scores.plcc.high


@pytest.mark.parametrize("n", [2, 3, 9])
def test_too_few_pairs_have_no_interval_and_say_so(n):
    scores = evaluate([str(index) for index in range(n)], np.arange(n), np.arange(n) ** 2)
    assert scores.too_few
    assert scores.srocc.value == 1.0
    assert all(math.isnan(metric.low) for metric in (scores.srocc, scores.plcc, scores.mae, scores.rmse))
    assert scores.cautions == (f"{n} pairs are too few for intervals and tests, which take 10 or more",)


def test_ten_pairs_are_enough():
    scores = evaluate([str(index) for index in range(10)], np.arange(10), np.arange(10) ** 2)
    assert not scores.too_few and not scores.cautions and scores.plcc.low < scores.plcc.high


def test_where_one_value_differs_there_is_no_interval():
    # The one is in (1 - 1 / 12) ** 12 = 35 % of the resamples not drawn.
    x = np.array([5.0] * 11 + [6.0])
    scores = evaluate([f"{index:02}" for index in range(12)], x, np.arange(12.0))
    assert math.isnan(scores.srocc.low) and math.isnan(scores.plcc.low) and scores.mae.low < scores.mae.high
    assert "PLCC and its interval rest on '11', whose prediction 6 has 92 %" in scores.cautions[0]
    assert "more than 5 % of the resamples" in scores.cautions[1]


def test_an_outlier_is_named():
    ids = [f"p{index}.png" for index in range(60)]
    # An outlier is n - 1 times as far from the mean as the others: its share is 1 - 1 / n.
    (caution,) = evaluate(ids, EXTREMES["an outlier"], HUMAN, resamples=0).cautions
    assert caution.startswith("PLCC and its interval rest on 'p59.png', whose prediction 1e+09 has 98 % of the")
    truth = np.append(HUMAN[:-1], 1e9)
    (caution,) = evaluate(ids, LIKE, truth, resamples=0).cautions
    assert "'p59.png', whose human score 1e+09" in caution
    assert not evaluate(ids, LIKE, HUMAN, resamples=0).cautions


def test_predictions_that_differ_by_rounding_alone_are_called_so():
    ids = [f"{index:02}" for index in range(60)]
    (caution,) = evaluate(ids, EXTREMES["the last digits alone"], HUMAN, resamples=0).cautions
    assert caution.startswith("the predictions differ in their last digits alone, from 4.99")


def test_rmse_of_errors_whose_squares_are_no_floats():
    assert rmse([3e200, 4e200], [0, 0]) == pytest.approx(math.sqrt(12.5) * 1e200)
    assert rmse([3e-200, 4e-200], [0, 0]) == pytest.approx(math.sqrt(12.5) * 1e-200, rel=1e-12)
    assert rmse([1.0], [1.0]) == 0.0
    # In the resamples without the outlier, in 37 % of all, the root is that of the others: about 1.
    scores = evaluate([f"{i:02}" for i in range(60)], EXTREMES["an outlier whose square is no float"], HUMAN)
    assert 0.5 < scores.rmse.low < 1.5


def test_intervals_of_large_data_are_those_of_the_bootstrap():
    rng = np.random.default_rng(0)
    n = LARGEST + 1
    x = rng.normal(size=n).round(1)
    y = (x + rng.normal(size=n)).round(1)
    scores = evaluate([f"{index:05}" for index in range(n)], x, y)
    draws = bootstrap_agreement(x, y, resamples=300, seed=0)
    for metric, drawn in zip((scores.srocc, scores.plcc, scores.mae, scores.rmse), draws.T, strict=True):
        # The standard deviation of 300 draws has a standard error of 4 %.
        assert (metric.high - metric.low) / (2 * 1.96) == pytest.approx(drawn.std(), rel=0.15)
        assert metric.low < metric.value < metric.high


def test_how_many_resamples_are_drawn_at_once_changes_nothing(monkeypatch):
    before = bootstrap_agreement(LIKE, HUMAN, resamples=20, seed=0)
    monkeypatch.setattr(resampling, "CHUNK_COUNTS", 1)
    np.testing.assert_allclose(bootstrap_agreement(LIKE, HUMAN, resamples=20, seed=0), before, rtol=0, atol=1e-12)
