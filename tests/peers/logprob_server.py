"""An OpenAI-compatible server on loopback that lists log-probabilities, for tests; real HTTP, scripted answers.

`answer(body)` gives for each request the listed tokens ``[(text, logprob), …]``, or an empty list for a reply without
a token, or None for a reply without log-probabilities, or ``(status, message)`` for an error, or a text that is sent
as it is, which is no completion.
"""

import base64
import io
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from PIL import Image

USAGE = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}


class LogprobServer:
    """`with LogprobServer(answer) as server:` listens on `server.url`.

    Args:
        answer: see above.
        key: bearer token that requests need; None for none.

    Attributes:
        bodies: the requests served.
        peak: most requests that were being answered at once.
        authorization: the header of that name of the last request.
    """

    def __init__(self, answer: Callable[[dict], Any], key: str | None = None) -> None:
        self.answer, self.key = answer, key
        self.bodies: list[dict] = []
        self.peak = self._now = 0
        self.authorization: str | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> "LogprobServer":
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, content = outer.respond(self.path, self.headers.get("Authorization"), body)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc) -> None:
        self._server.shutdown()
        self._server.server_close()

    def respond(self, path: str, authorization: str | None, body: dict) -> tuple[int, dict | str]:
        if path != "/v1/chat/completions":
            return 404, error("no such path")
        if self.key is not None and authorization != f"Bearer {self.key}":
            return 401, error("invalid key")
        with self._lock:
            self.authorization = authorization
            self.bodies.append(body)
            self._now += 1
            self.peak = max(self.peak, self._now)
        try:
            listed = self.answer(body)
        finally:
            with self._lock:
                self._now -= 1
        if isinstance(listed, tuple):
            return listed[0], error(listed[1])
        return 200, listed if isinstance(listed, str) else completion(body["model"], listed)


def error(message: str) -> dict:
    return {"error": {"message": message, "type": "x", "param": None, "code": None}}


def completion(model: str, listed: list[tuple[str, float]] | None) -> dict:
    logprobs = None
    text = "?"
    if listed == []:
        text, logprobs = "", {"content": [], "refusal": None}
    elif listed is not None:
        text = listed[0][0]
        entries = [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in listed]
        logprobs = {"content": [{**entries[0], "top_logprobs": entries}], "refusal": None}
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "finish_reason": "length", "message": message, "logprobs": logprobs}],
        "usage": USAGE,
    }


def picture_of(body: dict) -> Image.Image:
    """The picture of a request."""
    (url,) = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")


def checkpoint_answer(model: Any, processor: Any, limit: int | None = None) -> Callable[[dict], Any]:
    """Answers of a real model, its prompt built as vLLM and SGLang build theirs: by the chat template alone.

    Args:
        model: of `transformers`.
        processor: with a chat template.
        limit: number of tokens listed; None for the vocabulary.
    """
    lock = threading.Lock()

    def answer(body: dict) -> list[tuple[str, float]]:
        chat = []
        for message in body["messages"]:
            parts = message["content"]
            if isinstance(parts, str):
                parts = [{"type": "text", "text": parts}]
            parts = [{"type": "image"} if part["type"] == "image_url" else part for part in parts]
            chat.append({"role": message["role"], "content": parts})
        text = processor.apply_chat_template(
            chat,
            tokenize=False,
            add_generation_prompt=body.get("add_generation_prompt", True),
            continue_final_message=body.get("continue_final_message", False),
        )
        inputs = processor(text=[text], images=[[picture_of(body)]], return_tensors="pt")
        with lock, torch.inference_mode():
            logprobs = model(**inputs).logits[0, -1].double().log_softmax(-1)
        order = logprobs.argsort(descending=True)[:limit]
        return [(processor.tokenizer.decode([int(i)]), float(logprobs[i])) for i in order]

    return answer
