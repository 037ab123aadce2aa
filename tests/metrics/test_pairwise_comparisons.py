import math

import numpy as np
import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics import pairwise_comparisons
from artquant_plugin.metrics.agreement import plcc, srocc
from artquant_plugin.metrics.pairwise_comparisons import compare_models, holm


def models(n=400):
    """A good model, one that almost equals it, a poor one."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=n)
    good = truth + 0.5 * rng.normal(size=n)
    return np.stack([good, good + 0.05 * rng.normal(size=n), truth + 3 * rng.normal(size=n)]), truth


def test_holm_by_hand():
    # Sorted .01, .02, .03, .04: times 4, 3, 2, 1 = .04, .06, .06, .04; running maximum .04, .06, .06, .06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    # A test that could not be made does not count: .01 · 2, .6 · 1.
    assert holm([0.01, math.nan, 0.6])[::2] == pytest.approx([0.02, 0.6])
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_differences_and_what_is_significant():
    predictions, truth = models()
    first, second, third = compare_models(["good", "twin", "poor"], predictions, truth)
    assert [(pair.a, pair.b) for pair in (first, second, third)] == [
        ("good", "twin"),
        ("good", "poor"),
        ("twin", "poor"),
    ]
    assert first.n == 400 and first.resamples == 2000
    assert second.srocc.value == pytest.approx(srocc(predictions[0], truth) - srocc(predictions[2], truth))
    assert second.plcc.value == pytest.approx(plcc(predictions[0], truth) - plcc(predictions[2], truth))
    for metric in (second.srocc, second.plcc):
        assert 0 < metric.low < metric.value < metric.high
        assert metric.p == pytest.approx(2 / 2001)
        assert metric.p_holm == pytest.approx(6 / 2001)  # the smallest of three
        assert metric.significant
    assert not first.srocc.significant
    assert first.srocc.low < 0 < first.srocc.high
    # The closed forms agree with the bootstrap.
    assert second.steiger > 5
    assert second.zou == pytest.approx((second.plcc.low, second.plcc.high), abs=0.02)
    assert first.zou == pytest.approx((first.plcc.low, first.plcc.high), abs=0.005)


def test_models_that_are_equally_good_are_seldom_called_different():
    # At a level of 5 %, 10 of 200 pairs of equally noisy models are expected, with a standard deviation of 3.1.
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(200):
        truth = rng.normal(size=80)
        (pair,) = compare_models(["a", "b"], truth + rng.normal(size=(2, 80)), truth, resamples=200)
        called += pair.plcc.p < 0.05
    assert 2 <= called <= 20


def test_images_that_one_model_left_out_are_counted_and_not_used():
    predictions, truth = models(60)
    predictions[0, :5], predictions[2, 3:10] = math.nan, math.nan
    _, pair, other = compare_models(["a", "b", "c"], predictions, truth, resamples=50)
    assert (pair.n, pair.only_a, pair.only_b) == (50, 5, 3)
    assert pair.srocc.a == pytest.approx(srocc(predictions[0, 10:], truth[10:]))
    assert (other.n, other.only_a, other.only_b) == (53, 7, 0)


def test_pairs_are_the_same_whoever_else_is_compared():
    predictions, truth = models(60)
    predictions[2, :7] = math.nan
    (alone,) = compare_models(["a", "b"], predictions[:2], truth, resamples=100)
    first = compare_models(["a", "b", "c"], predictions, truth, resamples=100)[0]
    assert (first.srocc.low, first.srocc.p) == pytest.approx((alone.srocc.low, alone.srocc.p))


def test_a_model_without_variance_is_compared_with_nobody():
    predictions, truth = models(60)
    predictions[1] = 5.0
    first, second, _ = compare_models(["a", "b", "c"], predictions, truth, resamples=50)
    assert math.isnan(first.srocc.value) and math.isnan(first.srocc.p_holm) and not first.srocc.significant
    assert second.srocc.p_holm == second.srocc.p  # of the family, one test is left


def test_models_without_a_common_image_have_no_difference():
    (pair,) = compare_models(["a", "b"], [[1, 2, math.nan], [math.nan, math.nan, 1]], [1, 2, 3], resamples=10)
    assert (pair.n, pair.only_a, pair.only_b) == (0, 2, 1)
    assert math.isnan(pair.plcc.value)


def test_many_pairs_get_enough_resamples_to_be_significant():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    names = [str(index) for index in range(9)]
    pairs = compare_models(names, truth + np.arange(9)[:, None] * rng.normal(size=(9, 40)), truth)
    assert {pair.resamples for pair in pairs} == {80 * 36}


@pytest.mark.parametrize(
    ("names", "resamples", "message"), [(["a", "a"], 10, "a name of its own"), (["a", "b"], 0, "0 resamples")]
)
def test_wrong_input_is_one_line(names, resamples, message):
    with pytest.raises(ArtQuantError, match=message):
        compare_models(names, [[1.0, 2.0], [2.0, 1.0]], [1.0, 2.0], resamples=resamples)


def test_three_images_show_no_difference():
    (pair,) = compare_models(["a", "b"], [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], [1.0, 2.0, 4.0])
    assert pair.too_few and (pair.srocc.a, pair.srocc.b) == (1.0, -1.0)
    for found in (pair.srocc, pair.plcc):
        assert all(math.isnan(value) for value in (found.low, found.high, found.p, found.p_holm))
        assert not found.significant
    assert math.isnan(pair.steiger) and math.isnan(pair.zou[0]) and pair.resamples == 0


def test_a_model_of_which_one_score_differs_has_no_p():
    truth = np.arange(12.0)
    (pair,) = compare_models(["a", "b"], [truth, [5.0] * 11 + [6.0]], truth)
    assert math.isnan(pair.srocc.p) and math.isnan(pair.srocc.low) and not pair.plcc.significant


def test_the_difference_of_near_constant_models_lies_in_its_interval():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    near = 5 + rng.integers(0, 4, size=(2, 60)) * 2.0**-50
    (pair,) = compare_models(["a", "b"], near, truth)
    for found in (pair.srocc, pair.plcc):
        assert found.low <= found.value <= found.high


def test_large_data_are_compared_as_the_bootstrap_would(monkeypatch):
    predictions, truth = models(3000)
    drawn = compare_models(["good", "twin", "poor"], predictions, truth, resamples=400)
    monkeypatch.setattr(pairwise_comparisons, "LARGEST", 100)
    large = compare_models(["good", "twin", "poor"], predictions, truth)
    for one, other in zip(drawn, large, strict=True):
        assert other.resamples == 0
        for found, expected in ((other.srocc, one.srocc), (other.plcc, one.plcc)):
            assert found.value == expected.value
            # The standard deviation of 400 draws has a standard error of 3.5 %, and their percentiles one of 7 %.
            assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.2)
            assert found.significant == expected.significant


def test_a_model_equals_itself_in_large_data(monkeypatch):
    predictions, truth = models(200)
    monkeypatch.setattr(pairwise_comparisons, "LARGEST", 100)
    (pair,) = compare_models(["a", "b"], predictions[[0, 0]], truth)
    assert (pair.srocc.p, pair.srocc.low, pair.srocc.high) == (1.0, 0.0, 0.0)
