"""Scores from listed tokens, derived by hand."""

import itertools
import json
import math

import pytest
from openai.types.chat import ChatCompletion

from artquant_plugin.bulk.logprobs import listed_tokens, score_listed
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
    assert result.score == pytest.approx(0.2 * 10 + 0.4 * 7.5 + 0.1 * 5 + 0.2 * 3.5 + 0.1)
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


HALF = math.log(0.5)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ((" fair", math.nan), "gives ' fair' the log-probability nan, which is no number"),
        ((" fair", math.inf), "gives ' fair' the log-probability inf, which is above 0, a probability above 1"),
        ((" fair", 0.5), "gives ' fair' the log-probability 0.5, which is above 0"),
        ((" fair", 10**400), "gives ' fair' the log-probability 10{30,}.*, which is above 0"),
        ((" fair", "-1.0"), "gives ' fair' the log-probability '-1.0', which is no number"),
        ((" fair", True), "gives ' fair' the log-probability True, which is no number"),
        ((" fair", None), "gives ' fair' the log-probability None, which is no number"),
        ((" fair", [-1.0]), r"gives ' fair' the log-probability \[-1.0\], which is no number"),
        ((None, -1.0), "lists the token None, which is no text"),
        ((" other", math.nan), "gives ' other' the log-probability nan"),
        ((" good", HALF), "lists ' good' twice, with the log-probability -0.69"),
        ((" fair", math.log(0.51)), "lists tokens whose probabilities sum to 1.010, more than 1"),
        ((" other", math.log(0.6)), "lists tokens whose probabilities sum to 1.100, more than 1"),
    ],
)
@pytest.mark.parametrize("ask", ["prefill", "word"])
def test_a_list_that_is_none_of_log_probabilities_is_no_score(entry, message, ask):
    with pytest.raises(
        ArtQuantError, match=f"the server {message}.*cannot be trusted: mend it or use another"
    ) as told:
        score([(" good", HALF), entry], ask=ask)
    assert str(told.value).isprintable()


def test_rounding_and_a_probability_of_zero_are_trusted():
    certain = score([(" good", 1e-7), (" fair", -math.inf), (" bad", -(10**400)), ("\ufffd", -9999.0)])
    assert certain.levels == {"excellent": 0, "good": 1, "fair": 0, "poor": 0, "bad": 0}
    assert (certain.score, certain.level_mass, certain.score_bound) == (7.5, 1, 0)


def test_two_tokens_that_are_written_alike_are_two_tokens():
    # Servers that leave out SentencePiece's sign for a space list "▁good" and "good" as "good".
    alike = [("good", math.log(0.6)), ("good", math.log(0.05)), ("bad", math.log(0.3))]
    assert score(alike).levels["good"] == pytest.approx(0.6 / 0.9)
    assert score(alike, ask="word").levels["good"] == pytest.approx(0.65 / 0.95)


def test_the_bound_is_that_of_every_choice_of_missing_words():
    # By trying all subsets of the missing words at their largest probability, for each set of words that is listed.
    values = (10.0, 7.5, 5.0, 3.5, 1.0)
    for number in (1, 2, 3, 4):
        for there in itertools.combinations(range(5), number):
            given = {WORDS[index]: 0.5 / 2**place for place, index in enumerate(there)}
            result = score(listed(**given, quite=0.04))
            mass = sum(given.values())
            most = min(0.04, 1 - mass - 0.04)
            missing = [values[index] for index in range(5) if index not in there]
            shifted = [
                (result.score * mass + most * sum(chosen)) / (mass + most * len(chosen))
                for count in range(len(missing) + 1)
                for chosen in itertools.combinations(missing, count)
            ]
            assert result.score_bound == pytest.approx(max(abs(value - result.score) for value in shifted))


def test_many_levels_that_are_not_listed_take_no_time():
    scale = LevelScale(tuple(f"level{i}" for i in range(60)), tuple(float(60 - i) for i in range(60)))
    assert score(listed(level0=0.5), words=scale.names, scale=scale).score_bound > 0


def reply(logprobs) -> ChatCompletion:
    """A reply as the client makes it: unchecked."""
    choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "x"}}
    content = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return ChatCompletion.construct(**json.loads(json.dumps(content | {"choices": [choice | {"logprobs": logprobs}]})))


def test_tokens_are_taken_from_the_reply_as_they_are():
    top = [{"token": " good", "logprob": math.nan}, {"token": 3, "logprob": "x"}, {}]
    found = listed_tokens(reply({"content": [{"token": " good", "logprob": -1, "top_logprobs": top}]}))
    assert math.isnan(found[0][1])
    assert [found[0][0], *found[1:]] == [" good", (3, "x"), (None, None)]


@pytest.mark.parametrize("nothing", [None, {"content": None}, {"content": [{"token": "a", "logprob": -1}]}])
def test_a_reply_without_log_probabilities_is_told_from_a_broken_one(nothing):
    assert listed_tokens(reply(nothing)) is None
    assert listed_tokens(ChatCompletion.construct(choices=[])) is None


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"content": []}, "reply has no token"),
        ({"content": "good"}, "are no list of tokens .'good'."),
        ({"content": {"good": -1}}, "are no list of tokens"),
        ({"content": [{"token": "a", "top_logprobs": {"good": -1}}]}, "are no list of tokens .*good"),
    ],
)
def test_log_probabilities_of_another_form_are_one_images_reason(broken, message):
    with pytest.raises(ArtQuantError, match=message):
        listed_tokens(reply(broken))
