import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artquant_plugin.replies import parse_reply

LEVELS = {"excellent": 10.0, "good": 7.5, "fair": 5.0, "poor": 3.5, "bad": 1.0}


def read(text: str, low: float = 0, high: float = 10):
    return parse_reply(text, score_range=(low, high), level_values=LEVELS)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"score": 6.83, "levels": {"excellent": 0.12}}', 6.83),
        ('Sure! ```json\n{"score": 7}\n``` Hope this helps.', 7),
        ('{"score": "7.5"}', 7.5),
        ('{"score": "7,5"}', 7.5),
        ('{"score": "8/10"}', 8),
        ('{"notes": {"a": 1}, "score": 3}', 3),
        ('{"score": 2} no, {"score": 4}', 4),
        ("Score: 7.5/10", 7.5),
        ("**Score:** 7", 7),
        ("Rating = 68 out of 100", 6.8),
        ("Score: 7–8", 7.5),
        ("First score: 3. Final score: 4.", 4),
        ("<think>score: 1</think>Score: 9", 9),
        ("The quality of the painting is good.", 7.5),
        ("Excellent", 10),
    ],
)
def test_scores_in_the_forms_that_models_write(text, score):
    reply = read(text)
    assert reply.score == pytest.approx(score)
    assert reply.reason is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[LMMS_EVAL_REQUEST_FAILED after 5 retries] timeout", "failed_request"),
        ("", "empty"),
        ("   \n", "empty"),
        ("<think>it may be an 8", "empty"),
        ('{"score": null, "reason": "image broken"}', "unscored"),
        ('{"score": 11}', "out_of_range"),
        ('{"score": -1}', "out_of_range"),
        ("Score: 68", "out_of_range"),
        ('{"score": true}', "malformed"),
        ('{"score": [5]}', "malformed"),
        ("Good colours but a poor drawing", "ambiguous"),
        ("This is not good", "ambiguous"),
        ("I cannot rate this image.", "no_score"),
        ("It was painted in 1889.", "no_score"),
    ],
)
def test_what_is_no_score_has_a_reason(text, reason):
    reply = read(text)
    assert (reply.score, reply.reason) == (None, reason)


def test_the_range_is_the_datasets():
    assert read("score: 0.5", 1, 10).reason == "out_of_range"
    assert read("score: 80 out of 100", 1, 10).score == 8.0


def test_a_range_is_marked_and_levels_are_kept():
    assert read("Score: 7-8").from_range
    assert read('{"score": 5, "levels": {"fair": 1.0}}').levels == {"fair": 1.0}


@given(st.text(max_size=200))
def test_no_text_crashes_the_parser_or_leaves_the_range(text):
    reply = read(text)
    assert (reply.score is None) != (reply.reason is None)
    assert reply.score is None or 0 <= reply.score <= 10


@given(st.floats(0, 10), st.text(max_size=40).filter(lambda text: "{" not in text and "<think" not in text.lower()))
def test_json_wins_over_prose(score, prose):
    if "[LMMS_EVAL_" in prose:
        return
    assert read(f'{prose} score: 3 {{"score": {score!r}}}').score == score


def test_a_reply_may_say_which_weights_gave_it():
    checkpoint = {"name": "me/x", "revision": "abc", "weights": "def"}
    assert read(json.dumps({"score": 6.5, "checkpoint": checkpoint})).checkpoint == checkpoint
    assert read('{"score": 6.5, "checkpoint": "x"}').checkpoint is None
    assert read('{"score": 6.5}').checkpoint is None
