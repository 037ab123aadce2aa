"""Bodies that a server may send with status 200 in the place of a completion, and token counts that cannot be."""

import gzip
import json
from typing import Any


def completion(**changes: Any) -> dict[str, Any]:
    """A whole completion, with some of its fields changed."""
    whole = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "{}"}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 1, "total_tokens": 1001},
    }
    return whole | changes


def choice(**changes: Any) -> bytes:
    """A completion whose choice has other fields, as bytes."""
    given = {"index": 0, "finish_reason": "stop", "message": {"content": "{}"}}
    return json.dumps(completion(choices=[given | changes])).encode()


WHOLE = json.dumps(completion()).encode()

# JSON of another form, which a line of a batch's file can hold as well.
NO_COMPLETIONS: dict[str, Any] = {
    "null": None,
    "a text": "hello",
    "a number": 5,
    "true": True,
    "a list": [1],
    "an empty list": [],
    "an empty object": {},
    "an error": {"error": {"message": "overloaded"}},
    "no choices": {key: value for key, value in completion().items() if key != "choices"},
    "choices null": completion(choices=None),
    "choices empty": completion(choices=[]),
    "choices an object": completion(choices={"0": {}}),
    "choices a text": completion(choices="no"),
    "choice null": completion(choices=[None]),
    "choice a text": completion(choices=["no"]),
    "no message": completion(choices=[{"index": 0}]),
    "message null": completion(choices=[{"message": None}]),
    "message a text": completion(choices=[{"message": "no"}]),
    "message a list": completion(choices=[{"message": []}]),
    "content a list": completion(choices=[{"message": {"content": [{"type": "text", "text": "{}"}]}}]),
    "content an object": completion(choices=[{"message": {"content": {}}}]),
    "content a number": completion(choices=[{"message": {"content": 7}}]),
    "content true": completion(choices=[{"message": {"content": True}}]),
    "refusal a list": completion(choices=[{"message": {"content": "{}", "refusal": [1]}}]),
    "finish a number": completion(choices=[{"message": {"content": "{}"}, "finish_reason": 3}]),
    "names of Python": {"_fields_set": 1, "cls": 2, "self": 3},
}

# Bytes that are no JSON, or that Python does not read.
NO_JSON: dict[str, bytes] = {
    "nothing": b"",
    "a page": b"<html><body>Gateway</body></html>",
    "events": b"data: {}\n\ndata: [DONE]\n\n",
    "cut off": WHOLE[:-20],
    "twice": WHOLE + WHOLE,
    "zeros": b"\0" * 50,
    "no UTF-8": WHOLE.replace(b'"{}"', b'"\xff\xfe"'),
    "UTF-16": WHOLE.decode().encode("utf-16"),
    "nested deeply": b"[" * 1_000_000,
    "a number of many digits": b"[1" + b"0" * 5000 + b"]",
}


def both(text: str) -> str:
    """JSON that is a description and an accepting verdict at once, each of whose texts is written in JSON as given."""
    return f'{{"perception": "{text}", "cognition": "b", "emotion": "d", "consistent": true, "reason": "{text}"}}'


# Contents that are a text, and neither a description nor a verdict.
NO_ANSWERS: dict[str, str | None] = {
    "nothing": None,
    "empty": "",
    "half a pair": both("A \ud83d b"),
    "half a pair within": both("A \\ud83d b"),
    "a zero byte": both("A \\u0000 b"),
    "an escape": both("\\u001b[2J b"),
    "no letters": both("..."),
    "keys twice": both("A")[:-1] + "," + both("B")[1:],
    "a list": "[1, 2]",
    "nested deeply": '{"a":' * 100_000,
    "digits": '{"perception": 1' + "0" * 5000 + "}",
}

# What stands for token counts, none of which is one.
NO_USAGE: dict[str, Any] = {
    "null": None,
    "a list": [1],
    "a text": "12",
    "empty": {},
    "negative": {"prompt_tokens": -5_000_000, "completion_tokens": -1},
    "one negative": {"prompt_tokens": 1000, "completion_tokens": -5_000_000},
    "texts": {"prompt_tokens": "10", "completion_tokens": "1"},
    "true": {"prompt_tokens": True, "completion_tokens": True},
    "fractions": {"prompt_tokens": 10.5, "completion_tokens": 1.5},
    "no number": {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
    "lists": {"prompt_tokens": [10], "completion_tokens": {}},
    "beyond 64 bits": {"prompt_tokens": 2**70, "completion_tokens": 2**64},
    "many digits": {"prompt_tokens": 10**300, "completion_tokens": 1},
    "more than any model": {"prompt_tokens": 10**12, "completion_tokens": 10**12},
    "none": {"prompt_tokens": 0, "completion_tokens": 0},
}


def inflated(size: int) -> bytes:
    """A completion of `size` bytes, compressed to a thousandth."""
    return gzip.compress(WHOLE + b" " * size)
