"""Scores from listed tokens, derived by hand."""

import math

import pytest

from artquant_plugin.bulk.logprobs import score_listed
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.levels import LevelScale

SCALE = LevelScale()
WORDS = SCALE.names


def listed(**probabilities: float) -> list[tuple[str, float]]:
    return [(f" {token}", math.log(p)) for token, p in probabilities.items()]


def score(tokens, ask="prefill", min_mass=0.1, words=WORDS, scale=SCALE):
    return score_listed(tokens, scale, tokens=words, ask=ask, min_mass=min_mass)


def test_all_levels_listed_give_the_closed_set_distribution_and_no_bound():
    result = score(listed(excellent=0.1, good=0.2, fair=0.05, poor=0.1, bad=0.05, very=0.3))
    assert result.levels == pytest.approx({"excellent": 0.2, "good": 0.4, "fair": 0.1, "poor": 0.2, "bad": 0.1})
    assert result.score == pytest.approx(0.2 * 10 + 0.4 * 7.5 + 0.1 * 5 + 0.2 * 3.5 + 0.1 * 1)
    assert result.level_mass == pytest.approx(0.5)
    assert result.score_bound == 0
    assert result.entropy == pytest.approx(-sum(p * math.log(p) for p in result.levels.values()))


def test_a_level_that_is_not_listed_bounds_the_score():
    # Good and fair have 0.6 and 0.2, the least likely listed token 0.1, and 0.1 is left for all that are not listed.
    scale = LevelScale(("good", "fair", "bad"), (10.0, 5.0, 0.0))
    result = score(listed(good=0.6, fair=0.2, quite=0.1), words=("good", "fair", "bad"), scale=scale)
    assert result.levels == pytest.approx({"good": 0.75, "fair": 0.25, "bad": 0.0})
    assert result.score == pytest.approx(8.75)
    # At most 0.1 on bad: (6 + 1) / 0.9 instead of 7 / 0.8.
    assert result.score_bound == pytest.approx(8.75 - 7 / 0.9)


def test_what_the_listed_tokens_leave_bounds_it_too():
    scale = LevelScale(("good", "bad"), (10.0, 0.0))
    result = score(listed(good=0.5, quite=0.49), words=("good", "bad"), scale=scale)
    assert result.score_bound == pytest.approx(10 - 5 / 0.51)


def test_little_probability_on_the_levels_is_no_score():
    with pytest.raises(ArtQuantError, match=r"probability of 0.020, less than 0.1, .*' The' 0.90.*check --prompt"):
        score(listed(The=0.9, good=0.02))
    assert score(listed(The=0.9, good=0.02), min_mass=0.01).level_mass == pytest.approx(0.02)
    with pytest.raises(ArtQuantError, match="probability of 0.000"):
        score(listed(The=0.9), min_mass=0.0)


def test_spellings_add_up_in_a_one_word_answer_and_not_in_a_begun_one():
    tokens = [("Good", math.log(0.3)), (" good", math.log(0.2)), ("bad", math.log(0.1)), ("▁Bad", math.log(0.05))]
    word = score(tokens, ask="word")
    assert word.levels["good"] == pytest.approx(0.5 / 0.65)
    begun = score(tokens)
    assert begun.levels["good"] == pytest.approx(0.2 / 0.3)


def test_level_words_of_several_tokens_are_named_by_their_first():
    result = score(listed(exc=0.4, good=0.1), words=("exc", "good", "fair", "poor", "bad"))
    assert result.levels["excellent"] == pytest.approx(0.8)
    assert score([("good", -0.1), ("fair", -9999.0)]).levels["fair"] == 0
