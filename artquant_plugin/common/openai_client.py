"""The one client for servers that speak the OpenAI protocol, and what its errors mean for a run.

Whatever goes wrong with a request becomes one of three errors:

- `RequestRefused`: the server will not take this request; it may take others.
- `RequestUnanswered`: no usable reply came, after the client's own retries; either the request or the server is at
  fault.
- `EndpointDown`: the run cannot go on with this server.

A server may send any bytes, at any pace. The time of an attempt and the size of a reply are bounded, and nothing of a
reply is used before its form was checked.

Importing this module does not import `openai`, which takes a second.
"""

import asyncio
import base64
import errno
import importlib
import json
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.common.machine import machine_error
from artquant_plugin.common.secrets import address_secrets, each_text, without_keys, without_secrets
from artquant_plugin.common.text import one_line, storable

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion

FILTERED = ("content_filter", "content_policy_violation")  # codes by which a provider's filter refuses a request
ATTEMPTS = 2.0  # times the time-out that all attempts of a request may take together
RETRIED = (408, 409, 429)  # statuses that the client sends again, besides those from 500 on
REPLY_BYTES = 16 * 2**20  # of one reply after decompression: a completion has some kilobytes
MOST_TOKENS = 10_000_000  # of one request or reply: no model reads or writes as many, so that a larger count is wrong
# Seconds that the attempts of the request in the running task have left, in a list of one so that they count it down.
_left: ContextVar[list[float] | None] = ContextVar("seconds_left", default=None)
# What the system says when this machine, and no server, is the reason why no connection can be made.
_OF_THIS_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
# Compressions that are taken, one at a time: of these, few bytes become a thousand times as many at most.
_ENCODINGS = ("", "identity", "gzip", "deflate")


class RequestFailed(Exception):
    """A request that got no usable reply; `RequestRefused` and `RequestUnanswered` say which kind.

    Args:
        reason: one word, such as ``http_400`` or ``timeout``.
        detail: the server's words, or what the client saw, in one line and without the key.
        status: the reply's HTTP status; None where no reply came or its status was no error.
    """

    def __init__(self, reason: str, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.status = status


class RequestRefused(RequestFailed):
    """The server will not take this request: ``refused`` by a provider's filter, or a status such as ``http_400``."""


class RequestUnanswered(RequestFailed):
    """No usable reply after the client's retries: ``connection``, ``timeout``, ``no_completion``, or ``http_429``."""


class EndpointDown(ArtQuantError):
    """The run cannot go on with this server; what is written stays, and a rerun goes on from there.

    Args:
        message: what is wrong and what to do about it, in one line.
        detail: the server's own words, in one line and without the key; empty where there are none.
        status: the reply's HTTP status where that may have another cause than `message` says: 404 is an unknown model
            with most servers, and with some of them something in the request that the model does not support.
    """

    def __init__(self, message: str, detail: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.detail = detail
        self.status = status


@dataclass(frozen=True, slots=True)
class OpenAIServer:
    """A server, the model that is asked there, and the names by which messages tell a user what to change.

    Args:
        url: base address such as ``http://host:8000/v1``. It may have a user's name and a password, which the client
            sends by basic authentication in the place of `key`; no message contains them.
        model: the name by which the server knows the model.
        url_option: the option or setting that holds `url`.
        model_option: the option or setting that holds `model`.
        key: sent with every request as a bearer token; None for a server that wants none. No message contains it.
        key_variable: the environment variable that holds the key; None where none is configured.
        key_option: the setting that names the variable; it stands in messages where `key_variable` is None.
        role: what the server is used for, as in "no answer from judge"; empty where there is one server alone.
        timeout: seconds that one attempt may take, above 0; all attempts of a request together, without the waits in
            between, may take `ATTEMPTS` times as many.
        retries: how often the client repeats a request after 408, 409, 429, 5xx or a lost connection; 0 or more. It
            waits as long as the server says, or about 0.5, 1, 2, … up to 8 seconds.
    """

    url: str = field(repr=False)
    model: str
    url_option: str
    model_option: str
    key: str | None = field(default=None, repr=False)
    key_variable: str | None = None
    key_option: str = ""
    role: str = ""
    timeout: float = 120.0
    retries: int = 5

    @property
    def address(self) -> str:
        """The base address as messages show it, without secrets."""
        return one_line(without_secrets(self.url, address_secrets(self.url)))

    def connect(self, *, not_repeated: Collection[int] = ()) -> "openai.AsyncOpenAI":
        """Make a client; call it within the event loop that uses it, and `close` the client there.

        The client speaks through aiohttp and keeps a thousand connections at most; a caller that wants fewer requests
        at once counts them itself. An attempt whose reply is not there as a whole after `timeout` seconds is a
        time-out, however slowly its bytes come, and a reply of more than `REPLY_BYTES` is not read to its end.

        Args:
            not_repeated: HTTP statuses after which the client does not repeat a request, though it usually would.
        """
        import openai

        # aiohttp sends no request that has credentials in its address and a header for them as well.
        parts = urlsplit(self.url)
        user, at, host = parts.netloc.rpartition("@")
        bare = urlunsplit(parts._replace(netloc=host))
        headers = {"Authorization": f"Basic {base64.b64encode(unquote(user).encode()).decode()}"} if at else {}
        return openai.AsyncOpenAI(
            base_url=bare,
            default_headers=headers,
            api_key=self.key or "none",
            max_retries=self.retries,
            timeout=self.timeout,
            http_client=_bounded_client(frozenset(not_repeated))(
                timeout=self.timeout, headers={"accept-encoding": "gzip, deflate"}
            ),
        )

    async def complete(
        self, client: "openai.AsyncOpenAI", body: dict[str, Any], *, forbidden_is_key: bool = True
    ) -> "ChatCompletion":
        """Send one chat completion request and wait for its reply.

        Args:
            client: made by `connect` in the running event loop.
            body: the whole request as JSON: ``model``, ``messages`` and every other field.
            forbidden_is_key: whether status 403 means that the key is refused. A provider whose moderation answers 403
                to single requests needs False once it has answered another one.

        Returns:
            The reply, checked by `completion`.

        Raises:
            RequestRefused: the server will not take this request.
            RequestUnanswered: no reply came, or one that is no completion.
            EndpointDown: the key, the account or the model is the trouble, so that every request would fail.
            MachineError: this machine has too many files open, or no memory.
        """
        import openai

        _left.set([ATTEMPTS * self.timeout])
        try:
            # The whole body as `extra_body`, which goes over the rest: the client would walk through every message for
            # keys to rename, of which there are none, and spend a third of its time on it.
            raw = await client.chat.completions.with_raw_response.create(
                model=self.model, messages=[], extra_body=body
            )
        except openai.OpenAIError as error:
            raise self.failure(error, forbidden_is_key=forbidden_is_key) from error
        return self.completion(reply_json(raw))

    def completion(self, body: object) -> "ChatCompletion":
        """The completion in the JSON that a server sent.

        The key is taken out of its texts, and so is half of a surrogate pair, which no file can hold. Token counts
        that cannot be (negative, a fraction, text, above `MOST_TOKENS`, no token in a prompt) and log-probabilities of
        another form than the protocol's become None.

        Args:
            body: the reply as `reply_json` or `json.loads` decoded it, of any type.

        Returns:
            A completion with one choice or more. Each has a ``message`` whose ``content`` and ``refusal`` are a text
            or None, and a ``finish_reason`` that is a text or None.

        Raises:
            RequestUnanswered: it is no completion; the reason is ``no_completion``, and the detail says what is wrong.
        """
        from openai.types import CompletionUsage
        from openai.types.chat import ChatCompletion, ChatCompletionMessage
        from openai.types.chat.chat_completion import Choice

        if not isinstance(body, dict):
            raise _no_completion(f"a reply that is no completion, but {_kind(body)}")
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices:
            told = body.get("error")
            said = f"; it says {self.without_key(json.dumps(told))}" if told is not None else ""
            raise _no_completion(f"a reply that is no completion: its 'choices' is {_kind(choices)}{said}")
        found = []
        for number, choice in enumerate(choices):
            message = choice.get("message") if isinstance(choice, dict) else None
            if not isinstance(message, dict):
                raise _no_completion(f"a reply that is no completion: choice {number} has no message")
            text = self._text_or_none(message.get("content"), "the message's 'content'")
            refusal = self._text_or_none(message.get("refusal"), "the message's 'refusal'")
            finish = self._text_or_none(choice.get("finish_reason"), "'finish_reason'")
            found.append(
                Choice.construct(
                    index=number,
                    finish_reason=finish,
                    logprobs=_log_probabilities(each_text(choice.get("logprobs"), self._kept)),
                    message=ChatCompletionMessage.construct(role="assistant", content=text, refusal=refusal),
                )
            )
        given = body.get("usage")
        counts = given if isinstance(given, dict) else {}
        usage = CompletionUsage.construct(
            prompt_tokens=_count(counts.get("prompt_tokens"), 1),
            completion_tokens=_count(counts.get("completion_tokens"), 0),
        )
        return ChatCompletion.construct(model=self.model, choices=found, usage=usage)

    def _text_or_none(self, value: object, name: str) -> str | None:
        if value is not None and not isinstance(value, str):
            raise _no_completion(f"a reply that is no completion: {name} is {_kind(value)}, no text")
        return None if value is None else self._kept(value)

    def _kept(self, text: str) -> str:
        """What the server wrote, whole, without keys and without what a file cannot hold.

        Keys are looked for here, before a message quotes or cuts the text: half a key is not found any more.
        """
        return storable(without_keys(text, self._secrets))

    async def download(self, client: "openai.AsyncOpenAI", name: str, file: IO[bytes], *, most: int) -> None:
        """Write a file of the server's files API to a file here, piece by piece.

        Args:
            client: made by `connect`; its time-out bounds the whole transfer.
            name: the server's id of the file.
            file: receives the bytes; it is open for writing them.
            most: the largest number of bytes that are written.

        Raises:
            RequestRefused: the server will not send this file.
            RequestUnanswered: the connection broke, the time was over, or the file has more than `most` bytes.
            EndpointDown: the key or the account is the trouble, so that every request would fail.
        """
        import openai

        http = _http_library()
        seconds = client.timeout if isinstance(client.timeout, int | float) else self.timeout
        size = 0
        try:
            async with (
                asyncio.timeout(seconds),
                client.files.with_streaming_response.content(name) as response,
            ):
                async for part in response.iter_bytes():
                    size += len(part)
                    if size > most:
                        raise RequestUnanswered("no_completion", f"a file of more than {most:,} bytes")
                    file.write(part)
        except openai.OpenAIError as error:
            raise self.failure(error) from error
        except TimeoutError as error:
            raise RequestUnanswered("timeout", f"no whole file within {seconds:g} s") from error
        except http.HTTPError as error:
            raise RequestUnanswered("connection", self.without_key(_first_cause(error))) from error

    def failure(
        self, error: "openai.OpenAIError", *, forbidden_is_key: bool = True
    ) -> RequestFailed | EndpointDown | MachineError:
        """The one of the three errors that an error of the client becomes, or the fault of this machine behind it.

        Args:
            error: raised by a client of `connect`.
            forbidden_is_key: whether status 403 means that the key is refused, as for `complete`.
        """
        import openai

        first = _first_cause(error)
        if isinstance(first, _TooLarge):
            return _no_completion(str(first))
        if isinstance(first, OSError) and first.errno in _OF_THIS_MACHINE:
            return machine_error(first, f"'{self.address}' cannot be asked")
        timed_out = any(isinstance(cause, TimeoutError) for cause in _causes(error))
        if isinstance(error, openai.APIConnectionError):
            # The aiohttp transport calls a connection that the server closes a timeout; Python's own error tells.
            if timed_out:
                return RequestUnanswered("timeout", f"no answer within {self.timeout:g} s")
            return RequestUnanswered("connection", self.message(error))
        if timed_out:
            return RequestUnanswered(
                "timeout", f"no answer within {ATTEMPTS * self.timeout:g} s, all attempts together"
            )
        if not isinstance(error, openai.APIStatusError):
            return RequestUnanswered("no_completion", self.message(error))
        status, code, said = error.status_code, error.code, self.message(error)  # the code may be of any type
        if status == 401 or (status == 403 and forbidden_is_key):
            return self.key_refused(said)
        if status == 402 or code == "insufficient_quota":
            return EndpointDown(
                f"the account at '{self.address}' is used up ({said}); top it up and run again to go on"
            )
        if status == 404:
            return EndpointDown(
                f"'{self.address}' knows no model '{self.model}' ({said}); mend {self.model_option}, or end "
                f"{self.url_option} with /v1",
                said,
                status,
            )
        if status in RETRIED or status >= 500:
            return RequestUnanswered(f"http_{status}", said, status)
        return RequestRefused("refused" if code in FILTERED else f"http_{status}", said, status)

    def key_refused(self, said: str) -> EndpointDown:
        """The error that ends a run whose key the server does not take.

        Args:
            said: the server's words, from `message`.
        """
        if self.key_variable is None:
            remedy = f"set {self.key_option} to the name of the variable that holds it"
            return EndpointDown(f"'{self.address}' wants a key ({said}); {remedy}")
        state = "refuses the key" if self.key else "wants a key"
        return EndpointDown(f"'{self.address}' {state} in ${self.key_variable} ({said}); set it and run again")

    def no_answer(self, said: str) -> EndpointDown:
        """The error that ends a run whose server does not answer.

        Args:
            said: what went wrong, from `message` or from a `RequestUnanswered`.
        """
        role = f"{self.role} " if self.role else ""
        return EndpointDown(
            f"no answer from {role}'{self.address}' ({said}); start the server or mend {self.url_option}, and run "
            "again to go on"
        )

    def message(self, error: "openai.OpenAIError") -> str:
        """What an error of the client says, in one line.

        The key is taken out, since some servers repeat it. Of a lost connection, the system's own error is told.

        Args:
            error: raised by a client of `connect`.
        """
        import openai

        told: object = error
        if isinstance(error, openai.APIConnectionError):
            told = _first_cause(error)
        elif isinstance(error, openai.APIError):
            body = error.body
            told = (
                body["message"] if isinstance(body, dict) and isinstance(body.get("message"), str) else error.message
            )
        return self.without_key(told)

    def without_key(self, text: object) -> str:
        """A text or an exception's message in one line, with ``[key]`` in the place of the key and of other secrets.

        Args:
            text: whatever a server or the system says.
        """
        words = str(text) or (type(text).__name__ if isinstance(text, BaseException) else "")
        return one_line(without_keys(storable(words), self._secrets))

    @property
    def _secrets(self) -> list[str | None]:
        return [self.key, *address_secrets(self.url)]


class _TooLarge(Exception):
    """A reply that was not read to its end."""


def _bounded_client(not_repeated: frozenset[int]) -> Any:
    """The class of the HTTP client: openai's own one on aiohttp, with bounds on the time and the size of a reply.

    Args:
        not_repeated: HTTP statuses after which openai is told not to repeat the request, by the header that servers
            use for it.
    """
    import aiohttp
    import openai

    http = _http_library()

    class BoundedClient(openai.DefaultAioHttpClient):
        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            """Send a request and read its reply within the bounds; `stream` leaves the reading to the caller.

            Raises:
                HTTPError: of the HTTP library, whatever the server did; openai knows this error and no other.
                OpenAIError: the reply is too large; openai hands this error through.
            """
            seconds = request.extensions.get("timeout", {}).get("read")
            left = _left.get()
            if left is not None and seconds is not None:
                seconds = min(seconds, max(left[0], 0.0))
            started = time.monotonic()
            try:
                async with asyncio.timeout(None if stream else seconds):
                    response = await super().send(request, stream=True, **options)
                    encoding = response.headers.get("content-encoding", "").strip().lower()
                    if encoding not in _ENCODINGS:
                        await response.aclose()
                        raise http.DecodingError(f"a reply in the encoding {encoding!r}", request=request)
                    if stream:
                        return response
                    content = await _whole(response)
            except TimeoutError as error:
                if left is not None and left[0] <= time.monotonic() - started:  # openai does not repeat this error
                    raise openai.OpenAIError("no time is left for another attempt") from error
                raise http.ReadTimeout(f"no whole reply within {seconds:g} s", request=request) from error
            except _TooLarge as error:
                raise openai.OpenAIError(str(error)) from error
            except (aiohttp.ClientError, OSError, ValueError) as error:  # what aiohttp says of bytes that are no HTTP
                raise http.RemoteProtocolError(one_line(error), request=request) from error
            finally:
                if left is not None:
                    left[0] -= time.monotonic() - started
            # Without the headers that describe the body as it was sent, such as a charset that JSON never has.
            dropped = ("content-encoding", "content-length", "content-type", "transfer-encoding")
            headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in dropped]
            if response.status_code in not_repeated:
                headers = [header for header in headers if header[0].lower() != "x-should-retry"]
                headers.append(("x-should-retry", "false"))
            return http.Response(
                response.status_code,
                headers=[*headers, ("content-type", "application/json")],
                content=content,
                request=request,
            )

    return BoundedClient


async def _whole(response: Any) -> bytes:
    """The decompressed body of a reply.

    Raises:
        _TooLarge: it has more than `REPLY_BYTES`.
    """
    parts, size = [], 0
    async with _closing(response):
        async for part in response.aiter_bytes():
            size += len(part)
            if size > REPLY_BYTES:
                raise _TooLarge(f"a reply of more than {REPLY_BYTES:,} bytes")
            parts.append(part)
    return b"".join(parts)


@asynccontextmanager
async def _closing(response: Any) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await response.aclose()


def _http_library() -> ModuleType:
    """The HTTP library that the installed openai speaks through: `httpx` in version 2, `httpx2` from version 3 on."""
    import openai

    base = next(kind for kind in openai.DefaultAioHttpClient.__mro__ if kind.__name__ == "AsyncClient")
    return importlib.import_module(base.__module__.partition(".")[0])


def is_address(url: str) -> bool:
    """Whether a text is an HTTP address with a host, whose port is a number where it has one.

    Args:
        url: the text, such as a user's option.
    """
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port >= 0)
    except ValueError:
        return False


def reply_json(raw: Any) -> object:
    """The JSON of a reply.

    Args:
        raw: the reply, from a method of ``with_raw_response``.

    Raises:
        RequestUnanswered: the bytes are no JSON in UTF-8, or JSON that Python does not read: nested too deeply, or
            with a number of thousands of digits. The reason is ``no_completion``.
    """
    try:
        return json.loads(raw.http_response.content.decode("utf-8"))
    except RecursionError as error:
        raise _no_completion("a reply that is nested too deeply") from error
    except ValueError as error:
        raise _no_completion(f"a reply that is no JSON ({one_line(error)})") from error


def _no_completion(detail: str) -> RequestUnanswered:
    return RequestUnanswered("no_completion", detail)


def _kind(value: object) -> str:
    """What a JSON value is, in the words of JSON."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "a text" if isinstance(value, str) else "an object" if isinstance(value, dict) else "a number"


def _count(value: object, least: int) -> int | None:
    """A number of tokens that can be, else None; `bool` is an `int` in Python and no number here."""
    return value if type(value) is int and least <= value <= MOST_TOKENS else None


def _log_probabilities(value: object) -> Any:
    """The log-probabilities of a choice as the protocol writes them; None where there are none of this form."""
    from openai.types.chat.chat_completion import ChoiceLogprobs
    from pydantic import ValidationError

    if not isinstance(value, dict):
        return None
    try:
        return ChoiceLogprobs.model_validate(value)
    except ValidationError:
        return None


def _causes(error: BaseException) -> list[BaseException]:
    """An error and the chain of its causes, the error itself first."""
    found = [error]
    while (cause := found[-1].__cause__) is not None:
        found.append(cause)
    return found


def _first_cause(error: BaseException) -> BaseException:
    """The error at the beginning of a chain of causes; the error itself when it has none."""
    return _causes(error)[-1]
