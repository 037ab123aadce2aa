import numpy as np
import pytest
from scipy import stats

from artquant_plugin.metrics.influence import pearson_influence, spearman_influence


def weighted_correlation(x, y, weights) -> float:
    weights = weights / weights.sum()
    x, y = x - weights @ x, y - weights @ y
    return (weights @ (x * y)) / np.sqrt((weights @ x**2) * (weights @ y**2))


def weighted_midranks(values, weights):
    return np.array([weights @ ((values < value) + 0.5 * (values == value)) for value in values])


def by_differences(correlation, n: int):
    """The influence of each pair: how a correlation of weighted pairs changes with the pair's weight."""
    step, found = 1e-5, []
    for index in range(n):
        more, less = np.ones(n), np.ones(n)
        more[index] += step
        less[index] -= step
        found.append(n * (correlation(more) - correlation(less)) / (2 * step))
    return found


@pytest.mark.parametrize("ties", [False, True])
def test_an_influence_value_is_the_derivative_by_the_pairs_weight(ties):
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    if ties:
        x, y = x.round(0), y.round(1)
    expected = by_differences(
        lambda weights: weighted_correlation(weighted_midranks(x, weights), weighted_midranks(y, weights), weights), 40
    )
    np.testing.assert_allclose(spearman_influence(x, y), expected, rtol=0, atol=1e-8)
    expected = by_differences(lambda weights: weighted_correlation(x, y, weights), 40)
    np.testing.assert_allclose(pearson_influence(x, y), expected, rtol=0, atol=1e-8)
    assert spearman_influence(x, y).sum() == pytest.approx(0, abs=1e-12)


def test_a_correlation_of_zero_has_influence_values_too():
    x, y = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    assert stats.spearmanr(x, y).statistic == 0
    expected = by_differences(
        lambda weights: weighted_correlation(weighted_midranks(x, weights), weighted_midranks(y, weights), weights), 6
    )
    np.testing.assert_allclose(spearman_influence(x, y), expected, rtol=0, atol=1e-8)
