"""Statistics of repeated runs, against values that were derived by hand."""

import math

import numpy as np
import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.agreement import plcc, srocc
from artquant_plugin.metrics.paired_bootstrap import paired_bootstrap
from artquant_plugin.metrics.pairwise_comparisons import Difference
from artquant_plugin.metrics.repeated_runs import (
    RepeatedModel,
    Spread,
    compare_with_reference,
    corrected,
    fit_line,
    mean_correlations,
    spread,
)


def test_mean_and_sample_standard_deviation():
    found = spread([0.80, 0.84, 0.88])  # deviations -0.04, 0, 0.04: 0.0032 / 2 = 0.0016, whose root is 0.04
    assert (found.mean, found.sd) == pytest.approx((0.84, 0.04))
    assert found.values == (0.80, 0.84, 0.88)
    assert math.isnan(spread([0.5]).sd)


def test_each_run_counts_by_its_own_correlation():
    """Ranks 1, 2, 3, 4 against 1, 2, 4, 3 correlate by 1 - 6 · 2 / (4 · 15) = 0.8; the mean of 1 and 0.8 is 0.9."""
    truth = [1, 2, 3, 4]
    runs = [[[1, 2, 3, 4], [1, 2, 4, 3]], [[4, 3, 2, 1], [4, 3, 2, 1]]]
    better, reference = compare_with_reference(runs, truth, 1)
    assert (better.srocc.mean, reference.srocc.mean) == pytest.approx((0.9, -1))
    assert better.srocc.sd == pytest.approx(0.2 / math.sqrt(2))
    assert better.srocc_difference.value == pytest.approx(1.9)
    assert reference.srocc_difference is None
    assert math.isnan(better.srocc_difference.p)  # four images are too few for a test


def test_resamples_are_those_of_the_paired_bootstrap():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    runs = truth + rng.normal(size=(2, 3, 40)) * np.array([0.3, 2.0])[:, None, None]
    draws = mean_correlations(runs, truth, resamples=200, seed=3)
    alone = paired_bootstrap(runs.reshape(6, 40), truth, resamples=200, seed=3)
    assert draws[:, 1] == pytest.approx((alone[:, 3] + alone[:, 4] + alone[:, 5]) / 3)
    good, bad = compare_with_reference(runs, truth, 1, resamples=200, seed=3)
    difference = good.srocc_difference
    expected = np.mean([srocc(run, truth) for run in runs[0]]) - np.mean([srocc(run, truth) for run in runs[1]])
    assert difference.value == pytest.approx(expected)
    assert difference.low < difference.value < difference.high
    assert difference.p == pytest.approx(2 / 201)  # none of 200 resamples lies on the other side of zero
    assert good.plcc.mean == pytest.approx(np.mean([plcc(run, truth) for run in runs[0]]))


def test_holm_over_all_differences_of_a_study():
    """p of 0.01, 0.04 and 0.03 become 3 · 0.01, then 2 · 0.03, then the larger of 0.06 and 0.04."""
    nothing = Spread(0, 0, (0, 0))

    def row(p: float) -> RepeatedModel:
        return RepeatedModel(nothing, nothing, Difference(0, 0, 0, 0, 0, p), Difference(0, 0, 0, 0, 0, math.nan))

    found = corrected(
        [RepeatedModel(nothing, nothing), row(0.01), row(0.04), RepeatedModel(nothing, nothing), row(0.03)]
    )
    assert [each.srocc_difference.p_holm for each in found if each.srocc_difference] == pytest.approx(
        [0.03, 0.06, 0.06]
    )
    assert found[0].srocc_difference is None
    assert all(math.isnan(each.plcc_difference.p_holm) for each in found if each.plcc_difference)


def test_a_line_through_points():
    """x 1, 2, 3 and y 2, 3, 7: slope (-1 · -2 + 1 · 3) / 2 = 2.5; r = 5 / sqrt(2 · 14)."""
    line = fit_line([1, 2, 3], [2, 3, 7], [[2, 3, 7], [2, 3, 7]])
    assert line.slope == pytest.approx(2.5)
    assert line.r == pytest.approx(5 / math.sqrt(28))
    assert (line.low, line.high) == pytest.approx((2.5, 2.5))
    assert math.isnan(fit_line([1, 2], [3, 3]).r)


def test_predictions_of_another_shape_are_refused():
    with pytest.raises(ArtQuantError, match=r"shape \(1, 3\); give one of \(models, runs, images\)"):
        mean_correlations([[1, 2, 3]], [1, 2, 3])
