"""Rounds, judges, endpoints and their faults, live, through a real server."""

import base64
import io
import json
import re

import pytest
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.data.colour import display_profile
from artquant_plugin.train.rad.pictures import data_uri
from tests.peers.llm_answers import Cuts, Fails, Says
from tests.peers.local_llm import LocalLLM
from tests.train.rad.runs import (
    CONSENT,
    LEVELS,
    config,
    count,
    dataset,
    exchanges,
    in_turn,
    is_generator,
    levels,
    number,
    picture,
    rad,
    results,
    script,
    words,
)

DISSENT = json.dumps({"consistent": False, "reason": "far too kind"})
FAST = ("generator.max_retries=2", "judge.max_retries=2")


@pytest.fixture
def data(tmp_path):
    return dataset(tmp_path / "data")


def test_accepted_paintings_have_three_levels_and_failed_ones_a_reason(tmp_path, data):
    with LocalLLM(script()) as llm:
        summary = rad(data, tmp_path / "run", llm.url)
    assert summary.counts == {"pending": 0, "refining": 0, "accepted": 6, "failed": 0}
    found = results(tmp_path / "run")
    assert [result.id for result in found] == [f"p{number}" for number in range(6)]
    assert found[3].description == dict.fromkeys(LEVELS, "Calm ground. See painting-3-.")
    assert (found[3].rounds, found[3].judge_reason, found[3].judge_score) == (1, "fits", None)
    assert (count(llm.requests, "generator"), count(llm.requests, "judge")) == (6, 6)
    assert summary.cost == 6 * 2 * 2  # 1,000 tokens of prompt and one of reply


def test_the_judge_sees_no_picture_and_both_get_their_schema(tmp_path, data):
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "run", llm.url, "judge.structured=auto")
    for _, body in llm.requests:
        assert ("image_url" in json.dumps(body)) == is_generator(body)
        schema = body["response_format"]["json_schema"]["schema"]
        assert schema["required"] == (list(LEVELS) if is_generator(body) else ["consistent", "reason"])
        assert body["max_tokens"] == (900 if is_generator(body) else 300)


def test_what_the_judge_rejects_goes_back_with_its_reason(tmp_path, data):
    with LocalLLM(script(judge=in_turn(DISSENT, CONSENT))) as llm:
        rad(data, tmp_path / "run", llm.url)
    assert {(result.state, result.rounds) for result in results(tmp_path / "run")} == {("accepted", 2)}
    asked = [words(body) for _, body in llm.requests if is_generator(body) and number(body) == 2]
    assert "far too kind" not in asked[0]
    assert "far too kind" in asked[1] and "Calm ground. See painting-2-." in asked[1]


def test_the_judges_reason_outlives_a_refusal(tmp_path, data):
    generator = in_turn(levels, "I'm sorry, I can't help with that.", levels)
    with LocalLLM(script(generator, in_turn(DISSENT, CONSENT))) as llm:
        rad(data, tmp_path / "run", llm.url)
    assert {(result.state, result.rounds) for result in results(tmp_path / "run")} == {("accepted", 3)}
    asked = [words(body) for _, body in llm.requests if is_generator(body) and number(body) == 2]
    assert ["far too kind" in text for text in asked] == [False, True, True]


def test_rounds_are_used_up(tmp_path, data):
    with LocalLLM(script(judge=lambda _: DISSENT)) as llm:
        summary = rad(data, tmp_path / "run", llm.url, "rounds=2")
    assert summary.reasons == {"judge_rejected": 6}
    found = results(tmp_path / "run")[0]
    assert (found.rounds, found.description, found.detail) == (2, None, "far too kind")
    assert count(llm.requests, "generator") == 12


def test_a_blind_judge_accepts_within_its_tolerance(tmp_path, data):
    """Scores 1.25 to 6.25: standard deviation 1.708, half of it 0.854."""

    def judge(body):
        away = {0: 0.85, 1: 0.86, 2: -0.85, 3: -0.86, 4: 0.0, 5: 0.0}[number(body)]
        return json.dumps({"score": number(body) + 1.25 + away, "reason": "the words"})

    with LocalLLM(script(judge=judge)) as llm:
        rad(data, tmp_path / "run", llm.url, "judge.mode=blind", "rounds=2")
    found = results(tmp_path / "run")
    assert [result.state for result in found] == ["accepted", "failed", "accepted", "failed", "accepted", "accepted"]
    assert found[0].judge_score == pytest.approx(2.1) and found[1].judge_score == pytest.approx(3.11)
    again = [words(body) for _, body in llm.requests if is_generator(body) and "sent back" in words(body)]
    assert any("too favourable" in text for text in again) and any("too critical" in text for text in again)
    assert not any("rating: " in words(body) for _, body in llm.requests if not is_generator(body))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Says(None, refusal="I will not."), "refused"),
        ("I'm sorry, I can't help with that.", "refused"),
        (Fails(400, code="content_filter", message="filtered"), "refused"),
        ('{"perception": "Reds', "malformed"),
        (Says(None), "malformed"),
        (lambda body: levels(body, "It scores a 7."), "leaked_score"),
        (Fails(413, message="too big"), "http_413"),
        (Fails(500), "http_500"),
        (Fails(429, {"retry-after": "0.01"}), "http_429"),
        (Cuts(), "connection"),
        (Cuts(begun=True), "connection"),
    ],
)
def test_a_reason_stands_where_no_description_does(tmp_path, data, answer, reason):
    def generator(body):
        if number(body) != 4:
            return levels(body)
        return answer(body) if callable(answer) else answer

    with LocalLLM(script(generator)) as llm:
        summary = rad(data, tmp_path / "run", llm.url, "generator.max_retries=1")
    assert summary.counts["accepted"] == 5
    found = results(tmp_path / "run")[4]
    assert (found.state, found.reason, found.description) == ("failed", reason, None)
    assert found.detail
    rounds = 3 if reason in ("refused", "malformed", "leaked_score") else 1
    assert found.rounds == rounds
    assert [one.outcome for one in exchanges(tmp_path / "run", "generator") if one.position == 4] == [reason] * rounds


def test_a_slow_answer_is_a_timeout_and_is_counted_as_paid(tmp_path, data):
    slow = script(lambda body: Says(levels(body), delay=60.0 if number(body) == 4 else 0.0))
    with LocalLLM(slow) as llm:
        rad(data, tmp_path / "run", llm.url, "generator.timeout=3", "generator.max_retries=0")
    found = results(tmp_path / "run")[4]
    assert (found.reason, found.detail) == ("timeout", "no answer within 3 s")
    assert next(one.cost for one in exchanges(tmp_path / "run") if one.position == 4) > 900


def test_a_leak_is_told_and_mended(tmp_path, data):
    with LocalLLM(script(in_turn(lambda body: levels(body, "A rating of 5."), levels))) as llm:
        rad(data, tmp_path / "run", llm.url)
    assert {(result.state, result.rounds) for result in results(tmp_path / "run")} == {("accepted", 2)}
    assert any("rating of 5" in words(body) for _, body in llm.requests if is_generator(body))


def test_a_judge_that_cannot_be_read_is_asked_twice_and_never_taken_for_consent(tmp_path, data):
    with LocalLLM(script(judge=lambda body: "Yes!" if number(body) == 1 else CONSENT)) as llm:
        rad(data, tmp_path / "run", llm.url)
    found = results(tmp_path / "run")[1]
    assert (found.state, found.reason) == ("failed", "judge_malformed")
    assert (count(llm.requests, "generator"), count(llm.requests, "judge")) == (6, 7)


def test_an_endpoint_without_schemas_is_asked_in_words(tmp_path, data):
    with LocalLLM(script(), structured=False) as llm:
        summary = rad(data, tmp_path / "run", llm.url, "generator.concurrency=1")
        assert summary.counts["accepted"] == 6
        with_schema = [body for _, body in llm.requests if "response_format" in body]
        kinds = [body["response_format"]["type"] for body in with_schema]
        assert kinds == ["json_schema", "json_object"]  # learnt at the first painting
        rad(data, tmp_path / "other", llm.url, "generator.structured=never")
        assert sum("response_format" in body for _, body in llm.requests) == 2


def test_the_client_waits_as_long_as_it_is_told(tmp_path, data):
    with LocalLLM(script()) as llm:
        llm.faults += [(429, {"retry-after": "1"})]
        rad(data, tmp_path / "run", llm.url)
        assert llm.requests[1][0] - llm.requests[0][0] >= 1
    assert len(exchanges(tmp_path / "run")) == 12  # the client's retry is no exchange of its own


def test_pictures_are_scaled_and_those_that_fit_go_unchanged(tmp_path, data):
    Image.new("RGB", (300, 100)).save(data / "images" / "0.jpg")
    hashes = (data / "train.jsonl").read_text().splitlines()
    rows = [json.loads(line) | ({"sha256": ""} if number == 0 else {}) for number, line in enumerate(hashes)]
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen = {}

    def generator(body):
        seen[picture(body).size] = body
        return json.dumps(dict.fromkeys(LEVELS, "See painting-1-."))

    with LocalLLM(script(generator)) as llm:
        rad(data, tmp_path / "run", llm.url, "images.longest_side=30")
    assert set(seen) == {(30, 10), *((8 + number, 8) for number in range(1, 6))}


def test_a_picture_with_a_colour_profile_is_sent_as_a_viewer_shows_it(data):
    path = data / "images" / "0.jpg"
    section = config("http://localhost").images
    grey = Image.new("RGB", (8, 8), (55, 55, 55))
    for profile, value in ((None, 55), (display_profile(1.0, (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)), 128)):
        grey.save(path, quality=100, icc_profile=profile)
        content = base64.b64decode(data_uri(path, "", section).partition(",")[2])
        assert (content == path.read_bytes()) == (profile is None)
        with Image.open(io.BytesIO(content)) as sent:  # 55 of an intensity that is linear is 128 in sRGB
            assert abs(sent.getpixel((4, 4))[0] - value) <= 1


def test_a_disk_that_fails_during_a_run_ends_it_and_no_painting_fails(tmp_path, data):
    def generator(body):
        path = data / "images" / "5.jpg"
        path.unlink(missing_ok=True)
        path.symlink_to("/proc/self/mem")  # reading it fails with EIO
        return levels(body)

    with LocalLLM(script(generator)) as llm, pytest.raises(MachineError, match="5.jpg' cannot be read: Input/output"):
        rad(data, tmp_path / "run", llm.url, "generator.concurrency=1", "judge.concurrency=1")
    assert not [result for result in results(tmp_path / "run") if result.state == "failed"]


def test_an_image_that_is_another_one_now_fails_alone_and_is_not_sent(tmp_path, data):
    Image.new("RGB", (99, 8)).save(data / "images" / "2.jpg")
    (data / "images" / "3.jpg").write_bytes((data / "images" / "3.jpg").read_bytes()[:-4])
    with LocalLLM(script()) as llm:
        summary = rad(data, tmp_path / "run", llm.url)
    assert summary.reasons == {"unreadable_image": 2}
    assert count(llm.requests, "generator") == 4
    assert "not the file that was imported" in results(tmp_path / "run")[2].detail


def test_concurrency_is_kept(tmp_path):
    data = dataset(tmp_path / "data", 40)
    with LocalLLM(script(), delay=0.05) as llm:
        rad(data, tmp_path / "run", llm.url, "generator.concurrency=3", "judge.concurrency=2")
    assert 4 <= llm.peak <= 5


def test_caps_per_minute_space_requests(tmp_path, data):
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "run", llm.url, "generator.requests_per_minute=1200")
    times = [at for at, body in llm.requests if is_generator(body)]
    # Five gaps of 50 ms. The server counts from when it took the first request up, which may be one gap late.
    assert times[-1] - times[0] >= 4 * 60 / 1200


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, "answers the generator 500, to plain text as well .http_500: out of order.; look at the server's log"),
        (400, "refuses the generator's requests .http_400: out of order.; mend generator.parameters"),
    ],
)
def test_an_endpoint_that_takes_nothing_ends_the_run_and_fails_no_painting(tmp_path, status, said):
    data = dataset(tmp_path / "data", 40)
    with LocalLLM(lambda _: Fails(status, message="out of order")) as llm:
        with pytest.raises(ArtQuantError, match=said) as caught:
            rad(data, tmp_path / "run", llm.url, "generator.max_retries=0")
        # Schema, json_object and words; without the picture, the list, the system message; of 500, once more at last.
        assert len(llm.requests) == (7 if status == 500 else 6)
    assert "\n" not in str(caught.value)
    assert {result.state for result in results(tmp_path / "run")} == {"pending"}
    with LocalLLM(script()) as llm:  # nothing is lost with other parameters, as nothing was answered
        changed = rad(data, tmp_path / "run", llm.url, "generator.parameters={max_completion_tokens: 500}")
    assert changed.counts["accepted"] == 40


def test_an_endpoint_that_dies_ends_the_run_and_another_one_goes_on(tmp_path):
    data = dataset(tmp_path / "data", 60)
    with LocalLLM(script()) as llm:
        llm.answer = lambda body: Fails(503) if len(llm.requests) > 40 else script()(body)
        with pytest.raises(ArtQuantError, match="http_503"):
            rad(data, tmp_path / "run", llm.url, *(f"{side}.max_retries=0" for side in ("generator", "judge")))
    before = results(tmp_path / "run")
    assert not any(result.state == "failed" for result in before)
    with LocalLLM(script()) as llm:
        summary = rad(data, tmp_path / "run", llm.url)
        asked = {number(body) for _, body in llm.requests}
    assert summary.counts["accepted"] == 60
    assert not asked & {index for index, result in enumerate(before) if result.state == "accepted"}


@pytest.mark.parametrize(
    ("fault", "message", "requests"),
    [
        (Fails(402, message="Insufficient Balance"), "the account at .* is used up .*Insufficient Balance", 1),
        (Fails(429, {"retry-after": "0.01"}, code="insufficient_quota"), "used up", 1),
        (
            Fails(404, message="no such model"),
            "knows no model",
            6,
        ),  # some answer 404 for pictures: smaller ones follow
    ],
)
def test_what_concerns_the_whole_account_ends_the_run_at_once(tmp_path, data, fault, message, requests):
    with LocalLLM(lambda _: fault) as llm, pytest.raises(ArtQuantError, match=message):
        rad(data, tmp_path / "run", llm.url, "generator.max_retries=0")
    assert len(llm.requests) == requests


def test_a_budget_is_never_passed_and_a_higher_one_goes_on(tmp_path, data):
    """A request costs 2; its worst case is 900 tokens of reply and the prompt's, 903 in all."""
    with LocalLLM(script()) as llm:
        one = rad(data, tmp_path / "run", llm.url, max_cost=5000.0, limit=2)
        assert one.counts["accepted"] == 2 and not one.over_budget
        two = rad(data, tmp_path / "run", llm.url, max_cost=20.0)
        assert two.over_budget and two.counts["accepted"] == 2 and two.cost == 8
        assert "raise it and run again" in "\n".join(two.lines())
        three = rad(data, tmp_path / "run", llm.url, max_cost=5000.0)
    assert three.counts["accepted"] == 6


def test_worst_cases_in_flight_count(tmp_path, data):
    """Where the endpoint counts no tokens, a request costs its worst case, so that the sum shows the limit."""
    with LocalLLM(script(lambda body: Says(levels(body), usage=None), lambda _: Says(CONSENT, usage=None))) as llm:
        summary = rad(data, tmp_path / "run", llm.url, max_cost=4_000.0)
    assert summary.over_budget
    assert 0 < summary.cost <= 4_000
    assert summary.counts["accepted"] >= 1


def parrot(body):
    """A judge that copies its prompt's example, behind prose that says the opposite."""
    example = re.search(r'\{"consistent".*"\}', body["messages"][0]["content"])[0]
    return "The description is inconsistent. " + example.replace("<true or false>", "true")


def test_a_judge_that_parrots_accepts_nothing(tmp_path, data):
    with LocalLLM(script(judge=lambda body: parrot(body) if number(body) < 3 else CONSENT)) as llm:
        summary = rad(data, tmp_path / "run", llm.url)
    assert (summary.counts["accepted"], summary.reasons) == (3, {"judge_malformed": 3})


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (parrot, "copied from the request"),
        ("Yes!", "no JSON object in 'Yes!'"),
        (Says(None, refusal="I will not."), "I will not."),
        ('{"consistent": true, "reason": "inconsistent"}', "the words around it say 'inconsistent'"),
    ],
)
def test_a_judges_second_request_says_what_was_wrong_with_its_first_reply(tmp_path, data, first, told):
    with LocalLLM(script(judge=in_turn(first, CONSENT))) as llm:
        assert rad(data, tmp_path / "run", llm.url).counts["accepted"] == 6
    one, two = [words(body) for _, body in llm.requests if not is_generator(body) and number(body) == 2]
    assert two.startswith(one) and "Your last reply to this was no verdict: " in two and told in two
    assert [e.outcome for e in exchanges(tmp_path / "run", "judge") if e.position == 2][1] == "ok"


def test_a_generator_that_copies_its_instructions_is_told_so(tmp_path, data):
    def copies(body):
        task = re.search(r"perception: (.*)", body["messages"][0]["content"])[1]
        return json.dumps(dict.fromkeys(LEVELS, f"{task} See painting-{number(body)}-."))

    with LocalLLM(script(in_turn(copies, levels))) as llm:
        assert rad(data, tmp_path / "run", llm.url).counts["accepted"] == 6
    assert {result.rounds for result in results(tmp_path / "run")} == {2}
    again = [words(body) for _, body in llm.requests if is_generator(body) and "sent back" in words(body)]
    assert len(again) == 6 and all("copied from the request" in text for text in again)


def test_a_level_that_stays_as_it_was_is_no_copy(tmp_path, data):
    """What the generator is told includes its earlier description, of which it may keep what is right."""
    with LocalLLM(script(judge=in_turn(DISSENT, CONSENT))) as llm:
        rad(data, tmp_path / "run", llm.url)
    assert {(result.state, result.rounds) for result in results(tmp_path / "run")} == {("accepted", 2)}
