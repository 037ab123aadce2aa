import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.agreement import bootstrap, evaluate, mae, plcc, rmse, srocc


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
    draws = bootstrap(x, y, resamples=150, seed=3)
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
    draws = bootstrap([1.0, 2.0, 3.0], [3.0, 1.0, 2.0], resamples=500, seed=0)
    constant = np.isnan(draws[:, 0])
    assert constant.any() and not constant.all()
    np.testing.assert_array_equal(constant, np.isnan(draws[:, 1]))
    scores = evaluate(["a", "b", "c"], [1.0, 2.0, 3.0], [3.0, 1.0, 2.0])
    assert scores.srocc.low == -1.0


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
