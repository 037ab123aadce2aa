"""Entropies by hand, and the paper's three theorems on random joint distributions."""

import math

import numpy as np
import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.entropy import (
    Bounds,
    binary_entropy,
    calibration,
    description_surprise,
    error_rate,
    exact_bounds,
    level_cross_entropy,
)

ROUNDING = 1e-12


def random_joint(rng: np.random.Generator) -> np.ndarray:
    """From even to almost certain distributions, some of whose events never happen."""
    shape = (rng.integers(1, 7), rng.integers(2, 7), rng.integers(1, 7))
    weights = rng.gamma(rng.choice([0.05, 0.3, 1.0, 10.0]), size=shape)
    weights *= rng.random(shape) > rng.choice([0.0, 0.3, 0.7])
    weights.flat[rng.integers(weights.size)] += 1e-3
    return weights / weights.sum()


@pytest.mark.parametrize("seed", range(20))
def test_the_three_inequalities_hold_for_every_joint_distribution(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        bounds = exact_bounds(random_joint(rng), epsilon=float(rng.random() * rng.choice([0.0, 0.01, 1.0])))
        assert bounds.y_given_z <= bounds.chain_rule + ROUNDING
        assert bounds.chain_rule <= bounds.through_description + ROUNDING  # without any independence
        assert bounds.through_description <= bounds.with_errors
        for value in (bounds.y_given_z, bounds.d_given_z, bounds.y_given_d, bounds.y_given_dz):
            assert value >= -ROUNDING


def test_theorem_1_is_the_chain_rule():
    """Its two sides differ by H(D|Y,Z), which is 0 where level and representation decide the description."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        joint = random_joint(rng)
        bounds = exact_bounds(joint)
        given = joint.sum(axis=0)  # (levels, representations)
        shares = np.divide(joint, given, out=np.zeros_like(joint), where=given > 0)
        rest = -(joint * np.log(np.where(shares > 0, shares, 1.0))).sum()  # H(D|Y,Z)
        assert bounds.chain_rule - bounds.y_given_z == pytest.approx(rest, abs=1e-12)


def test_a_description_that_is_the_level_and_a_blind_model():
    """Y is fair among four levels, D names it, Z knows nothing: H(Y|Z) = H(D|Z) = log 4, H(Y|D) = 0."""
    bounds = exact_bounds((np.eye(4) / 4)[:, :, None], epsilon=0.5)
    assert bounds.y_given_z == pytest.approx(math.log(4))
    assert bounds.d_given_z == pytest.approx(math.log(4))
    assert bounds.y_given_d == bounds.y_given_dz == pytest.approx(0)
    assert bounds.through_description == pytest.approx(math.log(4))  # the bound is met
    assert bounds.looser_by == pytest.approx(0.5 * math.log(4) + math.log(2))


def test_dependence_given_the_description_tightens_the_first_bound_alone():
    """The description is constant and Z is Y: Theorem 1 gives 0, Theorem 2 only log 2."""
    bounds = exact_bounds((np.eye(2) / 2)[None])
    assert bounds.chain_rule == pytest.approx(0)
    assert bounds.through_description == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    "joint", [np.ones((2, 2)) / 4, np.ones((2, 1, 2)) / 4, np.ones((2, 2, 2)), -np.ones((1, 2, 1))]
)
def test_what_is_no_joint_distribution_is_refused(joint):
    with pytest.raises(ArtQuantError):
        exact_bounds(joint)


def test_without_an_estimate_of_both_theorem_1_has_no_right_side():
    assert Bounds(y_given_z=0.5, d_given_z=40.0, y_given_d=0.4, levels=5).chain_rule is None


def test_the_cross_entropy_of_levels_by_hand():
    """Probabilities 1/2 and 1/8 of the true levels: log 2 and log 8, whose mean is log 4."""
    found = level_cross_entropy([[0.5, 0.5], [0.125, 0.875]], [0, 0])
    assert found.nats == pytest.approx(math.log(4))
    assert found.error == pytest.approx(math.log(2))  # (log 8 - log 2) / √2 / √2
    assert found.paintings == 2


def test_the_cross_entropy_exceeds_the_entropy_by_the_models_divergence():
    """Of 1,000 paintings that look alike 600 are good; a model that says so has H2(0.6), any other has more."""
    levels = [0] * 600 + [1] * 400
    found = {share: level_cross_entropy([[share, 1 - share]] * 1000, levels).nats for share in (0.6, 0.5, 0.9)}
    assert found[0.6] == pytest.approx(binary_entropy(0.6))
    divergence = 0.6 * math.log(0.6 / 0.9) + 0.4 * math.log(0.4 / 0.1)
    assert found[0.9] == pytest.approx(binary_entropy(0.6) + divergence)
    assert found[0.5] == pytest.approx(math.log(2))


def test_a_level_that_was_ruled_out_costs_infinity():
    found = level_cross_entropy([[1.0, 0.0], [0.5, 0.5]], [1, 0])
    assert found.nats == math.inf
    assert math.isnan(found.error)


def test_calibration_by_hand():
    """Four paintings with 0.75 and 0.25; the likelier level is true for two of them, and should be for three."""
    bins, error = calibration([[0.75, 0.25]] * 4, [0, 0, 1, 1])
    assert [(each.predicted, each.observed, each.predictions) for each in bins] == [(0.25, 0.5, 4), (0.75, 0.5, 4)]
    assert error == pytest.approx(0.25)
    assert calibration([[0.75, 0.25]] * 4, [0, 0, 0, 1])[1] == pytest.approx(0)


def test_surprise_per_description_and_per_token_by_hand():
    """6 nats over 2 tokens and 2 nats over 6: 4 per description, 1 per token, however long the descriptions are."""
    found = description_surprise([6.0, 2.0], [2, 6])
    assert found.per_description.nats == 4
    assert found.per_description.error == pytest.approx(2)
    assert found.per_token == 1


def test_an_epsilon_from_verdicts_has_an_upper_end():
    """Wilson's interval of 0 of 10: its upper end is z² / (10 + z²) with z = 1.959964."""
    share, high = error_rate(0, 10)
    assert share == 0
    assert high == pytest.approx(1.959964**2 / (10 + 1.959964**2), abs=1e-6)
    assert error_rate(30, 100)[0] == 0.3


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [
        (level_cross_entropy, ([[0.5, 0.5]], [0, 1]), "do not fit"),
        (level_cross_entropy, ([[0.5, 0.5]], [2]), "are no indices of 2 levels"),
        (level_cross_entropy, ([[0.5, 0.6]], [0]), "does not sum to 1"),
        (calibration, ([], []), "do not fit"),
        (description_surprise, ([1.0], [0]), "do not fit"),
        (error_rate, (3, 2), "3 rejected of 2 judged is no share"),
        (binary_entropy, (1.2,), "1.2 is no probability"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(function, arguments, said):
    with pytest.raises(ArtQuantError, match=said):
        function(*arguments)
