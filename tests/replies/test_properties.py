"""What holds for every reply, whatever it says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artquant_plugin.replies import REASONS, Measurement, parse_reply

LEVELS = {"excellent": 10.0, "good": 7.5, "fair": 5.0, "poor": 3.5, "bad": 1.0}
RANGES = [(0.0, 10.0), (1.0, 10.0), (0.0, 100.0), (1.0, 5.0), (-1.0, 1.0)]

# Pieces of which replies are made, so that random texts come near to scores.
PIECES = st.sampled_from(
    "Score score: rating = is of a I'd give it on scale to 1 10 7.5 7,5 -3 68 100 / out % – ½ ★ ( ) [ ] { } \" ' : , "
    '{"score": } null true <think> </think> good excellent bad not cannot 评分： 分 满分10分 点 점수 Оценка из ٧ '
    "composition overall Note stars 1889 19th \n ** ```json [LMMS_EVAL_REQUEST_FAILED".split(" ")
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES).map("".join))
ORDINARY = st.text("abcdefghijklmnopqrstuvwxyz ,.\n", max_size=60)


@settings(deadline=None)  # a busy machine may stop for a while
@given(TEXTS, st.sampled_from(RANGES))
def test_a_reply_is_a_score_in_the_range_or_a_reason(text, score_range):
    low, high = score_range
    reply = parse_reply(text, score_range=score_range, level_values=LEVELS)
    assert (reply.score is None) != (reply.reason is None)
    assert reply.reason is None or reply.reason in REASONS
    assert reply.score is None or low <= reply.score <= high
    assert (reply.origin is None) == (reply.score is None)


@settings(deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 9))
def test_a_failed_request_is_never_a_score(before, after, retries):
    text = f"{before}[LMMS_EVAL_REQUEST_FAILED after {retries} retries] {after}"
    assert parse_reply(text, score_range=(0, 10), level_values=LEVELS).reason == "failed_request"


LABELLED = (
    "Score: {}",
    "**Score:** {}",
    "score = {}",
    "Rating: {}/10",
    "My rating is {} out of 10.",
    "I would give this painting a score of {}.",
    "Score (0-10): {}",
    "Bewertung: {} von 10",
    "Note : {}/10",
    "Оценка: {} из 10",
    "评分：{}分",
    "スコア：{}",
    "점수: {}점",
    '"score": {},',
    "{}/10",
    "{}",
)


@settings(deadline=None)
@given(ORDINARY, st.integers(0, 1000), st.sampled_from(LABELLED[:-2]))
def test_a_labelled_score_behind_any_words_is_read_back(words, hundredths, form):
    text = f"{words}.\n{form.format(hundredths / 100)}"
    assert parse_reply(text, score_range=(0, 10), level_values={}).score == pytest.approx(hundredths / 100)


@settings(deadline=None)
@given(st.integers(0, 1000), st.sampled_from(LABELLED), st.booleans())
def test_every_form_reads_back_with_point_and_comma(hundredths, form, comma):
    number = f"{hundredths / 100:.2f}"
    text = form.format(number.replace(".", ",") if comma else number)
    assert parse_reply(text, score_range=(0, 10), level_values={}).score == pytest.approx(hundredths / 100)


@settings(deadline=None)
@given(st.floats(0, 10), ORDINARY)
def test_json_wins_over_prose(score, prose):
    text = f'{prose} score: 3 {{"score": {score!r}}} {prose}'
    assert parse_reply(text, score_range=(0, 10), level_values={}).score == score


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_a_measurement_reads_back(value, lower_better):
    measurement = Measurement("niqe", value, lower_better)
    assert Measurement.from_reply(measurement.to_reply()) == measurement
    assert measurement.prediction == (-value if lower_better else value)


@settings(deadline=None)
@given(TEXTS)
def test_no_other_text_is_a_measurement(text):
    assert Measurement.from_reply(text) is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        '{"measurement": null}',
        '{"measurement": {"metric": "a", "value": 1}}',
        '{"measurement": {"metric": "a", "value": NaN, "lower_better": false}}',
        '{"measurement": {"metric": "a", "value": true, "lower_better": false}}',
        '{"measurement": {"metric": "a", "value": 1, "lower_better": false}, "score": 1}',
        'It is {"measurement": {"metric": "a", "value": 1, "lower_better": false}}',
    ],
)
def test_a_measurement_is_the_whole_reply_and_whole(text):
    assert Measurement.from_reply(text) is None


@pytest.mark.parametrize(
    "piece",
    [
        "score ",
        "score: ",
        "1 ",
        "scale 1 to 10 ",
        "9",
        "give ",
        "(",
        "rate is is ",
        "score of the ",
        "\n",
        " ",
        "<",
        "_",
    ],
)
def test_long_replies_cost_little(piece):
    import time

    started = time.process_time()
    for text in (piece * 3000, f"score{piece * 3000}x"):
        parse_reply(text, score_range=(0, 10), level_values=LEVELS)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "piece",
    [
        "9",
        "{",
        '{"a":',
        '[{"a":',
        "7/10\n",
        "score: 7 ",
        "<",
        "<s>",
        "[INST]",
        "~~8",
        "$7$ ",
        "\n7",
        " ",
        "\n",
        "score: 1) ",
    ],
)
def test_the_time_for_a_reply_is_bounded(piece):
    """Reading takes at most as long as for the longest answer, and no time for a reply that is longer by far."""
    import time

    started = time.process_time()
    reply = parse_reply(piece * (1_000_000 // len(piece)), score_range=(0, 10), level_values=LEVELS)
    assert time.process_time() - started < 0.1
    assert reply.score is None
    parse_reply((piece * 30_000)[:30_000], score_range=(0, 10), level_values=LEVELS)
    assert time.process_time() - started < 3
