"""The endpoint of the generator or of the judge: its key, what it supports, and what its errors mean for a run."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.openai_client import (
    EndpointDown,
    OpenAIServer,
    RequestFailed,
    RequestRefused,
    RequestUnanswered,
)
from artquant_plugin.common.openai_features import (
    MAY_BE_UNSUPPORTED,
    THIS_PICTURE,
    Feature,
    dropped_text,
    may_be_unsupported,
    no_support,
    unsupported_feature,
)
from artquant_plugin.train.rad.config import EndpointSection
from artquant_plugin.train.rad.replies import Reply
from artquant_plugin.train.rad.steps import Request
from artquant_plugin.train.rad.store_rows import ReplyForm, Side

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion

# Reasons of failed requests that the provider may bill all the same, since it may have written a reply.
MAY_BE_PAID = ("timeout", "no_completion", "dropped_text")
# The forms in which a reply is asked for, in the order of trying.
FORMS_TO_TRY: tuple[ReplyForm, ...] = ("schema", "object", "text")
_LOOK_AT_LOG = "look at the server's log"
_CHECK_SECONDS = 20.0  # the check before a run may take so long


def _remedy(side: Side, feature: Feature) -> str:
    """What to do about a feature that a side's endpoint does not support."""
    if feature.key == "schema":
        return f"set {side}.structured=never and run again"
    if feature.key in ("pictures", "lists") and side == "generator":
        return "set generator.model to a model that sees pictures, or generator.base_url to a server of one"
    if feature.key == "system":
        return f"set {side}.model to a model whose chat template has system messages"
    return f"change {side}.parameters or {side}.model and run again"


class Endpoint:
    """The endpoint of one side; it must be made and closed within one event loop.

    Args:
        side: which side this endpoint serves, ``generator`` or ``judge``.
        section: the side's section of the configuration.
        key: the API key, from `read_key`; None where the endpoint wants no key.
        form: the form in which an earlier process of this run got replies; None when no earlier process got any. It
            is used only where the configuration says ``structured: auto``.

    Attributes:
        server: the address, the model and the key, with the names of the settings that hold them.
        client: the `openai` client; the Batch API is reached through it, too.
        answered: whether the endpoint has answered a request in this run.
        form: the form in which requests ask for their replies.
        form_known: whether `form` is settled, by the configuration or by a reply.
        slots: a semaphore with as many places as requests may wait for a reply at once.
    """

    def __init__(self, side: Side, section: EndpointSection, key: str | None, form: ReplyForm | None = None) -> None:
        self.side = side
        self.section = section
        self.answered = False
        self.form_known = form is not None or section.structured != "auto"
        self.form = form if form is not None and section.structured == "auto" else first_form(section)
        self._until_answered = asyncio.Lock()  # until an endpoint has answered, it is asked for one thing at a time
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
        """Close the connections to the endpoint."""
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

    async def ask(self, request: Request, build: Callable[[ReplyForm], Request]) -> tuple[Request, Reply]:
        """Send a request, and find out at the first one what the endpoint supports.

        Args:
            request: the request to send; it asks for its reply in the form `self.form`.
            build: makes the same request in another form.

        Returns:
            The request in the form that the endpoint answered, and the reply.

        Raises:
            RequestRefused: the endpoint will not take this request, or did not give its text to the model.
            RequestUnanswered: no usable reply came, for a reason that may be this request's or the endpoint's.
            EndpointDown: the run cannot go on with this endpoint.
        """
        if not self.answered:
            async with self._until_answered:
                if not self.answered:
                    return await self._first_reply(request, build)
            request = build(self.form)
        return request, await self._send(request)

    async def _first_reply(self, request: Request, build: Callable[[ReplyForm], Request]) -> tuple[Request, Reply]:
        """Send the first request, if need be in other forms; when none is answered, find what is not supported.

        After an error that may mean "this form is not supported", the client does not retry; each other form is tried
        at once, in one request. An error 500 may also have another cause, which goes away. So the first form is tried
        again after another form was answered; and when no form was answered and no unsupported feature is found, the
        request is sent once more, with the client's retries.

        Raises:
            RequestFailed: as for `ask`.
            EndpointDown: as for `ask`; also when the endpoint does not answer even the request for plain text.
        """
        forms = (self.form,) if self.form_known else FORMS_TO_TRY[FORMS_TO_TRY.index(self.form) :]
        async with self.server.connect(not_repeated=MAY_BE_UNSUPPORTED) as first_client:
            failure: RequestFailed | EndpointDown | None = None
            for form in forms:
                tried = request if form == self.form else build(form)
                try:
                    reply = await self._send(tried, first_client)
                except (RequestFailed, EndpointDown) as error:
                    failure = failure or error
                    if not may_be_unsupported(error):
                        raise
                    continue
                if failure is not None and (failure.status or 0) >= 500:  # the server may have recovered meanwhile
                    with suppress(RequestFailed):
                        tried, reply = request, await self._send(request, first_client)
                        form = self.form
                self.form, self.form_known = form, True
                return tried, reply
            assert failure is not None
            feature = await unsupported_feature(self.server, first_client, tried.body)
            if feature is THIS_PICTURE:
                raise RequestRefused(f"http_{failure.status}", failure.detail, failure.status) from failure
            if feature is not None:
                raise no_support(self.server, feature, failure, _remedy(self.side, feature)) from failure
            if isinstance(failure, RequestRefused):
                raise self.down_after(failure) from failure
            if isinstance(failure, EndpointDown):
                raise failure
        try:
            reply = await self._send(request)
        except RequestFailed as error:
            raise (self.down_after(error) if may_be_unsupported(error) else error) from error
        self.form_known = True
        return request, reply

    async def _send(self, request: Request, client: "openai.AsyncOpenAI | None" = None) -> Reply:
        completion = await self.server.complete(
            client or self.client, request.body, forbidden_is_key=not self.answered
        )
        reply = read_completion(completion)
        try:
            refuse_dropped_text(request, reply)
        except RequestRefused as error:
            if self.answered:
                raise
            raise EndpointDown(
                f"'{self.server.address}' with '{self.server.model}' drops the text of the {self.side}'s request "
                f"({error.detail}); look at the server's chat template, or change {self.side}.model, and run again"
            ) from error
        self.answered = True
        return reply

    def down_after(self, error: RequestFailed) -> EndpointDown:
        """Make the error that ends a run whose requests to this endpoint fail one after the other.

        Args:
            error: why the last one of them failed.
        """
        reason = f"{error.reason}: {error.detail}"
        if error.reason == "no_completion":
            return EndpointDown(
                f"'{self.server.address}' sends the {self.side} no completions ({error.detail}); mend "
                f"{self.side}.base_url, which usually ends with /v1, and run again to go on"
            )
        if isinstance(error, RequestUnanswered) and error.status is None:
            return self.server.no_answer(reason)
        if isinstance(error, RequestUnanswered):
            remedy = f"wait, or lower {self.side}.requests_per_minute" if error.status == 429 else _LOOK_AT_LOG
            plain = ", to plain text as well" if error.status in MAY_BE_UNSUPPORTED and not self.answered else ""
            return EndpointDown(
                f"'{self.server.address}' answers the {self.side} {error.status}{plain} ({reason}); {remedy}, and run "
                "again to go on"
            )
        return EndpointDown(
            f"'{self.server.address}' refuses the {self.side}'s requests ({reason}); mend {self.side}.parameters or "
            f"{self.side}.model, and run again"
        )


def first_form(section: EndpointSection) -> ReplyForm:
    """The form in which a side's first request asks for its reply.

    Args:
        section: the side's section of the configuration.
    """
    return "text" if section.structured == "never" else "schema"


def refuse_dropped_text(request: Request, reply: Reply) -> None:
    """Check by the count of tokens that the endpoint gave the request's text to the model.

    Args:
        request: the request in the form in which it was sent.
        reply: what came back, with the endpoint's count of the prompt's tokens.

    Raises:
        RequestRefused: fewer tokens were counted than the text has; the reason is ``dropped_text``.
    """
    if length := dropped_text(request.body, reply.prompt_tokens):
        raise RequestRefused(
            "dropped_text",
            f"it counts {reply.prompt_tokens} tokens for a prompt with {length:,} characters of text, which it cannot "
            "have given to the model",
        )


def read_key(side: Side, section: EndpointSection) -> str | None:
    """Read the API key of a side from the environment variable that its section names.

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
    """Take from a chat completion what a run uses.

    Args:
        completion: from `OpenAIServer.completion`, which checked its form.

    Returns:
        The first choice's message, and the token counts. Where the endpoint counts 0 tokens for a text, the number of
        the reply's tokens is unknown, hence None.
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
