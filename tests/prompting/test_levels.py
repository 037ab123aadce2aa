import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.levels import LevelScale, entropy
from tests.paths import shared

DESCENDING = st.lists(st.integers(-1000, 1000), min_size=2, max_size=9, unique=True).map(
    lambda values: tuple(sorted((value / 10 for value in values), reverse=True))
)


def test_expectation_is_the_probability_weighted_mean_of_the_values():
    assert LevelScale().expectation([0.1, 0.2, 0.3, 0.2, 0.2]) == pytest.approx(1 + 1.5 + 1.5 + 0.7 + 0.2)


def test_sbde_equals_the_gaussian_solved_by_hand():
    # Three levels 1, 0, -1 and score 0: mu is 0 by symmetry, so p = exp(-1/2s²) : 1 : exp(-1/2s²) with s = 2/9.
    scale = LevelScale(names=("a", "b", "c"), values=(1.0, 0.0, -1.0))
    side = math.exp(-1 / (2 * (2 / 9) ** 2))
    expected = np.array([side, 1, side]) / (1 + 2 * side)
    np.testing.assert_allclose(scale.soft_labels([0.0])[0], expected, rtol=1e-12)


@given(DESCENDING, st.floats(0.001, 0.999), st.floats(0.05, 5.0))
def test_sbde_has_the_score_as_its_expectation(values, fraction, width):
    scale = LevelScale(names=tuple(f"level{i}" for i in range(len(values))), values=values)
    score = scale.low + fraction * (scale.high - scale.low)
    labels = scale.soft_labels([score], sigma=width * (scale.high - scale.low) / 9)
    assert abs(scale.expectation(labels)[0] - score) <= 1e-9
    assert labels.min() >= 0
    assert labels.sum() == pytest.approx(1, abs=1e-12)


def test_sbde_is_exact_on_a_fine_grid_and_next_to_the_ends():
    scale = LevelScale()
    scores = np.concatenate([np.linspace(1, 10, 9001), [1 + 1e-12, 10 - 1e-12, 1 + 1e-9, 10 - 1e-9]])
    labels = scale.soft_labels(scores)
    assert np.abs(scale.expectation(labels) - scores).max() <= 1e-9


def test_sbde_is_one_hot_at_the_ends():
    np.testing.assert_array_equal(LevelScale().soft_labels([10.0, 1.0]), [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]])


def test_sbde_moves_mass_upwards_as_the_score_rises():
    cumulative = LevelScale().soft_labels(np.linspace(1.05, 9.95, 90)).cumsum(axis=1)
    assert (np.diff(cumulative, axis=0) >= -1e-12).all()


def test_released_labels_are_no_closer_to_their_score_than_ours():
    rows = json.loads(shared("parity/sbde.json").read_text())["rows"]
    inside = [row for row in rows if 1 < row["score"] < 10]
    scores = np.array([row["score"] for row in inside])
    scale = LevelScale()
    ours = scale.soft_labels(scores)
    assert np.abs(scale.expectation(ours) - scores).max() <= 1e-9
    # The same family of distributions: with the released sigma, row for row the released probabilities.
    for row, score in zip(inside, scores, strict=True):
        if row["abs_error"] < 1e-6 and not row["clip_active"]:
            again = scale.soft_labels([score], sigma=row["sigma"])[0]
            np.testing.assert_allclose(again, row["probs"], atol=2e-5)


@pytest.mark.parametrize("score", [0.99, 10.01, math.nan, math.inf])
def test_a_score_outside_the_levels_is_an_error_with_its_remedy(score):
    with pytest.raises(ArtQuantError, match=r"outside the levels' range \[1, 10\]; set levels.values"):
        LevelScale().soft_labels([5.0, score])


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        (("a", "b"), (1.0,), "2 level names and 1 level values"),
        (("a", "a"), (2.0, 1.0), "repeat a word; each level needs its own"),
        (("Good", "bad", "GOOD"), (3.0, 2.0, 1.0), "as 'Good' and 'GOOD' differ in case or white space alone"),
        (("very good", "very  good"), (2.0, 1.0), "differ in case or white space alone"),
        (("caf\u00e9", "cafe\u0301"), (2.0, 1.0), "differ in case or white space alone"),
        (("a", " b"), (2.0, 1.0), "' b' begins or ends with white space"),
        (("a", ""), (2.0, 1.0), "is ''; give it at least one character that can be seen"),
        (("a", "b\u2028c"), (2.0, 1.0), r"holds the character U\+2028"),
        (("a", 3), (2.0, 1.0), "the level word is 3, which is no text"),
        (("a", "b"), (2.0, "1.0"), "level value '1.0' is no number"),
        (("a", "b"), (True, 0.0), "level value True is no number"),
        (("a", "b"), (1.0, 1.0), "descend"),
        (("a", "b"), (math.inf, 1.0), "finite"),
        (("a", "b"), (1.0, 2.0), "descend"),
        (("a", "b"), (math.nan, 1.0), "finite"),
    ],
)
def test_scales_that_make_no_sense_are_refused(names, values, message):
    with pytest.raises(ArtQuantError, match=message):
        LevelScale(names=names, values=values)


def test_unknown_methods_and_widths_are_refused():
    with pytest.raises(ArtQuantError, match="'deqa' is unknown"):
        LevelScale().soft_labels([5.0], method="deqa")
    with pytest.raises(ArtQuantError, match="sigma -1"):
        LevelScale().soft_labels([5.0], sigma=-1.0)


def test_entropy_of_certainty_and_of_ignorance():
    assert entropy([1.0, 0.0, 0.0]) == 0
    assert entropy([0.25] * 4) == pytest.approx(math.log(4))
