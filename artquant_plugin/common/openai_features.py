"""Which feature of a request a server does not support, found by leaving one feature after the other out.

Servers of the OpenAI protocol differ in what they support, and many answer an unsupported field with status 500 or
with a message about something else. The trial here needs a handful of small requests, and is made for the first
request of a run alone.
"""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from artquant_plugin.common.openai_client import EndpointDown, OpenAIServer, RequestFailed

if TYPE_CHECKING:
    import openai

Body = dict[str, Any]

MAY_BE_UNSUPPORTED = (400, 404, 413, 415, 422, 500, 501)
"""HTTP statuses with which servers answer requests that use what they do not support."""

_PREFILL = ("continue_final_message", "add_generation_prompt", "chat_template_kwargs")
_LENGTHS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that a request may use and a server may not support.

    Args:
        key: a short name by which the caller finds its remedy.
        words: what it is called in messages.
        without: makes the same request without it; returns None for a request that does not use it.
    """

    key: str
    words: str
    without: Callable[[Body], Body | None]


def _without_fields(*names: str) -> Callable[[Body], Body | None]:
    def without(body: Body) -> Body | None:
        if not any(name in body for name in names):
            return None
        return {name: value for name, value in body.items() if name not in names}

    return without


def _without_prefill(body: Body) -> Body | None:
    if not any(name in body for name in _PREFILL):
        return None
    messages = body["messages"]
    if messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    return {**{name: value for name, value in body.items() if name not in _PREFILL}, "messages": messages}


def _without_system(body: Body) -> Body | None:
    """Put what a system message says at the beginning of the user's first message, which is text by then."""
    system = [message["content"] for message in body["messages"] if message["role"] == "system"]
    others = [message for message in body["messages"] if message["role"] != "system"]
    if not system or not others or not all(isinstance(text, str) for text in (*system, others[0]["content"])):
        return None
    first = {**others[0], "content": "\n\n".join([*system, others[0]["content"]])}
    return {**body, "messages": [first, *others[1:]]}


def _with_small_pictures(body: Body) -> Body:
    """The same request with a grey square of 64 pixels in the place of each picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(buffer, format="JPEG")
    url = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    small = {"type": "image_url", "image_url": {"url": url}}
    changed = _with_parts(body, lambda parts: [small if part.get("type") == "image_url" else part for part in parts])
    return changed or body


def _without_pictures(body: Body) -> Body | None:
    return _with_parts(body, lambda parts: [part for part in parts if part.get("type") != "image_url"])


def _without_lists(body: Body) -> Body | None:
    return _with_parts(body, lambda parts: "\n".join(part["text"] for part in parts if part.get("type") == "text"))


def _with_parts(body: Body, change: Callable[[list[Any]], Any]) -> Body | None:
    """Change the contents that are lists; None where that changes nothing."""
    messages = [
        {**message, "content": change(message["content"])} if isinstance(message["content"], list) else message
        for message in body["messages"]
    ]
    return None if messages == body["messages"] else {**body, "messages": messages}


FEATURES = (
    Feature("schema", "a JSON schema or JSON object as the form of the reply", _without_fields("response_format")),
    Feature("prefill", "an answer that the server continues (continue_final_message)", _without_prefill),
    Feature("logprobs", "log-probabilities", _without_fields("logprobs", "top_logprobs")),
    Feature("pictures", "pictures", _without_pictures),
    Feature("lists", "messages whose content is a list, which pictures need", _without_lists),
    Feature("system", "a system message", _without_system),
)

THIS_PICTURE = Feature("picture", "this picture, though it takes a small one", lambda body: None)
"""What a server that takes pictures does not support: the size or the format of the request's own picture."""


def may_be_unsupported(error: RequestFailed | EndpointDown) -> bool:
    """Whether a server may have answered a request with this error for something that it does not support.

    Args:
        error: raised by `OpenAIServer.complete`. A refusal by a provider's filter has another cause.
    """
    refused = isinstance(error, RequestFailed) and error.reason == "refused"
    return error.status in MAY_BE_UNSUPPORTED and not refused


def no_support(
    server: OpenAIServer, feature: Feature, error: RequestFailed | EndpointDown, remedy: str
) -> EndpointDown:
    """The error that ends a run whose server does not support what its requests use.

    Args:
        server: the server that did not answer the request.
        feature: the feature that `unsupported_feature` found.
        error: what the server answered to the whole request.
        remedy: what the user can do about it, in the imperative.
    """
    return EndpointDown(
        f"'{server.address}' with '{server.model}' does not support {feature.words}: it answers {error.status} "
        f"({error.detail}), and is fine without; {remedy}"
    )


async def unsupported_feature(server: OpenAIServer, client: "openai.AsyncOpenAI", body: Body) -> Feature | None:
    """Find the feature without which a request that failed is answered.

    Features are left out one after the other and stay out. When a request is answered, the feature that was left out
    last is the one that the server does not support, unless the whole request is answered by now, too: an error 500
    may pass, and some requests fail for the number of tokens that they ask for. Each request here asks for one token
    and is sent once. When the feature is pictures, the request is sent with a small picture as well.

    Args:
        server: the server that did not answer the request.
        client: made by `server.connect` in the running event loop.
        body: the request, of which at least one message has text.

    Returns:
        The feature; `THIS_PICTURE` where a small picture is answered; None where the server answers not even plain
        text, or answers the whole request as well.

    Raises:
        EndpointDown: the key or the account is the trouble.
    """
    body = whole = {**body, **{name: 1 for name in _LENGTHS if name in body}}
    for feature in FEATURES:
        if (less := feature.without(body)) is None:
            continue
        before, body = body, less
        if not await _answers(server, client, body):
            continue
        if await _answers(server, client, whole):
            return None
        if feature.key == "pictures" and await _answers(server, client, _with_small_pictures(before)):
            return THIS_PICTURE
        return feature
    return None


async def _answers(server: OpenAIServer, client: "openai.AsyncOpenAI", body: Body) -> bool:
    """Whether a request is answered when it is sent once.

    Raises:
        EndpointDown: the key or the account is the trouble.
    """
    try:
        await server.complete(client.with_options(max_retries=0), body)
    except RequestFailed:
        return False
    except EndpointDown as error:
        if error.status is None:
            raise
        return False
    return True


def dropped_text(body: Body, prompt_tokens: Any) -> int | None:
    """The length of a request's text, where the server cannot have given it to the model.

    A token has ten characters on average at the most: English has four to five, and other languages fewer.

    Args:
        body: the request as it was sent, with its messages.
        prompt_tokens: what the reply counts as the prompt's tokens, pictures included; anything but a positive integer
            tells nothing.

    Returns:
        The number of characters; None where the count allows the text, or tells nothing.
    """
    if not isinstance(prompt_tokens, int) or isinstance(prompt_tokens, bool) or prompt_tokens <= 0:
        return None
    length = 0
    for message in body["messages"]:
        content = message["content"]
        texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
        length += sum(map(len, texts))
    return length if prompt_tokens * 10 < length else None
