import math

import numpy as np
import pytest
from scipy import stats

from artquant_plugin.metrics.dependent_correlations import steiger_z, zou_interval


@pytest.mark.parametrize(
    ("a", "b", "between", "n", "z", "digits"),
    [
        # Steiger 1980, case A, p. 249. The paper rounds on the way and prints -.8913; -0.8887185 is what the R package
        # cocor 1.0 (Diedenhofen & Musch 2015) lists for it.
        (0.4, 0.5, 0.1, 103, -0.8887185, 7),
        # DEPCOR (Silver, Hittner & May 2006, Applied Psychological Measurement 30), as cocor's tests quote it.
        (0.3, 0.4, 0.5, 100, -1.0718, 4),
    ],
)
def test_steigers_z_is_that_of_published_examples(a, b, between, n, z, digits):
    assert round(steiger_z(a, b, between, n)[0], digits) == z
    assert steiger_z(b, a, between, n)[0] == pytest.approx(-steiger_z(a, b, between, n)[0])


def test_steigers_p_is_that_of_a_published_example():
    assert round(steiger_z(0.3, 0.4, 0.5, 100)[1], 4) == 0.2838  # DEPCOR


def test_zous_interval_is_that_of_its_paper():
    # Zou 2007, p. 409: overlapping correlations .396 and .179, .088 between the two, 66 persons.
    assert tuple(round(bound, 3) for bound in zou_interval(0.396, 0.179, 0.088, 66)) == (-0.093, 0.517)
    low, high = zou_interval(0.179, 0.396, 0.088, 66)
    assert (round(low, 3), round(high, 3)) == (-0.517, 0.093)


def test_zous_interval_covers_the_true_difference():
    # Of 400 samples with correlations .6 and .4 (.5 between the models), about 380 intervals hold the difference .2.
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky([[1, 0.6, 0.4], [0.6, 1, 0.5], [0.4, 0.5, 1]])
    covered = 0
    for _ in range(400):
        truth, a, b = root @ rng.normal(size=(3, 80))
        low, high = zou_interval(stats.pearsonr(truth, a)[0], stats.pearsonr(truth, b)[0], stats.pearsonr(a, b)[0], 80)
        covered += low < 0.2 < high
    assert 365 <= covered <= 395


@pytest.mark.parametrize("given", [(0.5, 0.4, 0.3, 3), (1.0, 0.4, 0.4, 50), (0.5, 0.5, 1.0, 50)])
def test_where_nothing_can_be_tested_there_is_no_number(given):
    assert all(math.isnan(value) for value in (*steiger_z(*given), *zou_interval(*given)))
