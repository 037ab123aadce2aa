"""The label methods beside the paper's: DeQA's, Q-Align's, and Eq. 5 to the letter."""

import json
import math

import numpy as np
import pytest
from scipy.stats import norm

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting import soft_labels
from artquant_plugin.prompting.levels import LevelScale
from tests.paths import shared

ONE_TO_FIVE = LevelScale(values=(5.0, 4.0, 3.0, 2.0, 1.0))


def test_a_narrow_gaussian_keeps_the_score_where_levels_are_far_apart_and_close():
    scale = LevelScale(values=(100.0, 99.0, 3.0, 2.0, -50.0))
    scores = np.linspace(-50, 100, 997)
    for sigma in (0.01, 0.1, 5.0, 1000.0):
        labels = scale.soft_labels(scores, sigma=sigma)
        assert np.abs(scale.expectation(labels) - scores).max() <= 1e-9
        assert labels.min() >= 0
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-12)


def test_gaussian_labels_are_deqas():
    rows = json.loads(shared("parity/deqa/soft_labels.json").read_text())["cdf"]
    scores, deviations = (np.array([row[key] for row in rows]) for key in ("gt_score_norm", "std_norm"))
    found = ONE_TO_FIVE.soft_labels(scores, "gaussian", deviations=deviations)
    recorded = np.array([row["level_probs"] for row in rows])
    # At the middle of the scale DeQA's two equations are one, and its solver answers with equal shares for all levels.
    middle = scores == 3.0
    assert middle.sum() == 1
    np.testing.assert_allclose(recorded[middle], 0.2)
    np.testing.assert_allclose(found[~middle], recorded[~middle], atol=1e-7)


def test_gaussian_labels_in_the_middle_are_the_gaussians_own_mass():
    mass = norm.cdf([5.5, 4.5, 3.5, 2.5, 1.5], 3, 0.75) - norm.cdf([4.5, 3.5, 2.5, 1.5, 0.5], 3, 0.75)
    found = ONE_TO_FIVE.soft_labels([3.0], "gaussian", deviations=[0.75])
    np.testing.assert_allclose(found[0], mass / mass.sum(), rtol=1e-12)


def test_gaussian_labels_do_not_depend_on_the_unit():
    scores, deviations = np.linspace(1.1, 4.9, 77), np.full(77, 0.6)
    tenfold = LevelScale(values=(50.0, 40.0, 30.0, 20.0, 10.0))
    np.testing.assert_allclose(
        tenfold.soft_labels(scores * 10, "gaussian", deviations=deviations * 10),
        ONE_TO_FIVE.soft_labels(scores, "gaussian", deviations=deviations),
        atol=1e-12,
    )


def test_gaussian_labels_do_not_depend_on_the_zero_of_the_scale():
    # With a level whose value is 0, mass on it leaves labels @ values as it is; such rows once summed to 4.7.
    scores, deviations = np.linspace(1, 5, 401), np.full(401, 0.2)
    for shift in (-3.0, -1.0, -5.0, 100.0):
        moved = LevelScale(values=tuple(value + shift for value in ONE_TO_FIVE.values))
        np.testing.assert_allclose(
            moved.soft_labels(np.clip(scores + shift, moved.low, moved.high), "gaussian", deviations=deviations),
            ONE_TO_FIVE.soft_labels(scores, "gaussian", deviations=deviations),
            atol=1e-9,
        )


@pytest.mark.parametrize(
    "values",
    [
        (5.0, 4.0, 3.0, 2.0, 1.0),
        (10.0, 7.5, 5.0, 3.5, 1.0),
        (10.0, 7.5, 5.0, 2.5, 0.0),
        (2.0, 1.0, 0.0, -1.0, -2.0),
        (100.0, 99.0, 3.0, 2.0, -50.0),
        (10.0, 5.0, 4.9, 4.8, 0.0),
    ],
)
def test_gaussian_labels_sum_to_1_1_at_most_and_stay_near_the_score(values):
    scale = LevelScale(values=values)
    width = scale.high - scale.low
    scores = np.linspace(scale.low, scale.high, 2001)
    from_one = (np.array(values) - scale.low) / (width / 4) + 1  # the outermost levels count as 1 and 5
    for share in (0.001, 0.05, 0.15, 0.5, 2.0, 1e300):
        labels = scale.soft_labels(scores, "gaussian", deviations=np.full(scores.size, share * width))
        assert np.isfinite(labels).all()
        assert labels.min() >= 0
        assert labels.sum(axis=1).min() >= 1 - 1e-9
        assert labels.sum(axis=1).max() <= 1.1 + 1e-9
        wanted = (scores - scale.low) / (width / 4) + 1
        assert np.abs(labels @ from_one - wanted).max() <= 0.1 + 1e-9


def test_gaussian_labels_are_never_the_gaussian_upside_down():
    # N(40, 8) has nearly all of its mass in the region of 3, which reaches from 2.5 to 51. The values' mean, 30.8, is
    # between the mass's mean and the score, so that the linear correction would multiply the mass by a negative
    # number. The levels 99 and 3 share the score instead: 3 + 96 · 37/96 is 40.
    scale = LevelScale(values=(100.0, 99.0, 3.0, 2.0, -50.0))
    labels = scale.soft_labels([40.0], "gaussian", deviations=[8.0])
    np.testing.assert_allclose(labels, [[0, 37 / 96, 59 / 96, 0, 0]], atol=1e-12)


def test_a_score_on_which_raters_agree_is_shared_by_the_levels_next_to_it():
    found = ONE_TO_FIVE.soft_labels([3.25, 4.0, 1.0, 5.0], "gaussian", deviations=[0.1, 0.0, 0.1, 0.0])
    np.testing.assert_allclose(
        found, [[0, 0.25, 0.75, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]], atol=1e-12
    )


@pytest.mark.parametrize(
    ("deviations", "message"),
    [
        (None, "needs the raters' standard deviations, which the dataset lacks; use 'sbde'"),
        ([1.0], "1 standard deviations for 2 scores"),
        ([1.0, -0.5], "standard deviation -0.5 of score 4 is no number from 0"),
        ([1.0, math.nan], "standard deviation nan of score 4 is no number from 0"),
    ],
)
def test_gaussian_labels_need_deviations(deviations, message):
    with pytest.raises(ArtQuantError, match=message):
        ONE_TO_FIVE.soft_labels([3.0, 4.0], "gaussian", deviations=deviations)


def test_onehot_labels_cut_the_range_into_equal_parts():
    # [0, 10] in fifths: (8, 10] excellent, (6, 8] good, (4, 6] fair, (2, 4] poor, [0, 2] bad.
    scale = LevelScale(values=(10.0, 7.5, 5.0, 2.5, 0.0))
    labels = scale.soft_labels([0, 2, 2.01, 4, 6, 6.01, 8, 8.01, 10], "onehot")
    assert labels.argmax(axis=1).tolist() == [4, 4, 3, 3, 2, 1, 1, 0, 0]
    assert labels.sum(axis=1).tolist() == [1] * 9


def test_the_constrained_form_is_a_density_that_sums_to_one():
    scores = np.array([1.05, 4.95])
    labels, solved = soft_labels.sbde_constrained(np.array(ONE_TO_FIVE.values), scores)
    assert solved.all()
    np.testing.assert_allclose(labels @ np.array(ONE_TO_FIVE.values), scores, atol=1e-9)
    for row in labels:
        # A density p_i = exp(-(l_i - mu)² / 2s²) / (s sqrt(2 pi)): the logarithm's second difference is -1/s².
        width = math.sqrt(-1 / np.diff(np.log(row), 2)[0])
        mu = 2 + width**2 * np.log(row[2] / row[4]) / 2
        np.testing.assert_allclose(row, norm.pdf(ONE_TO_FIVE.values, mu, width), atol=1e-9)


def test_a_score_without_a_constrained_form_is_named():
    with pytest.raises(ArtQuantError, match=r"score 6.2 \(1 of 2 scores\) has no Gaussian whose density sums to 1"):
        LevelScale().soft_labels([7.5, 6.2], "sbde_constrained")
