"""Replies as models write them."""

import json
import re
from functools import partial

import pytest
import yaml

from artquant_plugin.train.rad.replies import (
    Reply,
    ReplyError,
    read_estimate,
    read_levels,
    read_verdict,
)
from tests.paths import ROOT

WHOLE = {"perception": "Reds.", "cognition": "A harbour.", "emotion": "Calm."}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(WHOLE),
        f"```json\n{json.dumps(WHOLE, indent=1)}\n```",
        f"Here it is: {json.dumps(WHOLE)} I hope it helps.",
        json.dumps(WHOLE | {"extra": 1}),
        json.dumps({level: f"  {text}\n" for level, text in WHOLE.items()}),
    ],
)
def test_three_levels_are_read(text):
    assert read_levels(Reply(text)) == WHOLE


@pytest.mark.parametrize(
    ("reply", "reason", "detail"),
    [
        (Reply(json.dumps(WHOLE)[:-20]), "malformed", "no JSON"),
        (Reply(json.dumps(WHOLE)[:-20], finish="length"), "malformed", "cut off"),
        (Reply(json.dumps(WHOLE | {"emotion": " "})), "malformed", "no text under 'emotion'"),
        (Reply(json.dumps({"perception": "Reds."})), "malformed", "no text under 'cognition'"),
        (Reply(json.dumps(WHOLE | {"emotion": ["Calm."]})), "malformed", "no text under 'emotion'"),
        (Reply("Perception: reds."), "malformed", "no JSON object"),
        (Reply(""), "malformed", "empty"),
        (Reply(None), "malformed", "empty"),
        (Reply("[1, 2]"), "malformed", "no JSON object"),
        (Reply("{" * 100_000), "malformed", "no JSON"),
        (Reply(None, refusal="I will not."), "refused", "I will not."),
        (Reply("I'm sorry, but I can't help with that."), "refused", "sorry"),
        (Reply("I cannot describe nudity."), "refused", "nudity"),
        (Reply("", finish="content_filter"), "refused", "content filter"),
    ],
)
def test_what_is_no_description_says_why(reply, reason, detail):
    with pytest.raises(ReplyError) as caught:
        read_levels(reply)
    assert caught.value.reason == reason
    assert detail in caught.value.detail


def test_verdicts():
    assert read_verdict(Reply('{"consistent": false, "reason": "too  kind"}')).reason == "too kind"
    for text in ('{"consistent": "false", "reason": "x"}', '{"consistent": true}', "true"):
        with pytest.raises(ReplyError):
            read_verdict(Reply(text))


def test_estimates_stay_in_the_range():
    assert read_estimate(Reply('{"score": 6, "reason": "x"}'), (0, 10)).score == 6.0
    for value in ("11", "-1", "true", '"6"', "NaN", "null"):
        with pytest.raises(ReplyError):
            read_estimate(Reply(f'{{"score": {value}, "reason": "x"}}'), (0, 10))


SHOWN = (
    'Decide. Answer with JSON: {"consistent": <true or false>, "reason": "<one or two sentences: what fits, or what '
    'to change and where>"}. The levels are "perception", "cognition" and "emotion".',
    "Viewers' rating: 5.00.\n\nPerception: The light is flat and the drawing weak.",
)
REASON = "one or two sentences: what fits, or what to change and where"


def verdict(consistent: bool, reason: str, **more) -> str:
    return json.dumps({"consistent": consistent, "reason": reason} | more)


@pytest.mark.parametrize(
    "reason",
    [
        REASON,
        f"<{REASON}>",
        f"'{REASON.upper()}'.",
        "One or two  sentences - what fits or what to change, and where",
        "what fits, or what to change and where",
        "what fits",
        "One or two short sentences: what fits, or what to change and where.",
        "the light is flat and the drawing weak",
        "Perception",
        "...",
        "",
        " ",
    ],
)
def test_a_reason_that_is_none_or_copies_the_prompt_is_malformed(reason):
    for consistent in (True, False):
        with pytest.raises(ReplyError) as caught:
            read_verdict(Reply(verdict(consistent, reason)), SHOWN)
        assert caught.value.reason == "malformed"
    with pytest.raises(ReplyError):
        read_estimate(Reply(json.dumps({"score": 5, "reason": reason})), (0, 10), SHOWN)


@pytest.mark.parametrize(
    "reason",
    [
        "fits",
        "The flat light fits the rating.",
        "The text calls the light flat and the drawing weak, as a low place asks.",
    ],
)
def test_a_judges_own_words_are_a_reason(reason):
    assert read_verdict(Reply(verdict(True, reason)), SHOWN).reason == reason


@pytest.mark.parametrize(
    "reason",
    [
        "No mismatch, no inconsistency found.",
        "It does not contradict the rating.",
        "The text says that the colours do not match and the light does not fit the scene, as a low rating asks.",
        "No objections: the praise is as faint as the rating is low.",
    ],
)
def test_a_painting_that_is_criticised_is_no_rejection_of_its_description(reason):
    assert read_verdict(Reply(verdict(True, reason)), SHOWN).consistent is True


@pytest.mark.parametrize("reason", ["The text matches the score.", "It agrees well with the low rating."])
def test_a_rejection_whose_reason_accepts_is_malformed(reason):
    with pytest.raises(ReplyError, match="'consistent' is false, and the words around it say"):
        read_verdict(Reply(verdict(False, reason)), SHOWN)
    told = f"{reason} But the second level is inconsistent with it."
    assert read_verdict(Reply(verdict(False, told)), SHOWN).consistent is False


@pytest.mark.parametrize("prompt", ["consistency", "blind"])
def test_no_example_of_the_shipped_prompts_can_be_an_acceptance(prompt):
    """Every way to fill the placeholders with what stands in them."""
    text = yaml.safe_load((ROOT / "configs/rad/prompts.yaml").read_text())[prompt]["system"]
    example = re.search(r'\{"(?:consistent|score)".*"\}', text)[0]
    read = read_verdict if prompt == "consistency" else partial(read_estimate, score_range=(0, 10))
    with pytest.raises(ReplyError):
        read(Reply(example), shown=(text, ""))
    for value in ("true", "false", "5"):
        for bare in (example, example.replace("<", "").replace(">", "")):
            filled = re.sub(r'": [^"]+,', f'": {value},', bare, count=1)
            assert json.loads(filled)
            with pytest.raises(ReplyError) as caught:
                read(Reply(filled), shown=(text, ""))
            assert caught.value.reason == "malformed"


def test_an_example_of_ones_own_cannot_be_copied_either():
    shown = ('For example {"consistent": true, "reason": "fits"}.', "A text.")
    with pytest.raises(ReplyError, match="copied"):
        read_verdict(Reply(verdict(True, " Fits. ")), shown)


@pytest.mark.parametrize(
    "text",
    [
        "The description is inconsistent with the rating. {}",
        "Inconsistent!\n```json\n{}\n```",
        "{} Hence I reject it.",
        "It's not consistent. {}",
        "This isn't really consistent: {}",
        "The praise does not match the rating. {}",
        "**Verdict: Inconsistent** {}",
        "consistent: false\n{}",
        'First "consistent" = no, then {}',
        "There is an inconsistency between the levels. {}",
        "The description fails to match. {}",
        "The score is 7.2 and the description does not match it.\n{}",
        "Its praise contradicts the low score. {}",
        "Mismatch! {}",
        "FALSE. {}",
        "No.\n{}",
        "{} Actually, no.",
        "The text is too positive for this score. {}",
        "It overrates the painting. {}",
    ],
)
def test_a_verdict_that_contradicts_its_prose_is_malformed(text):
    with pytest.raises(ReplyError) as caught:
        read_verdict(Reply(text.replace("{}", verdict(True, "too kind"))), SHOWN)
    assert caught.value.reason == "malformed" and "true" in caught.value.detail
    # The same prose agrees with the opposite verdict.
    assert read_verdict(Reply(text.replace("{}", verdict(False, "too kind"))), SHOWN).consistent is False


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "I see no inconsistency. {}",
        "It is not inconsistent. {}",
        "There is no reason to reject it. {}",
        "<think>Is it inconsistent? No.</think>{}",
        "The description is consistent. {}",
    ],
)
def test_prose_that_agrees_is_no_contradiction(text):
    assert read_verdict(Reply(text.replace("{}", verdict(True, "the praise is right"))), SHOWN).consistent is True


@pytest.mark.parametrize(
    "text",
    [
        verdict(True, "This is inconsistent with the rating."),
        verdict(True, "the praise is right", verdict="inconsistent"),
        verdict(True, "the praise is right", again={"consistent": False}),
        verdict(True, "the praise is right") + verdict(False, "too kind"),
        verdict(False, "too kind") + "\nOn second thought:\n" + verdict(True, "the praise is right"),
        f"[{verdict(True, 'the praise is right')}, {verdict(False, 'too kind')}]",
        '{"consistent": false, "reason": "too kind", "consistent": true}',
        "The description is consistent. " + verdict(False, "too kind"),
    ],
)
def test_verdicts_that_disagree_are_malformed(text):
    with pytest.raises(ReplyError) as caught:
        read_verdict(Reply(text), SHOWN)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('Score: 3.\n{"score": 8, "reason": "warm words"}', False),
        ('I rate it 3 out of 10. {"score": 8, "reason": "warm words"}', False),
        ('{"score": 8, "reason": "warm words"} {"score": 3, "reason": "cold words"}', False),
        ('{"score": 8, "reason": "warm words", "other": {"score": 3}}', False),
        ('Score: 8.\n{"score": 8.0, "reason": "warm words"}', True),
        ('Its words are warm. {"score": 8, "reason": "warm words"}', True),
    ],
)
def test_an_estimate_that_contradicts_its_prose_is_malformed(text, fits):
    if fits:
        assert read_estimate(Reply(text), (0, 10), SHOWN).score == 8
    else:
        with pytest.raises(ReplyError):
            read_estimate(Reply(text), (0, 10), SHOWN)


@pytest.mark.parametrize(
    "text",
    ["perception", "<perception>", "...", "The light is flat and the drawing weak.", "what to change and where"],
)
def test_a_level_that_copies_the_request_is_malformed(text):
    with pytest.raises(ReplyError, match="under 'cognition'"):
        read_levels(Reply(json.dumps(WHOLE | {"cognition": text})), SHOWN)
