"""Files and batches of the endpoint in `local_llm`."""

import json
import time
import uuid
from typing import Any

from aiohttp import web

from tests.peers.llm_answers import Fails, Says, Sends


class BatchApi:
    """The Batch API: files in, files out, in any order.

    Attributes:
        files: content of uploaded and written files by id.
        batches: batches by id, as the protocol shows them.
        looks: times that a batch is asked for until it is over.
        expire: share of each of the next batches' requests, one value per batch, that expire unanswered.
        refuse_batches: a message with which every batch fails as a whole.
        batch_lines: requests that batches answered, by their names, in order.
        look_faults: errors with which the next looks at a batch are answered, one each.
        lose_next_batch: whether the next batch is started and its answer lost.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.looks = 1
        self.expire: list[float] = []
        self.refuse_batches: str | None = None
        self.batch_lines: list[str] = []
        self.look_faults: list[Fails] = []
        self.lose_next_batch = False
        self._left: dict[str, int] = {}

    def decide(self, body: dict[str, Any]) -> Says | Fails | Sends:
        """What a request is answered."""
        raise NotImplementedError

    def completion(self, body: dict[str, Any], says: Says) -> dict[str, Any]:
        """A completion as the protocol writes it."""
        raise NotImplementedError

    def batch_routes(self) -> list[web.RouteDef]:
        """What the endpoint serves beside chat."""
        return [
            web.post("/v1/files", self._upload),
            web.get("/v1/files/{id}/content", self._content),
            web.post("/v1/batches", self._create_batch),
            web.get("/v1/batches", self._list_batches),
            web.get("/v1/batches/{id}", self._get_batch),
            web.post("/v1/batches/{id}/cancel", self._cancel_batch),
        ]

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        name = self._keep(form["file"].file.read())
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

    def _keep(self, content: bytes) -> str:
        name = f"file-{uuid.uuid4().hex}"
        self.files[name] = content
        return name

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def _create_batch(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        name = f"batch_{uuid.uuid4().hex}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "completion_window": body["completion_window"],
            "metadata": body.get("metadata"),
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": int(time.time()),
        }
        self._left[name] = self.looks
        if self.lose_next_batch:
            self.lose_next_batch = False
            assert request.transport is not None
            request.transport.close()
        return web.json_response(self.batches[name])

    async def _list_batches(self, request: web.Request) -> web.Response:
        """Pages of two, so that clients have to turn them."""
        names = list(reversed(self.batches))
        start = names.index(request.query["after"]) + 1 if "after" in request.query else 0
        page = [self.batches[name] for name in names[start : start + 2]]
        more = start + 2 < len(names)
        return web.json_response(
            {"object": "list", "data": page, "has_more": more, "last_id": page[-1]["id"] if page else None}
        )

    async def _get_batch(self, request: web.Request) -> web.Response:
        if self.look_faults:
            fault = self.look_faults.pop(0)
            return web.json_response(fault.body(), status=fault.status)
        batch = self.batches[request.match_info["id"]]
        if batch["status"] in ("validating", "in_progress"):
            self._left[batch["id"]] -= 1
            batch["status"] = "in_progress"
            if self._left[batch["id"]] <= 0:
                self._finish(batch)
        return web.json_response(batch)

    async def _cancel_batch(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        batch["status"] = "cancelled"
        return web.json_response(batch)

    def finish_all(self) -> None:
        """Every batch, running or to come, is over when it is asked for next."""
        self.looks = 1
        self._left = dict.fromkeys(self._left, 1)

    def _finish(self, batch: dict[str, Any]) -> None:
        if self.refuse_batches is not None:
            error = {"code": "invalid", "message": self.refuse_batches, "line": 1, "param": None}
            batch |= {"status": "failed", "errors": {"object": "list", "data": [error]}}
            return
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        share = self.expire.pop(0) if self.expire else 0.0
        kept = len(lines) - round(share * len(lines))
        answers, errors = [], []
        for line in reversed(lines[:kept]):  # backwards: the real API promises no order either
            self.batch_lines.append(line["custom_id"])
            answer = self.decide(line["body"])
            said: dict[str, Any] = {"id": uuid.uuid4().hex, "custom_id": line["custom_id"], "error": None}
            if isinstance(answer, Sends):
                said["response"] = {"status_code": 200, "request_id": "r", "body": json.loads(answer.body)}
                answers.append(said)
            elif isinstance(answer, Fails):
                said["response"] = {"status_code": answer.status, "request_id": "r", "body": answer.body()}
                errors.append(said)
            else:
                body = self.completion(line["body"], answer)
                said["response"] = {"status_code": 200, "request_id": "r", "body": body}
                answers.append(said)
        for line in lines[kept:]:
            error = {
                "code": "batch_expired",
                "message": "This request could not be executed before the window closed.",
            }
            errors.append({"id": "e", "custom_id": line["custom_id"], "response": None, "error": error})
        batch["output_file_id"] = self._keep(_lines(answers)) if answers else None
        batch["error_file_id"] = self._keep(_lines(errors)) if errors else None
        batch["status"] = "expired" if share else "completed"
        batch["request_counts"] = {"total": len(lines), "completed": len(answers), "failed": len(errors)}


def _lines(content: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in content).encode()
