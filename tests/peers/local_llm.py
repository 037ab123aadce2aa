"""An OpenAI-compatible endpoint on loopback: scripted answers, injected faults, files and batches.

A test gives `answer(body)`, which decides every completion from the request's body: by prompt, by image, by schema.
The server speaks the real protocol to the real client, so that nothing of the client is replaced.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

from tests.peers.llm_answers import Answer, Cuts, Fails, Says, Sends
from tests.peers.llm_batches import BatchApi

MAX_BODY = 2**28  # bytes: requests carry images


class LocalLLM(BatchApi):
    """The endpoint; a context manager that serves while it is open.

    Args:
        answer: what is answered, from the body of the request.
        delay: seconds that each completion takes.
        key: the only key that is taken; None takes any.
        structured: whether it knows ``response_format``; otherwise that is a 400.

    Attributes:
        url: of the API, for `base_url`.
        requests: time (monotonic, seconds) and body of each chat request, in the order of their arrival.
        faults: HTTP status and headers with which the next chat requests are refused, one each.
        peak: most chat requests that were in flight at once.
        in_flight: chat requests that are.
        models: what is answered instead of a list of models.
        sent: bytes of pieces that were sent, to see where the client stopped reading.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], Answer],
        *,
        delay: float = 0.0,
        key: str | None = None,
        structured: bool = True,
    ) -> None:
        super().__init__()
        self.answer = answer
        self.delay = delay
        self.key = key
        self.structured = structured
        self.url = ""
        self.requests: list[tuple[float, dict[str, Any]]] = []
        self.faults: list[tuple[int, dict[str, str]]] = []
        self.peak = 0
        self.in_flight = 0
        self.models: Fails | Sends | None = None
        self.sent = 0
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
        assert ready.wait(60), "the endpoint did not start"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._check_key])
        app.add_routes(
            [
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                *self.batch_routes(),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    @web.middleware
    async def _check_key(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and given != self.key:
            refusal = Fails(401, code="invalid_api_key", message=f"Incorrect API key provided: {given}")
            return web.json_response(refusal.body(), status=401)
        return await handler(request)

    def decide(self, body: dict[str, Any]) -> Says | Fails | Cuts | Sends:
        """What a request is answered, live or in a batch."""
        if "response_format" in body and not self.structured:
            return Fails(400, message="Unknown parameter: 'response_format'")
        answer = self.answer(body)
        return Says(answer) if isinstance(answer, str) else answer

    def completion(self, body: dict[str, Any], says: Says) -> dict[str, Any]:
        """A completion as the protocol writes it."""
        message = {"role": "assistant", "content": says.text, "refusal": says.refusal}
        content = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": says.finish, "logprobs": None, "message": message}],
        }
        if says.usage is not None:
            prompt, reply = says.usage
            content["usage"] = {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}
        return content

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if isinstance(self.models, Sends):
            return await self._send_bytes(request, self.models)
        if self.models is not None:
            return web.json_response(self.models.body(), status=self.models.status)
        return web.json_response({"object": "list", "data": []})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append((time.monotonic(), body))
        if self.faults:
            fault = Fails(*self.faults.pop(0))
            return web.json_response(fault.body(), status=fault.status, headers=fault.headers)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            answer = self.decide(body)
            await asyncio.sleep(self.delay + (answer.delay if isinstance(answer, Says) else 0.0))
            if isinstance(answer, Fails):
                return web.json_response(answer.body(), status=answer.status, headers=answer.headers)
            if isinstance(answer, Cuts):
                return await self._cut(request, answer)
            if isinstance(answer, Sends):
                return await self._send_bytes(request, answer)
            return web.json_response(self.completion(body, answer))
        finally:
            self.in_flight -= 1

    async def _send_bytes(self, request: web.Request, sends: Sends) -> web.StreamResponse:
        if sends.pieces is None:
            return web.Response(body=sends.body, status=sends.status, headers=sends.headers)
        response = web.StreamResponse(status=sends.status, headers=sends.headers)
        await response.prepare(request)
        for piece in sends.pieces():
            await response.write(piece)
            self.sent += len(piece)
            await asyncio.sleep(sends.pause)
        return response

    async def _cut(self, request: web.Request, cuts: Cuts) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json", "content-length": "1000"})
        if cuts.begun:
            await response.prepare(request)
            await response.write(json.dumps({"id": "chatcmpl-1"}).encode()[:-1])
        assert request.transport is not None
        request.transport.close()
        return response
