"""The endpoint through OpenAI's own client."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import APIConnectionError, AuthenticationError, BadRequestError, OpenAI, RateLimitError

from tests.peers.llm_answers import Cuts, Fails, Says
from tests.peers.local_llm import LocalLLM


def last_words(body):
    return body["messages"][-1]["content"].upper()


def asked(text: str) -> dict:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def test_a_completion_is_answered_from_its_request():
    with LocalLLM(last_words) as llm, OpenAI(base_url=llm.url, api_key="none") as client:
        completion = client.chat.completions.create(**asked("hello"))
    assert (completion.choices[0].message.content, completion.model) == ("HELLO", "m")
    assert [body["messages"] for _, body in llm.requests] == [asked("hello")["messages"]]


def test_a_fault_refuses_one_request_each():
    with LocalLLM(last_words) as llm, OpenAI(base_url=llm.url, api_key="none", max_retries=0) as client:
        llm.faults.append((429, {"retry-after": "0"}))
        with pytest.raises(RateLimitError, match="injected"):
            client.chat.completions.create(**asked("a"))
        assert client.chat.completions.create(**asked("a")).choices[0].message.content == "A"
    assert len(llm.requests) == 2


def test_requests_in_flight_are_counted():
    with LocalLLM(last_words, delay=0.2) as llm, OpenAI(base_url=llm.url, api_key="none") as client:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda text: client.chat.completions.create(**asked(text)), "abc"))
    assert llm.peak == 3


def test_a_batch_goes_from_file_to_file():
    lines = [
        {"custom_id": text, "method": "POST", "url": "/v1/chat/completions", "body": asked(text)} for text in "ab"
    ]
    with LocalLLM(last_words) as llm, OpenAI(base_url=llm.url, api_key="none") as client:
        content = io.BytesIO("".join(json.dumps(line) + "\n" for line in lines).encode())
        uploaded = client.files.create(file=("in.jsonl", content), purpose="batch")
        batch = client.batches.create(
            input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        assert batch.status == "validating"
        done = client.batches.retrieve(batch.id)
        answers = [json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]
    texts = {a["custom_id"]: a["response"]["body"]["choices"][0]["message"]["content"] for a in answers}
    assert (done.status, texts) == ("completed", {"a": "A", "b": "B"})


@pytest.mark.parametrize("begun", [False, True])
def test_a_connection_can_be_cut(begun):
    with LocalLLM(lambda _: Cuts(begun)) as llm, OpenAI(base_url=llm.url, api_key="none", max_retries=0) as client:
        with pytest.raises(APIConnectionError):
            client.chat.completions.create(**asked("a"))


def test_a_refusal_has_no_text_and_counts_may_be_left_out():
    with LocalLLM(lambda _: Says(None, refusal="No.", usage=None)) as llm:
        with OpenAI(base_url=llm.url, api_key="none") as client:
            completion = client.chat.completions.create(**asked("a"))
    message = completion.choices[0].message
    assert (message.content, message.refusal, completion.usage) == (None, "No.", None)


def test_only_the_right_key_is_taken():
    with LocalLLM(last_words, key="right") as llm:
        with OpenAI(base_url=llm.url, api_key="wrong") as client, pytest.raises(AuthenticationError, match="wrong"):
            client.models.list()
        with OpenAI(base_url=llm.url, api_key="right") as client:
            assert client.chat.completions.create(**asked("a")).choices[0].message.content == "A"


def test_schemas_can_be_unknown():
    with LocalLLM(last_words, structured=False) as llm, OpenAI(base_url=llm.url, api_key="none") as client:
        with pytest.raises(BadRequestError, match="response_format"):
            client.chat.completions.create(**asked("a"), response_format={"type": "json_object"})


def test_a_batch_has_errors_and_expires_and_is_listed():
    with LocalLLM(lambda body: Fails(500) if body["messages"][-1]["content"] == "a" else "B") as llm:
        llm.expire = [1 / 3]
        with OpenAI(base_url=llm.url, api_key="none") as client:
            lines = [
                {"custom_id": text, "method": "POST", "url": "/v1/chat/completions", "body": asked(text)}
                for text in "abc"
            ]
            content = io.BytesIO("".join(json.dumps(line) + "\n" for line in lines).encode())
            uploaded = client.files.create(file=("in.jsonl", content), purpose="batch")
            create = client.batches.create
            for name in ("x", "y", "z"):
                create(
                    input_file_id=uploaded.id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={"name": name},
                )
            listed = list(client.batches.list(limit=2))
            assert [batch.metadata["name"] for batch in listed] == ["z", "y", "x"]
            done = client.batches.retrieve(listed[-1].id)
            errors = [json.loads(line) for line in client.files.content(done.error_file_id).text.splitlines()]
            answers = client.files.content(done.output_file_id).text.splitlines()
    assert done.status == "expired"
    assert [json.loads(line)["custom_id"] for line in answers] == ["b"]
    found = {line["custom_id"]: (line["response"] or {}).get("status_code") for line in errors}
    assert found == {"a": 500, "c": None}
