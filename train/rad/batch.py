"""Sends requests through a provider's Batch API, which takes them as files and costs less.

Replies come back as files, in any order; each names its request.
"""

import asyncio
import json
import os
import re
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, NoReturn

import openai

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import own_folder
from artquant_plugin.common.openai_client import (
    FILTERED,
    REPLY_BYTES,
    EndpointDown,
    RequestFailed,
    RequestUnanswered,
    reply_json,
)
from artquant_plugin.common.openai_features import MAY_BE_UNSUPPORTED
from artquant_plugin.common.text import listed
from artquant_plugin.train.rad.endpoint import Endpoint, read_completion, refuse_dropped_text
from artquant_plugin.train.rad.limits import Budget, UsableReplies
from artquant_plugin.train.rad.meter import RadMeter
from artquant_plugin.train.rad.pictures import Pictures
from artquant_plugin.train.rad.replies import Reply
from artquant_plugin.train.rad.steps import Steps
from artquant_plugin.train.rad.store import RunStore
from artquant_plugin.train.rad.store_rows import BatchPart, Change, Exchange, Side, WorkItem

REQUEST_PATH: Literal["/v1/chat/completions"] = "/v1/chat/completions"
METADATA_KEY = "artquant"  # under this key a batch's metadata holds the name of its part
PICTURES_AT_ONCE = 32  # so many pictures are encoded at once
LINES_AT_ONCE = 500  # so many replies are written in one transaction
REASONS_TOLD = 3  # an error names so many of the provider's reasons for refusing a batch
BATCHES_WITHOUT_REPLY = 3  # the run ends after so many turns in a row in which batches end without a reply
LIST_PAGES = 1000  # the most pages of the provider's list of batches that are read, with 100 batches each
TRANSFER_SECONDS = 3600.0  # the transfer of one file may take so long
REPLY_FILE_BYTES = 2**31  # the largest file of replies; 50,000 replies have some hundred million bytes
_OVER_STATUSES = ("completed", "failed", "expired", "cancelled")
_PROVIDER_ID = re.compile(r"[\w.:-]{1,200}", re.ASCII)  # the provider's id of a file or batch
_ERROR_CODE = re.compile(r"[A-Za-z0-9_]{1,40}")  # the code of an error
_REQUEST_NAME = re.compile(r"(\d{1,9})-(?:generator|judge)-\d{1,9}-\d{1,9}", re.ASCII)
_NAMED_REQUEST = re.compile(rb'"custom_id":\s*"([0-9a-z-]{1,40})"')
_NEVER_ANSWERED = ("batch_expired", "batch_cancelled")  # codes of requests that were never answered

LiveRun = Callable[[Sequence[int], Sequence[Side]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ProviderBatch:
    """The parts of the provider's description of a batch that a run uses.

    Args:
        id: the provider's id of the batch.
        status: ``completed``, ``failed``, ``expired`` or ``cancelled`` when the batch has ended; another word before.
        name: the name that a run gave it in its metadata; None for a batch that no run started.
        files: the provider's ids of the file with replies and of the file with errors; either may be missing.
        problems: the provider's reasons for refusing the batch; empty when it does not.
    """

    id: str
    status: str
    name: str | None
    files: tuple[str, ...]
    problems: tuple[str, ...]

    @classmethod
    def of(cls, content: object) -> "ProviderBatch":
        """Read the provider's description of a batch.

        Args:
            content: the decoded JSON that the provider sent; it may be of any type.

        Raises:
            ValueError: the content does not describe a batch.
        """
        found = _object_or_empty(content)
        files = [found[key] for key in ("output_file_id", "error_file_id") if found.get(key) is not None]
        for text in (found.get("id"), *files):
            if not isinstance(text, str) or not _PROVIDER_ID.fullmatch(text):
                raise ValueError("a reply that is no batch")
        if not isinstance(found.get("status"), str):
            raise ValueError("a batch without a status")
        name = _object_or_empty(found.get("metadata")).get(METADATA_KEY)
        errors = _object_or_empty(found.get("errors")).get("data")
        problems = [_object_or_empty(problem).get("message") for problem in errors] if isinstance(errors, list) else []
        return cls(
            found["id"],
            found["status"],
            name if isinstance(name, str) else None,
            tuple(files),
            tuple(str(problem) for problem in problems),
        )


@dataclass
class Batches:
    """Describes paintings through the Batch API; a side that has no Batch API is asked by the live engine.

    Args:
        steps: makes requests and reads replies.
        store: this class writes to it directly, except while the live engine works.
        folder: the folder that holds request files until they are uploaded; it is made when absent.
        pictures: encodes the pictures for the generator.
        endpoints: both sides, those without a Batch API included.
        budget: lets a request into a file when its worst case still fits into the limit on the cost.
        meter: counts exchanges and changes, and draws the bar.
        usable: watches each side's replies, and ends a run in which none can be used.
        stop: an event that is set when nothing more may be sent.
        live: runs the live engine on the paintings at the given positions, with the given sides.
        say: is called with a line of text about each batch that is sent or that ends.
    """

    steps: Steps
    store: RunStore
    folder: Path
    pictures: Pictures
    endpoints: dict[Side, Endpoint]
    budget: Budget
    meter: RadMeter
    usable: Mapping[Side, UsableReplies]
    stop: asyncio.Event
    live: LiveRun
    say: Callable[[str], None]

    async def run(self, splits: Sequence[str] | None, limit: int | None) -> None:
        """Send batches, wait for them and write their replies, round after round, until no request is left to send.

        Args:
            splits: names of the splits whose paintings are sent; None for all splits.
            limit: the first so many paintings of these splits alone, finished ones counted; None for all.

        Raises:
            EndpointDown: a provider does not answer, or refuses a batch. A later run finds its open batches again.
            RepliesUnusable: no reply of a side can be used.
        """
        sides: list[Side] = [side for side, endpoint in self.endpoints.items() if endpoint.section.batch]
        if not sides:
            raise ArtQuantError("--batch, and neither side has a Batch API; set generator.batch=true, or leave it out")
        others: list[Side] = [side for side in self.endpoints if side not in sides]
        self._remove_stale_files()
        fruitless = 0
        while not self.stop.is_set():
            for side in others:
                positions = self.store.positions(splits, limit, side)
                if positions:
                    await self.live(positions, (side,))
            for part in self.store.open_parts():
                if part.batch is None:
                    await self._send(part, search=True)
            for side in sides:
                await self._send_all(side, self.store.positions(splits, limit, side))
            if not self.store.open_parts():
                return
            answered = await self._wait_for_replies()
            fruitless = 0 if answered else fruitless + 1
            if fruitless == BATCHES_WITHOUT_REPLY:
                raise EndpointDown(
                    f"{BATCHES_WITHOUT_REPLY} batches in a row ended without a reply; look at the provider's console, "
                    "and run again to go on"
                )

    def _remove_stale_files(self) -> None:
        """Remove request files that no part waits to upload."""
        waiting = {f"{part.name}.jsonl" for part in self.store.open_parts() if part.file is None}
        for path in self.folder.glob("*.jsonl"):
            if path.name not in waiting:
                path.unlink()

    async def _send_all(self, side: Side, positions: Sequence[int]) -> None:
        """Write one side's requests into files within the configured limits; send each file as soon as it is full."""
        limits = self.steps.config.batch
        writing: _RequestFile | None = None
        async for item, line, worst in self._request_lines(side, positions):
            if writing is not None and not writing.fits(line):
                await self._send_file(writing, side)
                writing = None
            if writing is None:
                writing = _RequestFile(self.folder, limits.lines, int(limits.megabytes * 1e6))
            writing.add(item, line, worst)
        if writing is not None and self.stop.is_set():
            writing.discard()
        elif writing is not None:
            await self._send_file(writing, side)

    async def _request_lines(
        self, side: Side, positions: Sequence[int]
    ) -> AsyncIterator[tuple[WorkItem, bytes, float]]:
        """Yield a painting, its request as a line, and the most that this can cost, until the budget is used up."""
        form = self.endpoints[side].form
        for start in range(0, len(positions), PICTURES_AT_ONCE):
            items = self.store.items(positions[start : start + PICTURES_AT_ONCE])
            pictures: list[str | None | BaseException] = [None] * len(items)
            if side == "generator":
                found = await asyncio.gather(*map(self.pictures.data_uri, items), return_exceptions=True)
                pictures = list(found)
            for item, picture in zip(items, pictures, strict=True):
                if isinstance(picture, ArtQuantError):
                    failed = self.steps.unreadable(item, picture)
                    self.store.write([], [failed])
                    self.meter.count_change(failed, begun=item.rounds > 0)
                    continue
                if isinstance(picture, BaseException):
                    raise picture
                request = self.steps.request(item, form=form, picture=picture)
                worst = self.steps.worst_case(request, batch=True)
                if self.stop.is_set():
                    return
                if not self.budget.take(worst):
                    self.budget.exhausted = True
                    return
                line = {"custom_id": _request_name(item), "method": "POST", "url": REQUEST_PATH, "body": request.body}
                yield item, json.dumps(line, ensure_ascii=False).encode() + b"\n", worst

    async def _send_file(self, writing: "_RequestFile", side: Side) -> None:
        """Close a request file, record it in the store as a part, and send it."""
        writing.close()
        form = self.endpoints[side].form
        self.store.make_part(writing.name, side, writing.positions, form=form, reserved=writing.worst)
        await self._send(self.store.open_parts()[-1])

    async def _send(self, part: BatchPart, *, search: bool = False) -> None:
        """Upload a part's file and start its batch.

        The provider's ids are stored as soon as they are known. A crash after a batch has started and before its id is
        stored loses the id. So with `search`, a part whose file was uploaded is first looked for by its name among the
        provider's batches, and another batch is started only if it is not there.
        """
        client = self.endpoints[part.side].client.with_options(timeout=TRANSFER_SECONDS)
        local = self.folder / f"{part.name}.jsonl"
        file_id = part.file
        try:
            if file_id is None:
                if not local.is_file():  # somebody removed it before it was sent: free its paintings
                    self.store.part_done(part.number)
                    self.budget.give_back(part.reserved)
                    return
                with local.open("rb") as file:
                    raw = await client.files.with_raw_response.create(file=(local.name, file), purpose="batch")
                found = _object_or_empty(reply_json(raw)).get("id")
                if not isinstance(found, str) or not _PROVIDER_ID.fullmatch(found):
                    raise ValueError("a reply that is no file")
                file_id = found
                self.store.part_sent(part.number, file=file_id)
            batch = await self._find_batch(part) if search and part.file else None
            if batch is None:
                # The client must not retry: if only the answer was lost, the retry would start a second batch.
                created = await client.with_options(max_retries=0).batches.with_raw_response.create(
                    input_file_id=file_id,
                    endpoint=REQUEST_PATH,
                    completion_window=self.steps.config.batch.window,
                    metadata={METADATA_KEY: part.name},
                )
                batch = ProviderBatch.of(reply_json(created))
        except (openai.OpenAIError, RequestUnanswered, ValueError) as error:
            self._end_run(part.side, error)
        self.store.part_sent(part.number, batch=batch.id)
        local.unlink(missing_ok=True)
        self.say(f"batch {batch.id}: {part.items:,} requests to the {part.side}")

    async def _find_batch(self, part: BatchPart) -> ProviderBatch | None:
        """Find the batch with the part's name in the provider's list, newest first; None when it is not there.

        Raises:
            ValueError: the provider sends something else than a list, or the list has more than `LIST_PAGES` pages.
        """
        batches = self.endpoints[part.side].client.batches.with_raw_response
        last: str | openai.Omit = openai.omit
        for _ in range(LIST_PAGES):
            page = _object_or_empty(reply_json(await batches.list(limit=100, after=last)))
            content = page.get("data")
            if not isinstance(content, list):
                raise ValueError("a reply that is no list of batches")
            found = [ProviderBatch.of(each) for each in content]
            for batch in found:
                if batch.name == part.name:
                    return batch
            if not found or page.get("has_more") is not True:
                return None
            last = found[-1].id
        raise ValueError(f"a list of more than {LIST_PAGES} pages")

    async def _wait_for_replies(self) -> int:
        """Ask about all open batches every `poll_seconds` until one has ended; return the number of replies written.

        A question that finds no answer, or a transfer that breaks off, is repeated at the next turn, since batches
        take hours, in which connections come and go. After `give_up_after` such failures in a row the run ends.
        """
        failed_looks = 0
        while True:
            over = False
            answered = 0
            for part in self.store.open_parts():
                endpoint = self.endpoints[part.side]
                try:
                    raw = await endpoint.client.batches.with_raw_response.retrieve(str(part.batch))
                    batch = ProviderBatch.of(reply_json(raw))
                    if batch.status in _OVER_STATUSES:
                        answered += await self._read_batch(part, batch)
                        over = True
                except (openai.OpenAIError, RequestFailed, ValueError) as error:
                    if isinstance(error, ArtQuantError):
                        raise
                    failed = endpoint.server.failure(error) if isinstance(error, openai.OpenAIError) else error
                    failed_looks += 1
                    may_recover = isinstance(failed, RequestUnanswered | ValueError)
                    if not may_recover or failed_looks == self.steps.config.give_up_after:
                        self._end_run(part.side, error)
                    break
                failed_looks = 0
            if over or self.stop.is_set():
                return answered
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), self.steps.config.batch.poll_seconds)

    async def _read_batch(self, part: BatchPart, batch: ProviderBatch) -> int:
        """Write the replies of a batch that has ended, free the paintings without a reply, and count the replies."""
        applied = 0
        for file in batch.files:
            applied += await self._read_file(part, file)
        free = self.store.part_done(part.number)
        self.budget.give_back(part.reserved)  # `_write_replies` has counted what each reply cost
        self.say(f"batch {batch.id} {batch.status}: {applied:,} replies" + (f", {free:,} without" if free else ""))
        if batch.status == "failed":
            reasons = [self.endpoints[part.side].server.without_key(problem) for problem in batch.problems]
            message = listed(reasons, REASONS_TOLD, "; ") or "no reason given"
            raise EndpointDown(f"the provider refuses a batch for the {part.side} ({message}); mend it and run again")
        self.usable[part.side].check()
        return applied

    async def _read_file(self, part: BatchPart, file: str) -> int:
        """Download a file of replies to a temporary file in `folder`, write the replies, and return their number.

        Raises:
            RequestFailed: the file could not be downloaded.
        """
        endpoint = self.endpoints[part.side]
        client = endpoint.client.with_options(timeout=TRANSFER_SECONDS)
        applied = 0
        own_folder(self.folder)
        with tempfile.TemporaryFile(dir=self.folder) as content:
            await endpoint.server.download(client, file, content, most=REPLY_FILE_BYTES)
            content.seek(0)
            records = (record for line in _file_lines(content) if (record := _reply_record(line)) is not None)
            while lines := list(islice(records, LINES_AT_ONCE)):
                applied += self._write_replies(part, lines)
        return applied

    def _write_replies(self, part: BatchPart, lines: Sequence[dict[str, Any]]) -> int:
        """Write replies, except to paintings that no longer wait for one, so that a file may be read twice."""
        names = {str(line.get("custom_id")): line for line in lines}
        positions = [int(found[1]) for name in names if (found := _REQUEST_NAME.fullmatch(name))]
        exchanges: list[Exchange] = []
        changes: list[tuple[Change, bool]] = []
        for item in self.store.in_part(part.number, positions):
            line = names.get(_request_name(item))
            read_line = None if line is None else self._read_reply_line(part, item, line)
            if read_line is not None:
                exchanges.append(read_line[0])
                changes.append((read_line[1], item.rounds > 0))
        self.store.write(exchanges, [change for change, _ in changes])
        for exchange in exchanges:
            self.budget.spent += exchange.cost
            self.meter.count_exchange(exchange.cost)
            self.usable[part.side].count(exchange.outcome, exchange.reply or "an empty reply")
        for change, begun in changes:
            self.meter.count_change(change, begun=begun)
        self.meter.draw()
        return len(changes)

    def _read_reply_line(
        self, part: BatchPart, item: WorkItem, line: dict[str, Any]
    ) -> tuple[Exchange, Change] | None:
        """Read one line of a file of replies or errors; return None when its request must be sent again."""
        response = _object_or_empty(line.get("response"))
        status, body = response.get("status_code"), response.get("body")
        status = status if type(status) is int and 100 <= status < 600 else None
        error = _object_or_empty(line.get("error")) or _object_or_empty(_object_or_empty(body).get("error"))
        code = error.get("code")
        code = code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else None
        endpoint = self.endpoints[part.side]
        message = endpoint.server.without_key(error.get("message") or "")
        request = self.steps.request(item, form=part.form)
        worst = self.steps.worst_case(request, batch=True)
        if status == 200 or "unreadable" in line:
            try:
                if "unreadable" in line:
                    raise RequestUnanswered("no_completion", line["unreadable"])
                reply = read_completion(endpoint.server.completion(body))
                refuse_dropped_text(request, reply)
            except RequestFailed as failure:
                failed = self.steps.failed(item, failure.reason, failure.detail)
                costs = {"cost": worst, "seconds": 0.0, "at": time.time()}
                failure_reply = Reply(text=failure.detail)
                return self.steps.exchange(item, request, failure.reason, failure_reply, **costs), failed
            if not endpoint.form_known:
                endpoint.form, endpoint.form_known = part.form, True
        elif code in FILTERED:
            reply = Reply(text=None, refusal=message)
        elif code in _NEVER_ANSWERED or (status is None and code is None):
            return None
        elif status in MAY_BE_UNSUPPORTED and part.form != "text" and not endpoint.form_known:
            endpoint.form = "text"  # not json_object first: a batch may take a day
            return None
        else:
            reason = f"http_{status}" if status else f"batch_{code}"
            failed = self.steps.failed(item, reason, message)
            costs = {"cost": 0.0, "seconds": 0.0, "at": time.time()}
            return self.steps.exchange(item, request, reason, Reply(text=message), **costs), failed
        outcome, change = self.steps.apply(item, reply)
        used = (reply.prompt_tokens, reply.completion_tokens)
        cost = worst
        if used[0] is not None and used[1] is not None:
            cost = self.steps.cost(part.side, used[0], used[1], batch=True)
        return self.steps.exchange(item, request, outcome, reply, cost=cost, seconds=0.0, at=time.time()), change

    def _end_run(self, side: Side, error: Exception) -> NoReturn:
        """End the run because of an error from the Batch API, or because it did not answer.

        Args:
            side: the side whose Batch API was asked.
            error: an error of the `openai` client, or a `RequestFailed` or `ValueError` about the form of a reply.

        Raises:
            EndpointDown: always.
        """
        if isinstance(error, ArtQuantError):
            raise error
        server = self.endpoints[side].server
        if isinstance(error, openai.APIStatusError):
            self._no_batch_api(side, f"{error.status_code} ({server.message(error)})", error)
        if isinstance(error, openai.OpenAIError):
            raise server.no_answer(server.message(error)) from error
        if isinstance(error, RequestFailed) and error.reason in ("connection", "timeout"):
            raise server.no_answer(error.detail) from error
        message = error.detail if isinstance(error, RequestFailed) else str(error)
        self._no_batch_api(side, server.without_key(message), error)

    def _no_batch_api(self, side: Side, message: str, error: Exception | None = None) -> NoReturn:
        """Raise an `EndpointDown` that quotes the Batch API's answer and tells how to go on without it."""
        url = self.endpoints[side].server.address
        raise EndpointDown(
            f"the Batch API of {side} '{url}' answers {message}; run again to go on, or set {side}.batch=false"
        ) from error


class _RequestFile:
    """A file of requests that is being written.

    Args:
        folder: the folder in which the file is made; the folder is made when absent.
        lines: the most requests in the file.
        size: the most bytes of the file.
    """

    def __init__(self, folder: Path, lines: int, size: int) -> None:
        own_folder(folder)
        self.name = uuid.uuid4().hex
        self.positions: list[int] = []
        self.worst = 0.0
        self._limits = lines, size
        self._size = 0
        self._target = folder / f"{self.name}.jsonl"
        self._file = self._target.open("xb")  # fails where a file or a link has this name

    def fits(self, line: bytes) -> bool:
        """Whether one more request stays below the limits.

        Args:
            line: the request as the file would have it, with its line break.
        """
        return len(self.positions) < self._limits[0] and self._size + len(line) <= self._limits[1]

    def add(self, item: WorkItem, line: bytes, worst: float) -> None:
        """Write one more request.

        Args:
            item: the painting that it is about.
            line: the request with its line break.
            worst: the most that it can cost.
        """
        self._file.write(line)
        self._size += len(line)
        self.positions.append(item.position)
        self.worst += worst

    def close(self) -> None:
        """Write the file to the disk and close it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def discard(self) -> None:
        """Close and remove the file, which will not be sent."""
        self._file.close()
        self._target.unlink()


def _object_or_empty(content: object) -> dict[str, Any]:
    """Return a JSON object as it is, and an empty one for any other value."""
    return content if isinstance(content, dict) else {}


def _file_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a provider's file, split at line feeds; of a longer line its first `REPLY_BYTES` bytes."""
    while line := file.readline(REPLY_BYTES):
        rest = line
        while len(rest) == REPLY_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(REPLY_BYTES)
        yield line


def _reply_record(line: bytes) -> dict[str, Any] | None:
    """Read the JSON object in a line of a provider's file; None for a broken line, whose request is sent again.

    A line that is complete but cannot be read gives an object with the request's name and, under ``unreadable``, the
    reason. Its request is not sent again, since the reply would be unreadable and paid for again.
    """
    try:
        if len(line) < REPLY_BYTES:
            return _object_or_empty(json.loads(line.decode("utf-8"))) or None
        problem = f"a reply of {REPLY_BYTES:,} bytes or more"
    except UnicodeError as error:
        problem = f"a reply that is no UTF-8 ({error})"
    except RecursionError:
        problem = "a reply that is nested too deeply"
    except ValueError:
        return None
    name = _NAMED_REQUEST.search(line)
    return {"custom_id": name[1].decode(), "unreadable": problem} if name else None


def _request_name(item: WorkItem) -> str:
    """Name a request by its painting's position, the side, the rounds so far and the judge's tries so far."""
    return f"{item.position}-{item.side}-{item.rounds}-{item.judge_tries}"
