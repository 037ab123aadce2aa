import math

import numpy as np
import pytest
from scipy import stats

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.paired_bootstrap import paired_bootstrap, two_sided_p


@pytest.mark.parametrize("ties", [False, True])
def test_every_model_has_scipys_correlations_on_the_same_resamples(ties):
    rng = np.random.default_rng(1)
    truth = rng.normal(size=200)
    models = np.stack([0.5 * truth + rng.normal(size=200), rng.normal(size=200), -truth])
    if ties:
        models, truth = models.round(1), truth.round(0)
    draws = paired_bootstrap(models, truth, resamples=150, seed=3)
    assert draws.shape == (150, 3, 2)
    order = np.argsort(truth, kind="stable")
    models, truth = models[:, order], truth[order]
    rng = np.random.default_rng(3)
    chosen = np.concatenate([rng.integers(0, 200, (count, 200), dtype=np.int32) for count in (128, 22)])
    for row, images in zip(draws, chosen, strict=True):
        for model, (rank, linear) in zip(models, row, strict=True):
            assert rank == pytest.approx(stats.spearmanr(model[images], truth[images]).statistic, abs=1e-12)
            assert linear == pytest.approx(stats.pearsonr(model[images], truth[images]).statistic, abs=1e-12)


def test_a_model_draws_the_same_whoever_stands_beside_it():
    rng = np.random.default_rng(0)
    models, truth = rng.normal(size=(3, 50)), rng.normal(size=50)
    alone = paired_bootstrap(models[1:2], truth, resamples=20, seed=5)[:, 0]
    np.testing.assert_allclose(paired_bootstrap(models, truth, resamples=20, seed=5)[:, 1], alone, rtol=0, atol=1e-12)


def test_a_constant_resample_has_no_correlation():
    draws = paired_bootstrap([[1.0, 2.0, 3.0]], [3.0, 1.0, 2.0], resamples=300, seed=0)
    constant = np.isnan(draws[:, 0, 0])
    assert constant.any() and not constant.all()
    np.testing.assert_array_equal(constant, np.isnan(draws[:, 0, 1]))


def test_p_counts_the_draws_beyond_zero():
    # 1 of 4 draws is on the other side: 2 · (1 + 1) / (4 + 1).
    assert two_sided_p([0.2, 0.1, 0.3, -0.1]) == pytest.approx(0.8)
    assert two_sided_p([-0.2, -0.1, -0.3, 0.1, math.nan]) == pytest.approx(0.8)
    # None is: as small as 1,999 resamples can tell, never zero.
    assert two_sided_p(np.full(1999, 0.1)) == pytest.approx(0.001)
    assert two_sided_p([0.0, 0.0]) == 1.0
    assert math.isnan(two_sided_p([math.nan]))


def test_shapes_that_do_not_fit_are_one_line():
    with pytest.raises(ArtQuantError, match=r"give shapes \(M, n\) and \(n,\)"):
        paired_bootstrap([1.0, 2.0], [1.0, 2.0], resamples=10, seed=0)
