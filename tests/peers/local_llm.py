"""An OpenAI-compatible endpoint on loopback: scripted answers, injected faults, files and batches.

A test gives `answer(body) -> str`, which decides every completion from the request's body: by prompt, by image, by
schema. The server speaks the real protocol to the real client, so that nothing of the client is replaced.
"""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

MAX_BODY = 2**28  # bytes: requests carry images


class LocalLLM:
    """The endpoint; a context manager that serves while it is open.

    Args:
        answer: a completion's text from the body of its request.
        delay: seconds that each completion takes.

    Attributes:
        url: of the API, for `base_url`.
        requests: time (monotonic, seconds) and body of each chat request, in the order of their arrival.
        faults: HTTP status and headers with which the next chat requests are refused, one each.
        peak: most chat requests that were in flight at once.
        files: content of uploaded and written files by id.
        batches: batches by id; a batch is complete when it is asked for.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], str], *, delay: float = 0.0) -> None:
        self.answer = answer
        self.delay = delay
        self.url = ""
        self.requests: list[tuple[float, dict[str, Any]]] = []
        self.faults: list[tuple[int, dict[str, str]]] = []
        self.peak = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self._in_flight = 0
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        ready = threading.Event()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._start())
            ready.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        assert ready.wait(10), "the endpoint did not start"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/files", self._upload),
                web.get("/v1/files/{id}/content", self._content),
                web.post("/v1/batches", self._create_batch),
                web.get("/v1/batches/{id}", self._get_batch),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": self.answer(body), "refusal": None}
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": []})

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append((time.monotonic(), body))
        if self.faults:
            status, headers = self.faults.pop(0)
            error = {"message": "injected", "type": "injected", "code": None}
            return web.json_response({"error": error}, status=status, headers=headers)
        self._in_flight += 1
        self.peak = max(self.peak, self._in_flight)
        await asyncio.sleep(self.delay)
        self._in_flight -= 1
        return web.json_response(self._complete(body))

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        name = f"file-{uuid.uuid4().hex}"
        self.files[name] = form["file"].file.read()
        return web.json_response(
            {
                "id": name,
                "object": "file",
                "bytes": len(self.files[name]),
                "created_at": int(time.time()),
                "filename": form["file"].filename,
                "purpose": form["purpose"],
                "status": "processed",
            }
        )

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def _create_batch(self, request: web.Request) -> web.Response:
        body = await request.json()
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        output = f"file-{uuid.uuid4().hex}"
        # Backwards: the real API promises no order either.
        answers = [json.dumps(self._batch_line(line)) for line in reversed(lines)]
        self.files[output] = "".join(f"{answer}\n" for answer in answers).encode()
        name = f"batch_{uuid.uuid4().hex}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "completion_window": "24h",
            "status": "completed",
            "output_file_id": output,
            "error_file_id": None,
            "created_at": int(time.time()),
            "request_counts": {"total": len(lines), "completed": len(lines), "failed": 0},
        }
        return web.json_response(self.batches[name] | {"status": "validating", "output_file_id": None})

    def _batch_line(self, line: dict[str, Any]) -> dict[str, Any]:
        response = {"status_code": 200, "request_id": "r", "body": self._complete(line["body"])}
        return {"id": uuid.uuid4().hex, "custom_id": line["custom_id"], "error": None, "response": response}

    async def _get_batch(self, request: web.Request) -> web.Response:
        return web.json_response(self.batches[request.match_info["id"]])
