"""What a server does not support is found at a side's first request, and is no server that is down."""

import pytest

from artquant_plugin.common.openai_client import EndpointDown
from tests.peers.llm_answers import Fails, Says
from tests.peers.local_llm import LocalLLM
from tests.train.rad.runs import CONSENT, count, dataset, exchanges, is_generator, levels, number, rad, results, script

STATUSES = [400, 404, 413, 415, 422, 500, 501]


def asks_for(kind):
    """Whether a request asks for its reply in this form of the protocol."""
    return lambda body: body.get("response_format", {}).get("type") == kind


def has_picture(body):
    return is_generator(body) and any(part["type"] == "image_url" for part in body["messages"][-1]["content"])


def has_system(body):
    return body["messages"][0]["role"] == "system"


def without(uses, status):
    """An endpoint that answers this status to whatever it does not support."""
    answers = script()

    def answer(body):
        if uses(body):
            return Fails(status, message="internal")
        return answers(body) if has_picture(body) or not is_generator(body) else Says("-")

    return answer


@pytest.fixture
def data(tmp_path):
    return dataset(tmp_path / "data", 2)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("uses", "kind", "requests"),
    [
        # What may be a passing fault is asked once more: 500 and 501.
        (asks_for("json_schema"), "json_object", 1),
        (lambda body: "response_format" in body, None, 2),
    ],
    ids=["schema", "any form"],
)
def test_a_form_of_replies_that_a_server_does_not_support_is_left_out(tmp_path, data, uses, kind, requests, status):
    with LocalLLM(without(uses, status)) as llm:
        assert rad(data, tmp_path / "run", llm.url).counts["accepted"] == 2
        assert count(llm.requests, "generator") == 2 + requests + (status >= 500)
        last = [body for _, body in llm.requests if is_generator(body)][-1]
        assert last.get("response_format") == (kind and {"type": kind})
        llm.requests.clear()
        rad(dataset(tmp_path / "more", 2), tmp_path / "other", llm.url, "generator.structured=never")
        assert count(llm.requests, "generator") == 2
    assert {exchange.outcome for exchange in exchanges(tmp_path / "run")} == {"ok"}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("uses", "settings", "message", "requests"),
    [
        # With `always`: the request, the same without the schema, and the whole request once more.
        (asks_for("json_schema"), ["generator.structured=always"], "a JSON schema .*set generator.structured=nev", 3),
        # Without the picture in addition, and with a small one.
        (
            has_picture,
            ["generator.structured=never"],
            "not support pictures: .*set generator.model to a model that",
            4,
        ),
        (
            is_generator,
            ["generator.structured=never"],
            "not support messages whose content is a list.*sees pictures",
            4,
        ),
        (has_system, ["judge.structured=never"], "not support a system message: .*set generator.model to a model", 7),
    ],
    ids=["schema", "pictures", "lists", "system"],
)
def test_a_feature_that_a_server_does_not_support_is_named(tmp_path, data, uses, settings, message, requests, status):
    with LocalLLM(without(uses, status)) as llm, pytest.raises(EndpointDown, match=message) as ended:
        rad(data, tmp_path / "run", llm.url, *settings)
    assert len(llm.requests) == requests
    assert f"it answers {status} (internal), and is fine without" in str(ended.value)
    assert "start the server" not in str(ended.value) and "\n" not in str(ended.value)
    assert {result.state for result in results(tmp_path / "run")} == {"pending"}


def test_a_judge_without_system_messages_is_named(tmp_path, data):
    answer = without(lambda body: not is_generator(body) and has_system(body), 500)
    with (
        LocalLLM(answer) as llm,
        pytest.raises(EndpointDown, match="a system message: .*; set judge.model to a model"),
    ):
        rad(data, tmp_path / "run", llm.url)
    assert count(llm.requests, "judge") == 3  # with it, without it, and with it once more


@pytest.mark.parametrize("status", [413, 400, 500])
def test_a_first_picture_that_a_server_does_not_take_is_one_paintings_reason(tmp_path, data, status):
    def answer(body):
        if has_picture(body) and number(body) == 0:
            return Fails(status, message="too large")
        return script()(body) if has_picture(body) or not is_generator(body) else Says("-")

    with LocalLLM(answer) as llm:
        rad(data, tmp_path / "run", llm.url, "generator.concurrency=1")
    first, second = results(tmp_path / "run")
    assert (first.state, first.reason, first.detail) == ("failed", f"http_{status}", "too large")
    assert second.state == "accepted"


def test_an_error_500_that_passes_leaves_the_schema(tmp_path, data):
    with LocalLLM(script()) as llm:
        llm.faults = [(500, {})]
        assert rad(data, tmp_path / "run", llm.url).counts["accepted"] == 2
    asked = [body for _, body in llm.requests if is_generator(body)]
    assert [body["response_format"]["type"] for body in asked] == [
        *("json_schema", "json_object"),
        *("json_schema", "json_schema"),
    ]


def test_a_server_that_drops_the_text_ends_the_run(tmp_path, data):
    with LocalLLM(script(lambda body: Says(levels(body), usage=(60, 90)))) as llm:
        with pytest.raises(EndpointDown, match=r"drops the text of the generator's request \(it counts 60 tokens for"):
            rad(data, tmp_path / "run", llm.url)
    assert len(llm.requests) == 1


@pytest.mark.parametrize("batch", [False, True])
def test_text_that_is_dropped_later_is_one_paintings_reason(tmp_path, batch):
    data = dataset(tmp_path / "data", 4)

    def generator(body):
        return Says(levels(body), usage=(60 if number(body) == 3 else 1000, 1))

    with LocalLLM(script(generator)) as llm:
        summary = rad(data, tmp_path / "run", llm.url, f"generator.batch={str(batch).lower()}", batch=batch)
    assert (summary.counts["accepted"], summary.reasons) == (3, {"dropped_text": 1})
    assert "counts 60 tokens for a prompt with" in results(tmp_path / "run")[3].detail


def test_an_empty_first_reply_is_one_paintings_reason(tmp_path, data):
    answers = script(lambda body: Says("", usage=(1000, 0)) if number(body) == 0 else levels(body), lambda _: CONSENT)
    with LocalLLM(answers) as llm:
        summary = rad(data, tmp_path / "run", llm.url, "rounds=1")
    assert (summary.counts["accepted"], summary.reasons) == (1, {"malformed": 1})


@pytest.mark.parametrize("status", [400, 415, 422, 500, 501])
def test_a_batch_without_schemas_is_sent_again_in_words(tmp_path, data, status):
    with LocalLLM(without(lambda body: "response_format" in body, status)) as llm:
        summary = rad(data, tmp_path / "run", llm.url, "generator.batch=true", batch=True)
    assert summary.counts["accepted"] == 2
    assert len(llm.batches) == 2


def test_a_batch_in_which_every_request_fails_stops_the_run(tmp_path):
    data = dataset(tmp_path / "data", 6)
    with LocalLLM(lambda body: Fails(500, message="no pictures here")) as llm:
        with pytest.raises(Exception, match="6 replies of the generator in a row .*http_500: no pictures here"):
            rad(data, tmp_path / "run", llm.url, "generator.batch=true", "give_up_after=6", batch=True)
