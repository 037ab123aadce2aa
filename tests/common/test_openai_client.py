"""What each error of a server becomes, through the real client and a real server on loopback."""

import asyncio
import json
import socket
import threading

import pytest

from artquant_plugin.common import openai_client
from artquant_plugin.common.openai_client import EndpointDown, OpenAIServer, RequestRefused, RequestUnanswered
from tests.peers.llm_answers import Cuts, Fails, Says, Sends
from tests.peers.llm_forms import NO_COMPLETIONS, NO_JSON, NO_USAGE, WHOLE, choice, completion, inflated
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
        ask(llm.url, timeout=0.3 if reason == "timeout" else 30.0)  # on a busy machine, any answer takes a while
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


@pytest.mark.parametrize("status", [400, 401, 402, 404, 503, None])
def test_no_message_has_the_password_of_an_address_though_the_server_repeats_it(status):
    echo = "you are ann:hunter22, hunter22, hunter%322, YW5uOmh1bnRlcjIy"
    with LocalLLM(lambda body: Fails(status, message=echo) if status else Cuts()) as llm:
        url = llm.url.replace("://", "://ann:hunter22@") + "?api_key=abcd-1234"
        with pytest.raises((RequestRefused, RequestUnanswered, EndpointDown)) as failed:
            ask(url)
        server = OpenAIServer(url, "m", "--url", "--model")
    shown = f"{failed.value} {server!r} {server.no_answer(server.without_key(echo))} {server.without_key(url)}"
    assert not [secret for secret in ("hunter", "YW5uOmh1bnRlcjIy", "abcd-1234") if secret in shown]
    assert "://[key]@127.0.0.1" in str(server.no_answer(""))


@pytest.mark.parametrize("form", NO_COMPLETIONS)
def test_json_that_is_no_completion_is_no_answer(form):
    with LocalLLM(lambda body: Sends(json.dumps(NO_COMPLETIONS[form]).encode())) as llm:
        with pytest.raises(RequestUnanswered) as failed:
            ask(llm.url)
    assert failed.value.reason == "no_completion"
    assert failed.value.detail.startswith("a reply ") and "\n" not in failed.value.detail


@pytest.mark.parametrize("form", NO_JSON)
@pytest.mark.parametrize("kind", ["application/json", "text/html; charset=hex", "text/event-stream", ""])
def test_bytes_that_are_no_json_are_no_answer(form, kind):
    with LocalLLM(lambda body: Sends(NO_JSON[form], headers={"content-type": kind} if kind else {})) as llm:
        with pytest.raises(RequestUnanswered) as failed:
            ask(llm.url)
    assert failed.value.reason == "no_completion"


@pytest.mark.parametrize("kind", ["text/plain", "text/html; charset=utf-16", ""])
def test_a_completion_is_read_whatever_its_content_type_says(kind):
    with LocalLLM(lambda body: Sends(WHOLE, headers={"content-type": kind} if kind else {})) as llm:
        assert ask(llm.url).choices[0].message.content == "{}"


@pytest.mark.parametrize("form", NO_USAGE)
def test_token_counts_that_cannot_be_are_unknown(form):
    body = json.dumps(completion(usage=NO_USAGE[form])).encode()
    with LocalLLM(lambda _: Sends(body)) as llm:
        usage = ask(llm.url).usage
    known = {"one negative": (1000, None), "many digits": (None, 1), "none": (None, 0)}
    assert (usage.prompt_tokens, usage.completion_tokens) == known.get(form, (None, None))


def test_half_a_pair_and_the_key_are_taken_out_of_a_reply():
    with LocalLLM(lambda body: Sends(choice(message={"content": f"\ud83d {KEY} \U0001f3a8", "refusal": KEY}))) as llm:
        message = ask(llm.url).choices[0].message
    assert (message.content, message.refusal) == ("\ufffd [key] \U0001f3a8", "[key]")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"content": []}, True),
        ({"content": [{"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": []}]}, True),
        ([], False),
        ("no", False),
        ({"content": 5}, False),
        ({"content": [{"token": "a"}]}, False),
        ({"content": [{"token": 5, "logprob": "x", "top_logprobs": None}]}, False),
    ],
)
def test_log_probabilities_are_of_the_protocols_form_or_absent(given, kept):
    with LocalLLM(lambda body: Sends(choice(logprobs=given))) as llm:
        assert (ask(llm.url).choices[0].logprobs is not None) == kept


def pieces(size, piece=b" " * 65536):
    return lambda: (piece for _ in range(size // len(piece)))


def test_a_reply_that_never_ends_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(openai_client, "REPLY_BYTES", 2**20)
    with LocalLLM(lambda body: Sends(pieces=pieces(2**28))) as llm:
        with pytest.raises(RequestUnanswered, match="more than 1,048,576 bytes") as failed:
            ask(llm.url, timeout=30)
        assert llm.sent < 2**25  # what lies in the system's buffers beside the first piece too many
    assert failed.value.reason == "no_completion" and len(llm.requests) == 1


def test_a_compressed_reply_is_bounded_by_what_it_becomes(monkeypatch):
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    with LocalLLM(lambda body: Sends(inflated(2**20), headers=headers)) as llm:
        assert ask(llm.url).choices[0].message.content == "{}"
        monkeypatch.setattr(openai_client, "REPLY_BYTES", 2**20)
        with pytest.raises(RequestUnanswered, match="more than 1,048,576 bytes"):
            ask(llm.url)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "rot13"])
def test_a_compression_that_is_none_is_a_broken_connection(encoding):
    headers = {"content-type": "application/json", "content-encoding": encoding}
    with LocalLLM(lambda body: Sends(b"x" * 100, headers=headers)) as llm:
        with pytest.raises(RequestUnanswered) as failed:
            ask(llm.url)
    assert failed.value.reason == "connection" and len(llm.requests) == 1


def test_a_reply_that_trickles_is_a_timeout_however_its_bytes_come():
    with LocalLLM(lambda body: Sends(pieces=pieces(100, b" "), pause=0.1)) as llm:
        with pytest.raises(RequestUnanswered, match="no answer within 0.5 s") as failed:
            ask(llm.url, timeout=0.5)
        sent = llm.sent  # one byte every tenth of a second
    assert failed.value.reason == "timeout" and sent < 30


def test_all_attempts_of_a_request_that_trickles_have_twice_the_time_of_one():
    with LocalLLM(lambda body: Sends(pieces=pieces(100, b" "), pause=0.1)) as llm:
        with pytest.raises(RequestUnanswered, match="no answer within 2 s, all attempts together") as failed:
            ask(llm.url, timeout=1.0, retries=9)
    assert failed.value.reason == "timeout"
    assert len(llm.requests) in (2, 3)  # a third one is not sent to its end


@pytest.mark.slow
def test_waits_between_attempts_are_not_counted():
    with LocalLLM(lambda body: "yes") as llm:
        llm.faults += [(429, {"retry-after": "2"})] * 2
        assert ask(llm.url, timeout=1.8, retries=2).choices[0].message.content == "yes"


@pytest.mark.parametrize(
    "answer",
    [b"garbage\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", b"",
     b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n{}", b"HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\n\r\n",
     b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
)  # fmt: skip
def test_bytes_that_are_no_http_are_a_broken_connection(answer):
    def serve(listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        with pytest.raises((RequestUnanswered, RequestRefused)) as failed:
            ask(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", timeout=5)
    assert failed.value.reason in ("connection", "http_302") and "\n" not in failed.value.detail


@pytest.mark.parametrize(
    "error", [b"", b"null", b"[]", b'"no"', b"\xff", b'{"error": 5}', b'{"error": {"message": [1], "code": {}}}',
              b'{"error": {"message": "\\ud83d", "code": [1]}}', b"[" * 100_000],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_an_error_of_any_form_is_one_line(error, status):
    with LocalLLM(lambda body: Sends(error, status)) as llm:
        with pytest.raises((RequestRefused, RequestUnanswered, EndpointDown)) as failed:
            ask(llm.url)
    assert "\n" not in str(failed.value)
    str(failed.value).encode()
