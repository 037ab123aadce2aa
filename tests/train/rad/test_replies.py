"""Replies as models write them."""

import json

import pytest

from artquant_plugin.train.rad.replies import (
    Reply,
    ReplyError,
    read_estimate,
    read_levels,
    read_verdict,
)

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
