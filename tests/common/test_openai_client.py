"""What each error of a server becomes, through the real client and a real server on loopback."""

import asyncio

import pytest

from artquant_plugin.common.openai_client import EndpointDown, OpenAIServer, RequestRefused, RequestUnanswered
from tests.peers.llm_answers import Cuts, Fails, Says
from tests.peers.local_llm import LocalLLM

KEY = "s3cr3t-key"
BODY = {"model": "m", "messages": [{"role": "user", "content": "?"}]}


def ask(url, *, retries=0, timeout=5.0, **options):
    server = OpenAIServer(
        url, "m", "--url", "--model", KEY, "A_KEY", role="judge", timeout=timeout, retries=retries
    )  # fmt: skip

    async def once():
        client = server.connect()
        try:
            return await server.complete(
                client, {"model": "m", "messages": [{"role": "user", "content": "?"}]}, **options
            )
        finally:
            await client.close()

    return asyncio.run(once())


def test_the_whole_body_is_sent_and_the_reply_comes_back():
    with LocalLLM(lambda body: body["messages"][0]["content"] * 2) as llm:
        reply = ask(llm.url)
        assert [body["messages"] for _, body in llm.requests] == [BODY["messages"]]
    assert reply.choices[0].message.content == "??"


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "status"),
    [
        (Fails(400), RequestRefused, "http_400", 400),
        (Fails(413), RequestRefused, "http_413", 413),
        (Fails(422), RequestRefused, "http_422", 422),
        (Fails(400, code="content_filter"), RequestRefused, "refused", 400),
        (Fails(408), RequestUnanswered, "http_408", 408),
        (Fails(409), RequestUnanswered, "http_409", 409),
        (Fails(429), RequestUnanswered, "http_429", 429),
        (Fails(503), RequestUnanswered, "http_503", 503),
        (Cuts(), RequestUnanswered, "connection", None),
        (Says("late", delay=1.0), RequestUnanswered, "timeout", None),
    ],
)
def test_a_failure_that_may_be_one_requests_own_is_no_end(answer, kind, reason, status):
    with LocalLLM(lambda body: answer) as llm, pytest.raises(kind) as failed:
        ask(llm.url, timeout=0.3)
    assert (failed.value.reason, failed.value.status) == (reason, status)
    assert len(llm.requests) == 1 and "\n" not in failed.value.detail


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Fails(401), r"' refuses the key in \$A_KEY \(injected\); set it and run again"),
        (Fails(403), r"' refuses the key in \$A_KEY"),
        (Fails(402), "the account at .* is used up .*top it up"),
        (Fails(429, code="insufficient_quota"), "the account at .* is used up"),
        (Fails(404), r"knows no model 'm' \(injected\); mend --model, or end --url with /v1"),
    ],
)
def test_a_failure_of_every_request_ends_the_run(answer, message):
    with LocalLLM(lambda body: answer) as llm, pytest.raises(EndpointDown, match=message):
        ask(llm.url)


def test_a_provider_that_moderates_with_403_refuses_one_request():
    with LocalLLM(lambda body: Fails(403)) as llm, pytest.raises(RequestRefused) as refused:
        ask(llm.url, forbidden_is_key=False)
    assert refused.value.reason == "http_403"


def test_the_client_repeats_as_often_as_it_is_told():
    answers = iter([Fails(503, {"retry-after": "0.01"}), Fails(429, {"retry-after": "0.01"}), "now"])
    with LocalLLM(lambda body: next(answers)) as llm:
        assert ask(llm.url, retries=2).choices[0].message.content == "now"
        assert len(llm.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 402, 404, 503])
def test_no_message_has_the_key_though_the_server_repeats_it(status):
    with LocalLLM(lambda body: Fails(status, message=f"bad\nkey {KEY}")) as llm:
        with pytest.raises((RequestRefused, RequestUnanswered, EndpointDown), match=r"bad key \[key\]") as failed:
            ask(llm.url)
    assert KEY not in str(failed.value)


def test_nothing_that_is_printed_of_a_server_has_the_key():
    server = OpenAIServer("http://x/v1", "m", "--url", "--model", KEY, role="judge")
    assert KEY not in repr(server)
    assert str(server.no_answer("timeout")) == (
        "no answer from judge 'http://x/v1' (timeout); start the server or mend --url, and run again to go on"
    )
    wants = OpenAIServer("http://x/v1", "m", "--url", "--model", key_option="judge.api_key_env").key_refused("who?")
    assert str(wants) == (
        "'http://x/v1' wants a key (who?); set judge.api_key_env to the name of the variable that holds it"
    )
