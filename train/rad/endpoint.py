"""One side's endpoint: its key, the requests that it takes, and what its errors mean for a run."""

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.openai_client import (
    EndpointDown,
    OpenAIServer,
    RequestFailed,
    RequestRefused,
    RequestUnanswered,
)
from artquant_plugin.train.rad.config import EndpointSection
from artquant_plugin.train.rad.replies import Reply
from artquant_plugin.train.rad.steps import Request
from artquant_plugin.train.rad.store_rows import Side

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

NO_SCHEMA = (400, 422)  # statuses of endpoints that do not know response_format
PAID = ("timeout", "no_completion")  # failures after which the provider may have written, and counted, a reply
_CHECK_SECONDS = 20.0  # that the check before a run may take


class Endpoint:
    """A side's endpoint; made and closed within an event loop.

    Args:
        side: which of the two it is.
        section: the side's section of the configuration.
        key: from `read_key`; None where the endpoint wants none.
        structured: what an earlier run learnt: True where the endpoint takes a JSON schema, False where it refuses
            one, None when that is not known. It counts only where the configuration says ``auto``.

    Attributes:
        server: the address, the model and the key, with the names of the settings that hold them.
        client: of `openai`; the Batch API is reached through it.
        answered: whether the endpoint has answered a request in this run.
        structured: whether the endpoint takes a JSON schema; None until the first reply.
        slots: a semaphore with as many places as requests may wait for a reply at once.
    """

    def __init__(self, side: Side, section: EndpointSection, key: str | None, structured: bool | None = None) -> None:
        self.side = side
        self.section = section
        self.answered = False
        self.structured = {"auto": structured, "always": True, "never": False}[section.structured]
        self.slots = asyncio.Semaphore(section.concurrency)
        self.server = OpenAIServer(
            section.base_url,
            section.model,
            url_option=f"{side}.base_url",
            model_option=f"{side}.model",
            key=key,
            key_variable=section.api_key_env,
            key_option=f"{side}.api_key_env",
            role=side,
            timeout=section.timeout,
            retries=section.max_retries,
        )
        self.client = self.server.connect()

    async def close(self) -> None:
        """Close its connections."""
        await self.client.close()

    async def check(self) -> None:
        """Ask for the list of models, which costs nothing, to see whether the endpoint answers and takes the key.

        Raises:
            EndpointDown: it does not answer, or refuses the key.
        """
        import openai

        try:
            await self.client.with_options(max_retries=1, timeout=_CHECK_SECONDS).models.with_raw_response.list()
        except openai.APIConnectionError as error:
            raise self.server.no_answer(self.server.message(error)) from error
        except openai.APIStatusError as error:
            if error.status_code == 401:  # 403 may mean that this key is for completions alone
                raise self.server.key_refused(self.server.message(error)) from error
        except openai.OpenAIError:
            pass  # no list of models is needed, as long as something answers

    async def ask(self, request: Request, plain: Callable[[], Request]) -> tuple[Request, Reply]:
        """Send a request.

        Until it is known whether the endpoint takes a JSON schema, a request that is refused with one is sent again
        without; when that is answered, the schema was the trouble.

        Args:
            request: to be sent; it has a JSON schema unless the endpoint is known to refuse one.
            plain: makes the same request without a schema.

        Returns:
            The request as it was answered, and the reply.

        Raises:
            RequestRefused: the endpoint will not take this request.
            RequestUnanswered: no usable reply came, for a reason that may be this request's or the endpoint's.
            EndpointDown: the run cannot go on with this endpoint.
        """
        try:
            reply = await self._send(request)
        except RequestRefused as refused:
            if self.structured is not None or refused.status not in NO_SCHEMA or refused.reason == "refused":
                raise
            request = plain()
            try:
                reply = await self._send(request)
            except RequestFailed as error:
                raise (refused if error.status in NO_SCHEMA else error) from error
            self.structured = False
            return request, reply
        if self.structured is None:
            self.structured = True
        return request, reply

    async def _send(self, request: Request) -> Reply:
        completion = await self.server.complete(self.client, request.body, forbidden_is_key=not self.answered)
        self.answered = True
        return read_completion(completion)

    def gives_up(self, error: RequestFailed) -> EndpointDown:
        """The error that ends a run whose requests fail one after the other.

        Args:
            error: why the last one of them failed.
        """
        said = f"{error.reason}: {error.detail}"
        if error.reason == "no_completion":
            return EndpointDown(
                f"'{self.section.base_url}' sends the {self.side} no completions ({error.detail}); mend "
                f"{self.side}.base_url, which usually ends with /v1, and run again to go on"
            )
        if isinstance(error, RequestUnanswered):
            return self.server.no_answer(said)
        return EndpointDown(
            f"'{self.section.base_url}' refuses the {self.side}'s requests ({said}); mend {self.side}.parameters or "
            f"{self.side}.model, and run again"
        )


def read_key(side: Side, section: EndpointSection) -> str | None:
    """The key of a side, from the environment variable that its section names; it goes to the client alone.

    Args:
        side: which side's key is read.
        section: the side's section of the configuration.

    Returns:
        The key without surrounding white space; None where the section names no variable.

    Raises:
        ArtQuantError: the variable is not set, or holds what an HTTP header cannot carry.
    """
    if section.api_key_env is None:
        return None
    key = os.environ.get(section.api_key_env, "").strip()
    if not key:
        raise ArtQuantError(
            f"${section.api_key_env} is not set, and {side}.api_key_env names it; export it, or set "
            f"{side}.api_key_env=null where the endpoint wants no key"
        )
    if not (key.isascii() and key.isprintable()):
        raise ArtQuantError(
            f"${section.api_key_env} holds what no key does, a line break or a letter that is not ASCII; copy it again"
        )
    return key


def read_completion(completion: "ChatCompletion") -> Reply:
    """What a run uses of a completion.

    Args:
        completion: from `OpenAIServer.completion`, which checked its form.

    Returns:
        The first choice's message, and the token counts. A text that is said to have no tokens has an unknown number.
    """
    choice = completion.choices[0]
    usage = completion.usage
    text = choice.message.content
    completion_tokens = usage.completion_tokens if usage else None
    return Reply(
        text=text,
        refusal=choice.message.refusal,
        finish=choice.finish_reason,
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=None if text and completion_tokens == 0 else completion_tokens,
    )
