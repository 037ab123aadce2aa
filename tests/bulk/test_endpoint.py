"""Scoring through a server: real HTTP on loopback."""

import itertools
import json
import math
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from artquant_plugin.bulk.endpoint import EndpointEngine
from artquant_plugin.bulk.inputs import find_inputs
from artquant_plugin.bulk.output_file import score_to_file
from artquant_plugin.bulk.rows import score_rows
from artquant_plugin.checkpoint import ScoringSpec, shipped_presets
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.openai_client import EndpointDown
from artquant_plugin.prompting.prompter import PromptSpec
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.bulk.test_inputs import encoded
from tests.peers.logprob_server import LogprobServer, checkpoint_answer, picture_of
from tests.tiny import pictures, tiny_checkpoint, tiny_llava


def by_brightness(body):
    """Good with the picture's brightness, bad with the rest, 0.1 on something else."""
    light = 0.9 * np.asarray(picture_of(body)).mean() / 255
    return [(" good", math.log(light + 1e-9)), (" bad", math.log(0.9 - light + 1e-9)), (" x", math.log(0.1))]


def engine(server, **options):
    return EndpointEngine(server.url, "m", ScoringSpec(), **options)


def test_the_server_gives_the_scores_of_the_checkpoint_itself():
    images = pictures(6)
    expected = ArtQuantScorer(tiny_checkpoint()).score(images)
    with LogprobServer(checkpoint_answer(*tiny_llava())) as server:
        results = list(engine(server, min_mass=1e-9).results(map(encoded, images)))
    for result, score in zip(results, expected, strict=True):
        assert result["score"] == pytest.approx(score.score, abs=1e-5)
        assert result["levels"] == pytest.approx(score.levels, abs=1e-6)
        assert result["extras"]["score_bound"] == 0


def test_a_level_beyond_the_servers_list_stays_within_the_bound():
    images = pictures(6)
    expected = ArtQuantScorer(tiny_checkpoint()).score(images)
    with LogprobServer(checkpoint_answer(*tiny_llava(), limit=250)) as server:
        results = list(engine(server, min_mass=1e-9).results(map(encoded, images)))
    bounds = [result["extras"]["score_bound"] for result in results]
    assert max(bounds) > 0.01
    for result, score, bound in zip(results, expected, bounds, strict=True):
        assert abs(result["score"] - score.score) <= bound + 1e-6


def test_the_request_begins_the_answer(paintings):
    spec = ScoringSpec(prompt=PromptSpec(question="How good?", answer_prefix="It is", image_first=False))
    with LogprobServer(by_brightness) as server:
        chosen = EndpointEngine(server.url, "m", spec, extra_body={"seed": 1})
        list(chosen.results([encoded(Image.new("RGB", (5, 3), (1, 2, 3)))]))
    (body,) = server.bodies
    user, assistant = body["messages"]
    assert [part["type"] for part in user["content"]] == ["text", "image_url"]
    assert user["content"][0]["text"] == "How good?"
    assert assistant == {"role": "assistant", "content": "It is"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"], body["temperature"]) == (1, True, 20, 1.0)
    assert (body["chat_template_kwargs"], body["seed"]) == ({"enable_thinking": False}, 1)
    assert picture_of(body).size == (5, 3) and picture_of(body).getpixel((0, 0)) == (1, 2, 3)


def test_a_question_that_names_the_words_already_is_sent_as_it_is():
    spec = shipped_presets()["zero-shot"].spec
    with LogprobServer(by_brightness) as server:
        list(EndpointEngine(server.url, "m", spec, ask="word").results(map(encoded, pictures(1))))
    assert server.bodies[0]["messages"][-1]["content"][1]["text"] == spec.prompt.question


def test_the_other_prompt_asks_for_one_word_and_sends_nothing_special():
    with LogprobServer(by_brightness) as server:
        list(engine(server, ask="word").results(map(encoded, pictures(1))))
    (body,) = server.bodies
    text = body["messages"][-1]["content"][1]["text"]
    assert text.endswith("painting? Answer with one word: excellent, good, fair, poor or bad.")
    assert len(body["messages"]) == 1
    assert not {"continue_final_message", "add_generation_prompt", "chat_template_kwargs"} & set(body)


def test_rows_keep_their_order_while_requests_overlap(paintings):
    number, together = itertools.count(), threading.Barrier(4)

    def slowly(body):
        if 1 <= next(number) <= 4:  # behind the first one, which may be sent alone
            together.wait(60)
        time.sleep(0.3 if picture_of(body).getpixel((0, 0))[0] % 20 == 0 else 0.0)
        return by_brightness(body)

    (paintings / "early" / "2.png").write_text("<html>")
    with LogprobServer(slowly) as server:
        rows = list(score_rows(engine(server, concurrency=4), find_inputs([str(paintings)]).images()))
    assert server.peak == 4
    assert [row["score"] is None for row in rows] == [index == 2 for index in range(10)]
    assert "is no image" in rows[2]["reason"]
    expected = [7.5 * light + 1 * (1 - light) for light in (index * 10 / 255 for index in range(10))]
    assert [row["score"] for row in rows if row["score"]] == pytest.approx([*expected[:2], *expected[3:]], abs=1e-4)
    assert rows[5]["level_mass"] == pytest.approx(0.9)
    assert len(server.bodies) == 9


def test_a_server_without_log_probabilities_costs_one_request(paintings):
    with LogprobServer(lambda body: None) as server, pytest.raises(EndpointDown, match="lists no log-probabilities"):
        list(score_rows(engine(server), find_inputs([str(paintings)]).images()))
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("answer", "message", "requests"),
    [
        ((401, "no key"), r"wants a key in \$OPENAI_API_KEY \(", 1),
        ((404, "no model"), r"knows no model 'm' \(.*mend --model, or end --endpoint with /v1", 5),
        # The request, four smaller ones, and the request again with the client's own five retries after 500.
        ((422, "unknown field"), r"answers 422, to plain text as well \(.*unknown field", 5),
        ((500, "crash"), r"answers 500, to plain text as well \(.*run again to go on", 11),
    ],
)
def test_a_refused_first_request_stops_the_run(answer, message, requests, monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    with LogprobServer(lambda body: answer) as server, pytest.raises(EndpointDown, match=message) as stopped:
        list(engine(server).results(map(encoded, pictures(3))))
    assert len(server.bodies) == requests
    assert "\n" not in str(stopped.value)


def has_lists(body):
    return isinstance(body["messages"][0]["content"], list)


def has_pictures(body):
    return has_lists(body) and any(part["type"] == "image_url" for part in body["messages"][0]["content"])


@pytest.mark.parametrize("status", [400, 404, 415, 422, 500, 501])
@pytest.mark.parametrize(
    ("uses", "message", "requests"),
    [
        (lambda body: "continue_final_message" in body, r"does not support an answer that .*pass --prompt word", 3),
        (lambda body: "logprobs" in body, "does not support log-probabilities: .*; use a server that lists them", 4),
        (has_pictures, "does not support pictures: .*; use a server and a model that take pictures", 6),
        (has_lists, "does not support messages whose content is a list, which pictures need", 6),
    ],
    ids=["prefill", "logprobs", "pictures", "lists"],
)
def test_what_a_server_does_not_support_is_found_without_retries(uses, message, requests, status):
    def answer(body):
        return (status, "internal") if uses(body) else [(" good", -0.1)]

    with LogprobServer(answer) as server, pytest.raises(EndpointDown, match=message):
        list(engine(server).results(map(encoded, pictures(3))))
    assert len(server.bodies) == requests


def test_an_error_500_that_passes_costs_one_more_request(monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    failures = iter([(500, "loading")] * 5)
    with LogprobServer(lambda body: next(failures, None) or by_brightness(body)) as server:
        results = list(engine(server).results(map(encoded, pictures(2))))
    assert len(results) == 2 and all(isinstance(result, dict) for result in results)


@pytest.mark.parametrize("bad", [[], None, (500, "decoder"), "no completion"], ids=["empty", "none", "500", "text"])
def test_a_reply_without_a_score_is_one_images_reason(bad, paintings, monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)

    def answer(body):
        return bad if picture_of(body).getpixel((0, 0))[0] == 50 else by_brightness(body)

    with LogprobServer(answer) as server:
        rows = list(score_rows(engine(server), find_inputs([str(paintings)]).images()))
    assert [index for index, row in enumerate(rows) if row["score"] is None] == [5]
    assert rows[5]["reason"].startswith(("the server", "the reply lists no log-probabilities"))


def test_an_empty_first_reply_is_one_images_reason(paintings):
    def answer(body):
        return [] if picture_of(body).getpixel((0, 0))[0] == 0 else by_brightness(body)

    with LogprobServer(answer) as server:
        rows = list(score_rows(engine(server), find_inputs([str(paintings)]).images()))
    assert [index for index, row in enumerate(rows) if row["score"] is None] == [0]
    assert rows[0]["reason"] == "the server's reply has no token; the model ended its answer before the first word"


def test_a_server_that_drops_the_text_ends_the_run(monkeypatch):
    # The question has 48 characters and the answer's first words have 30, more than 7 tokens hold.
    usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
    monkeypatch.setattr("tests.peers.logprob_server.USAGE", usage)
    with (
        LogprobServer(by_brightness) as server,
        pytest.raises(EndpointDown, match="counts 7 tokens for a prompt with 78 char"),
    ):
        list(engine(server).results(map(encoded, pictures(3))))
    assert len(server.bodies) == 1


def test_a_key_among_the_listed_tokens_does_not_come_into_a_reason(paintings):
    listed = [("s3cr3t-key", math.log(0.9)), (" good", math.log(0.01))]
    with LogprobServer(lambda body: listed) as server:
        rows = list(score_rows(engine(server, key="s3cr3t-key"), find_inputs([str(paintings)]).images()))
    assert all(row["score"] is None and "'[key]' 0.90" in row["reason"] for row in rows)


def test_a_wrong_key_is_told_from_a_missing_one():
    with LogprobServer(by_brightness, key="right") as server:
        assert len(list(engine(server, key="right").results(map(encoded, pictures(2))))) == 2
        with pytest.raises(EndpointDown, match=r"refuses the key in \$OPENAI_API_KEY"):
            list(engine(server, key="wrong").results(map(encoded, pictures(2))))
        assert "right" not in repr(engine(server, key="right"))


def test_a_server_that_repeats_the_key_does_not_bring_it_into_a_message():
    with LogprobServer(lambda body: (401, "no such key: s3cr3t-key")) as server:
        with pytest.raises(EndpointDown, match=r"no such key: \[key\]") as stopped:
            list(engine(server, key="s3cr3t-key").results(map(encoded, pictures(1))))
        assert "s3cr3t" not in str(stopped.value)


ECHO = "you are ann:hunter22 and sent YW5uOmh1bnRlcjIy, s3cr3t\\u002dkey and s3cr3t%2Dkey"


@pytest.mark.parametrize("repeats_from", [0, 1, 2], ids=["the probe", "the first picture", "the second picture"])
def test_no_row_and_no_record_has_a_secret_that_the_server_repeats(paintings, tmp_path, repeats_from):
    asked = itertools.count()

    def answer(body):
        if not has_pictures(body) or next(asked) < repeats_from:
            return [(" good", -0.01)]
        return (400, ECHO) if picture_of(body).getpixel((0, 0))[0] == 50 else [(ECHO, -0.01), (" good", -9.0)]

    with LogprobServer(answer) as server:
        url = server.url.replace("://", "://ann:hunter22@")
        chosen = EndpointEngine(url, "m", ScoringSpec(), extra_body={"api_key": "abcd-1234"}, key="s3cr3t-key")
        score_to_file(find_inputs([str(paintings)]), chosen, tmp_path / "out" / "s.jsonl", show=False)
    assert server.authorization == "Basic YW5uOmh1bnRlcjIy"  # ann:hunter22
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"[key]" in written and server.bodies[0]["api_key"] == "abcd-1234"
    for secret in (b"hunter", b"YW5uOmh1bnRlcjIy", b"s3cr3t", b"abcd-1234"):
        assert secret not in written
    assert "hunter" not in repr(chosen)


@pytest.mark.parametrize("url", ["http://ann:hun/ter22@host/v1", "ftp://host/hunter22", "http://", "host/hunter22"])
def test_what_is_no_address_is_refused_and_not_repeated(url):
    with pytest.raises(ArtQuantError, match="--endpoint is no address such as http") as refused:
        EndpointEngine(url, "m", ScoringSpec())
    assert "ter22" not in str(refused.value)


def test_a_first_picture_that_the_server_does_not_take_is_one_images_reason(paintings):
    def answer(body):
        return (413, "too large") if picture_of(body).size == (12, 8) else by_brightness(body)

    (paintings / "late" / "9.png").unlink()
    Image.new("RGB", (9, 9), (90,) * 3).save(paintings / "late" / "9.png")
    with LogprobServer(lambda body: answer(body) if has_pictures(body) else [(" good", -0.1)]) as server:
        rows = list(score_rows(engine(server, ask="word"), find_inputs([str(paintings)]).images()))
    assert [row["score"] is None for row in rows] == [True] * 9 + [False]
    assert "refuses the request (too large); look at the image's size and format" in rows[0]["reason"]


def test_a_reply_that_is_no_completion_ends_the_run_in_one_line():
    said = "no answer from .*a reply that is no completion.*mend --endpoint"
    with LogprobServer(lambda body: "Bad gateway") as server, pytest.raises(EndpointDown, match=said) as stopped:
        list(engine(server).results(map(encoded, pictures(3))))
    assert len(server.bodies) == 1 and "\n" not in str(stopped.value)


def test_a_server_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    absent = EndpointEngine("http://127.0.0.1:9/v1", "m", ScoringSpec())
    with pytest.raises(EndpointDown, match=r"no answer from 'http://127.0.0.1:9/v1' \(.*start the server"):
        list(absent.results(map(encoded, pictures(1))))


def test_an_image_that_the_server_refuses_is_a_row(paintings):
    def refuse(body):
        return (400, "too many tokens") if picture_of(body).getpixel((0, 0))[0] == 50 else by_brightness(body)

    with LogprobServer(refuse) as server:
        rows = list(score_rows(engine(server), find_inputs([str(paintings)]).images()))
    assert [index for index, row in enumerate(rows) if row["score"] is None] == [5]
    assert "too many tokens" in rows[5]["reason"]


def test_a_server_that_dies_loses_no_finished_row(paintings, tmp_path, monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    alive, lock = [6], threading.Lock()

    def dies(body):
        with lock:
            alive[0] -= 1
            return by_brightness(body) if alive[0] >= 0 else (503, "gone")

    inputs, out = find_inputs([str(paintings)]), tmp_path / "s.jsonl"
    with LogprobServer(dies) as server, pytest.raises(EndpointDown, match="answers 503"):
        score_to_file(inputs, engine(server, concurrency=1), out, show=False)
    with LogprobServer(by_brightness) as server:
        summary = score_to_file(inputs, engine(server), out, show=False)
    assert (summary.rows, summary.computed, len(server.bodies)) == (10, 4, 4)
    assert list(json.loads(out.read_text().splitlines()[0])) == [
        *("path", "score", "levels", "entropy", "level_mass", "score_bound", "reason")
    ]
    with pytest.raises(ArtQuantError, match="options.prompt prefill -> word"):
        score_to_file(inputs, replace(engine(server), ask="word"), out, show=False)


def test_level_tokens_must_be_as_many_as_levels():
    with pytest.raises(ArtQuantError, match="2 level tokens for 5 levels; give one for each of excellent, good"):
        EndpointEngine("http://x/v1", "m", ScoringSpec(), tokens=("a", "b"))


@pytest.mark.parametrize(
    ("tokens", "ask"),
    [
        (("a", "b", "c", "d", "a"), "prefill"),
        (("a", "b", "c", "d", ""), "prefill"),
        (("a", "b", "c", "d", "A"), "word"),
    ],
)
def test_level_tokens_that_are_not_told_apart_are_refused(tokens, ask):
    with pytest.raises(ArtQuantError, match="are empty or repeat one; tell levels apart"):
        EndpointEngine("http://127.0.0.1:9/v1", "m", ScoringSpec(), tokens=tokens, ask=ask)


def test_a_log_probability_that_is_none_is_one_images_reason():
    def answer(body):
        return [(" good", math.nan if len(server.bodies) == 2 else -1.0)]

    with LogprobServer(answer) as server:
        first, second, third = engine(server, concurrency=1).results(map(encoded, pictures(3)))
    assert first["score"] == third["score"] == 7.5
    assert "gives ' good' the log-probability nan, which is no number" in str(second)
