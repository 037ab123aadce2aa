"""One side's endpoint through OpenAI's client; its errors become three kinds: this painting, no answer, the end."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import openai
from openai.types.chat import ChatCompletion

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line
from artquant_plugin.train.rad.config import EndpointSection
from artquant_plugin.train.rad.replies import Reply
from artquant_plugin.train.rad.rows import Side
from artquant_plugin.train.rad.steps import Request

FILTERED = ("content_filter", "content_policy_violation")  # codes of a 400 that is a refusal
NO_SCHEMA = (400, 422)  # statuses of endpoints that do not know response_format
_PREFLIGHT = 20.0  # seconds


class EndpointDown(ArtQuantError):
    """The run cannot go on with this endpoint; unfinished paintings stay as they are."""


class Refused(Exception):
    """The endpoint will not take this request.

    Args:
        reason: one word, such as ``http_400``.
        detail: the endpoint's words.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Unanswered(Refused):
    """No answer after the client's retries: ``connection``, ``timeout``, ``http_429``, ``http_500`` and their like."""


class Endpoint:
    """A side's endpoint; made and closed within an event loop.

    Args:
        side: which.
        section: of the configuration.
        key: from `artquant_plugin.train.rad.keys`.
        structured: whether structured outputs are known to be taken or refused; None when not known.

    Attributes:
        answered: whether it has answered in this run.
        structured: as learnt.
        slots: requests that may be in flight.
    """

    def __init__(self, side: Side, section: EndpointSection, key: str | None, structured: bool | None = None) -> None:
        self.side = side
        self.section = section
        self.answered = False
        self.structured = {"auto": structured, "always": True, "never": False}[section.structured]
        self.slots = asyncio.Semaphore(section.concurrency)
        self._key = key
        self.client = openai.AsyncOpenAI(
            base_url=section.base_url,
            api_key=key or "none",
            max_retries=section.max_retries,
            timeout=section.timeout,
            http_client=openai.DefaultAioHttpClient(timeout=section.timeout),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self.client.close()

    async def check(self) -> None:
        """Whether it is there and takes the key; costs nothing.

        Raises:
            EndpointDown: it is not, or does not.
        """
        try:
            await self.client.with_options(max_retries=1, timeout=_PREFLIGHT).models.list()
        except openai.APIConnectionError as error:
            raise self.down(_cause(error)) from error
        except openai.APIStatusError as error:
            if error.status_code == 401:  # 403 may mean that this key is for completions alone
                raise self._no_key(error) from error
        except (openai.APIError, ValueError):
            pass  # no list of models is needed, as long as something answers

    async def ask(self, request: Request, plain: Callable[[], Request]) -> tuple[Request, Reply]:
        """Send a request.

        Args:
            request: to be sent, with structured outputs unless they are known to be refused.
            plain: the same without.

        Returns:
            The request as it was answered, and the reply.

        Raises:
            Refused: this request.
            Unanswered: no answer, for this one or for all.
            EndpointDown: for all.
        """
        try:
            reply = await self._send(request)
        except openai.APIStatusError as error:
            if self.structured is not None or error.status_code not in NO_SCHEMA or _code(error) in FILTERED:
                raise self._kind(error) from error
            return await self._without_schema(plain, error)
        except openai.APIError as error:
            raise self._kind(error) from error
        if self.structured is None:
            self.structured = True
        return request, reply

    async def _without_schema(
        self, plain: Callable[[], Request], refused: openai.APIStatusError
    ) -> tuple[Request, Reply]:
        """The same request in words alone; when that is taken, the schema was the trouble."""
        request = plain()
        try:
            reply = await self._send(request)
        except openai.APIStatusError as error:
            raise self._kind(error if error.status_code not in NO_SCHEMA else refused) from error
        except openai.APIError as error:
            raise self._kind(error) from error
        self.structured = False
        return request, reply

    async def _send(self, request: Request) -> Reply:
        body = request.body
        try:
            # The whole body as `extra_body`, which goes over the rest: the client would walk through every message for
            # keys to rename, of which there are none, and spend a third of its time on it.
            completion = await self.client.chat.completions.create(model=body["model"], messages=[], extra_body=body)
        except json.JSONDecodeError as error:
            raise Unanswered("no_completion", f"a reply that is no JSON ({error})") from error
        if not isinstance(completion, ChatCompletion):  # the client hands text through, such as a proxy's page
            raise Unanswered("no_completion", "a reply that is no completion")
        self.answered = True
        return read_completion(completion)

    def _kind(self, error: openai.APIError) -> Refused | EndpointDown:
        if isinstance(error, openai.APIConnectionError):
            # The aiohttp transport calls a connection that the server closes a timeout; Python's own error tells.
            if isinstance(_deepest(error), TimeoutError):
                return Unanswered("timeout", f"no answer within {self.section.timeout:g} s")
            return Unanswered("connection", _cause(error))
        if not isinstance(error, openai.APIStatusError):
            return Unanswered("no_completion", self.said(error))
        status, code = error.status_code, _code(error)
        if status == 401 or (status == 403 and not self.answered):
            return self._no_key(error)
        if status == 402 or code == "insufficient_quota":
            return EndpointDown(
                f"the account at '{self.section.base_url}' is used up ({self.said(error)}); top it up and run again "
                "to go on"
            )
        if status == 404:
            return EndpointDown(
                f"'{self.section.base_url}' knows no model '{self.section.model}' ({self.said(error)}); mend "
                f"{self.side}.model or {self.side}.base_url"
            )
        if status == 400 and code in FILTERED:
            return Refused("refused", self.said(error))
        kind = Unanswered if status in (408, 409, 429) or status >= 500 else Refused
        return kind(f"http_{status}", self.said(error))

    def _no_key(self, error: openai.APIStatusError) -> EndpointDown:
        if self.section.api_key_env is None:
            return EndpointDown(
                f"'{self.section.base_url}' wants a key ({self.said(error)}); set {self.side}.api_key_env to the name "
                "of the variable that holds it"
            )
        return EndpointDown(
            f"'{self.section.base_url}' refuses the key in ${self.section.api_key_env} ({self.said(error)}); set it "
            "and run again"
        )

    def gives_up(self, error: Refused) -> EndpointDown:
        """The error that ends a run whose requests fail one after the other."""
        said = f"{error.reason}: {error.detail}"
        if isinstance(error, Unanswered):
            return self.down(said)
        return EndpointDown(
            f"'{self.section.base_url}' refuses the {self.side}'s requests ({said}); mend {self.side}.parameters or "
            f"{self.side}.model, and run again"
        )

    def down(self, said: str) -> EndpointDown:
        """The error that ends a run whose endpoint does not answer."""
        return EndpointDown(
            f"no answer from {self.side} '{self.section.base_url}' ({said}); start the server or mend "
            f"{self.side}.base_url, and run again to go on"
        )

    def said(self, error: openai.APIError) -> str:
        """An error's words in one line, without the key, which some servers repeat."""
        body: Any = error.body
        text = body["message"] if isinstance(body, dict) and isinstance(body.get("message"), str) else error.message
        return one_line(str(text).replace(self._key, "[key]") if self._key else text)


def read_completion(completion: ChatCompletion) -> Reply:
    """A completion as far as it matters here; the client does not check what a server sends."""
    choice = completion.choices[0] if completion.choices else None
    message = choice.message if choice else None
    usage = completion.usage
    return Reply(
        text=message.content if message and isinstance(message.content, str) else None,
        refusal=message.refusal if message else None,
        finish=choice.finish_reason if choice else None,
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
    )


def _code(error: openai.APIStatusError) -> str | None:
    return error.code if isinstance(error.code, str) else None


def _cause(error: openai.APIConnectionError) -> str:
    return one_line(_deepest(error))


def _deepest(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
