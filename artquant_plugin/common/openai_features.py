"""Which feature of a request a server does not support, found by leaving one feature after the other out.

Servers of the OpenAI protocol differ in what they support, and many answer an unsupported field with status 500 or
with a message about something else. The trial here needs a handful of small requests, and is made for the first
request of a run alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from artquant_plugin.common.openai_client import OpenAIServer, RequestFailed

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
)


async def unsupported_feature(server: OpenAIServer, client: "openai.AsyncOpenAI", body: Body) -> Feature | None:
    """Find the feature without which a request that failed is answered.

    Features are left out one after the other and stay out. When a request is answered, the feature that was left out
    last is the one that the server does not support. Each request asks for one token and is sent once.

    Args:
        server: the server that did not answer the request.
        client: made by `server.connect` in the running event loop.
        body: the request, of which at least one message has text.

    Returns:
        The feature; None where the server answers not even plain text.

    Raises:
        EndpointDown: the key, the account or the model is the trouble.
    """
    once = client.with_options(max_retries=0)
    body = {**body, **{name: 1 for name in _LENGTHS if name in body}}
    for feature in FEATURES:
        if (less := feature.without(body)) is None:
            continue
        body = less
        try:
            await server.complete(once, body)
        except RequestFailed:
            continue
        return feature
    return None


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
