import numpy as np
import pytest
from scipy.optimize import minimize

from artquant_plugin.metrics.agreement import plcc
from artquant_plugin.metrics.logistic_mapping import fit_logistic, logistic


def test_the_function_by_hand():
    # In the middle it is the mean of both ends; ln 3 widths above it, three quarters of the way up: 2 + 6 · 3 / 4.
    assert logistic([5.0], [8, 2, 5, 2]) == pytest.approx([5.0])
    assert logistic([5 + 2 * np.log(3)], [8, 2, 5, -2]) == pytest.approx([6.5])


@pytest.mark.parametrize("scale", [1.0, -100.0])
def test_a_logistic_relation_becomes_a_perfect_one(scale):
    x = np.linspace(-3, 3, 50)
    truth = logistic(x, [9, 1, 0.5, 0.4])
    mapped = fit_logistic(x * scale, truth)
    assert abs(plcc(x * scale, truth)) < 0.96
    assert mapped.plcc == pytest.approx(1.0, abs=1e-9)
    if scale == 1.0:
        assert mapped.parameters == pytest.approx((9, 1, 0.5, 0.4), rel=1e-5)


def test_the_fit_is_as_good_as_another_optimizers():
    rng = np.random.default_rng(2)
    x = rng.normal(5, 1, 300)
    truth = np.clip(4 + 3 * np.tanh(x - 5) + rng.normal(size=300), 0, 10)
    mapped = fit_logistic(x, truth)

    def loss(b):
        return ((b[0] / (1 + np.exp(-(x - b[2]) / abs(b[3]))) + b[1] - truth) ** 2).sum()

    best = minimize(
        loss, [6, 1, 5, 1], method="Nelder-Mead", options={"maxiter": 20000, "maxfev": 20000, "xatol": 1e-9}
    )
    ours = ((logistic(x, mapped.parameters) - truth) ** 2).sum()
    assert ours == pytest.approx(best.fun, rel=1e-6)
    assert mapped.plcc == pytest.approx(plcc(logistic(x, mapped.parameters), truth))
    assert mapped.plcc > plcc(x, truth)


@pytest.mark.parametrize(("x", "y"), [([1, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6]), ([1, 2, 3, 4], [1, 2, 3, 4])])
def test_what_cannot_be_fitted_has_no_figure(x, y):
    assert fit_logistic(x, y) is None
