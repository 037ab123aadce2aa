"""Scoring through a server that speaks the OpenAI protocol and lists log-probabilities (vLLM, SGLang)."""

import asyncio
import base64
import io
import json
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.logprobs import Ask, listed_tokens, score_listed
from artquant_plugin.bulk.rows import ScoreColumns
from artquant_plugin.checkpoint import ScoringSpec
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.openai_client import EndpointDown, OpenAIServer, RequestFailed, RequestRefused, is_address
from artquant_plugin.common.openai_features import (
    MAY_BE_UNSUPPORTED,
    THIS_PICTURE,
    dropped_text,
    may_be_unsupported,
    no_support,
    unsupported_feature,
)
from artquant_plugin.common.secrets import address_secrets, without_secrets
from artquant_plugin.data.images import Handling, open_image
from artquant_plugin.prompting.questions import one_level

KEY_VARIABLE = "OPENAI_API_KEY"
LISTED = 20  # tokens per position: the protocol's limit, and vLLM's default one
AHEAD = 4  # times the concurrency: images taken while an earlier one is still being answered, as rows keep their order
ONE_IMAGE = (400, 413, 415, 422)  # statuses that are about one image, once the server has answered for another one
ITS_PICTURE = "picture"  # the reason of a refusal that a small picture in the same request does not get
# What to do about a feature that the server does not support, by `Feature.key`.
REMEDIES = {
    "prefill": "pass --prompt word",
    "logprobs": "use a server that lists them, such as vLLM or SGLang, or score with the checkpoint itself",
    "pictures": "use a server and a model that take pictures",
    "lists": "use a server and a model that take pictures",
    "system": "take it out of --extra-body",
    "schema": "take response_format out of --extra-body",
}
# vLLM and SGLang: go on with the assistant's last words instead of opening a new turn, with a thinking mode off.
PREFILL = {
    "add_generation_prompt": False,
    "continue_final_message": True,
    "chat_template_kwargs": {"enable_thinking": False},
}


@dataclass
class EndpointEngine:
    """An engine that asks a server for the log-probabilities of the level words.

    Args:
        url: base address, such as ``http://host:8000/v1``.
        model: the name by which the server knows the model.
        spec: level words and values, question, first words of the answer, and how images are opened: those of the
            checkpoint that the server serves.
        ask: ``prefill`` sends the answer's first words as the assistant's own, so that the server's next token is the
            level word, as in training; ``word`` asks for one of the level words, for servers that cannot do that.
        tokens: the first token of each level word, best level first; the words themselves when None.
        concurrency: the largest number of requests that wait for a reply at once, from 1.
        min_mass: the least probability in [0, 1] that the level words must have together; an image for which they
            have less gets no score, and its row says so.
        extra_body: further fields of every request, which replace those of the same names that are set here.
        key: sent as a bearer token; None for a server that wants none.

    Raises:
        ArtQuantError: `url` is no address; `tokens` has not one token for each level, or has an empty one or the same
            one twice.
    """

    url: str = field(repr=False)
    model: str
    spec: ScoringSpec
    ask: Ask = "prefill"
    tokens: tuple[str, ...] | None = None
    concurrency: int = 16
    min_mass: float = 0.1
    extra_body: dict[str, Any] | None = None
    key: str | None = field(default=None, repr=False)
    _answered_body: dict[str, Any] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not is_address(self.url):  # which may hold a password, and so is not repeated
            raise ArtQuantError(
                "--endpoint is no address such as http://host:8000/v1; mend it, and write a password in it with %2F "
                "for / and %40 for @"
            )
        if self.spec.chat_template is not None:
            raise ArtQuantError(
                f"scoring {self.spec.name!r} writes the conversation with its own template, and a server uses that of "
                "its model; score with the checkpoint itself, without --endpoint"
            )
        names = self.spec.scale.names
        if self.tokens is not None and len(self.tokens) != len(names):
            raise ArtQuantError(
                f"{len(self.tokens)} level tokens for {len(names)} levels; give one for each of {', '.join(names)}"
            )
        tokens = [token.lower() if self.ask == "word" else token for token in self.tokens or names]
        if len(set(tokens)) != len(tokens) or not all(token.strip() for token in tokens):
            raise ArtQuantError(
                f"level tokens {', '.join(map(repr, tokens))} are empty or repeat one; tell levels apart"
            )

    @property
    def columns(self) -> ScoreColumns:
        """Columns: the levels, and how much of the probability they have."""
        return ScoreColumns(self.spec.scale.names, ("level_mass", "score_bound"))

    @property
    def options(self) -> dict[str, Any]:
        """What scores depend on: the prompt, the scale, the tokens, and how images are opened."""
        scale = self.spec.scale
        return {
            "engine": "endpoint",
            "prompt": self.ask,
            "levels": dict(zip(scale.names, scale.values, strict=True)),
            "tokens": list(self.tokens or scale.names),
            "words": asdict(self.spec.prompt),
            "images": self.spec.images,
            "scoring": self.spec.name,
            "min_level_mass": self.min_mass,
            "extra_body": self._recorded_body,
        }

    @property
    def _recorded_body(self) -> dict[str, Any] | str | None:
        """The further fields as they may be written: those with a secret as a text, in which it is hidden."""
        text = json.dumps(self.extra_body, ensure_ascii=False)
        hidden = without_secrets(text, [self.key, *address_secrets(self.url)])
        return self.extra_body if hidden == text else hidden

    def identity(self) -> dict[str, Any]:
        """The model's name; what stands behind it is the server's own."""
        return {"name": self.model}

    def body(self, image_url: str) -> dict[str, Any]:
        """The request for one image, as JSON.

        Args:
            image_url: the image as a data URI.
        """
        prompt = self.spec.prompt
        names = self.spec.scale.names
        question = prompt.question
        if self.ask == "word" and not question.endswith(one_level(names)):  # the preset zero-shot has the sentence
            question = f"{question} {one_level(names)}"
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": image_url}},
            {"type": "text", "text": question},
        ]
        if not prompt.image_first:
            parts.reverse()
        messages: list[dict[str, Any]] = [{"role": "user", "content": parts}]
        extra: dict[str, Any] = {}
        if self.ask == "prefill":
            messages.append({"role": "assistant", "content": prompt.answer_prefix})
            extra = dict(PREFILL)
        return {
            "model": self.model,
            "messages": messages,
            "max_tokens": 1,
            "temperature": 1.0,  # some servers list the probabilities after temperature and top_p
            "top_p": 1.0,
            "logprobs": True,
            "top_logprobs": LISTED,
            **extra,
            **(self.extra_body or {}),
        }

    def results(self, images: Iterable[Path | bytes]) -> Iterator[dict[str, Any] | ArtQuantError]:
        """Ask for every image, in their order.

        The first image is asked for alone, so that a server that cannot help costs one request; from then on
        `concurrency` requests wait at once.

        Args:
            images: paths of files, or files' contents. They are taken as requests become free.

        Yields:
            For each image its score, levels, entropy and extras, or the error that is the reason why it has none.

        Raises:
            EndpointDown: the server does not answer, refuses the key or the model, or lists no log-probabilities.
        """
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="artquant-endpoint", daemon=True)
        thread.start()
        client = asyncio.run_coroutine_threadsafe(self._connect(), loop).result()
        free = asyncio.Semaphore(self.concurrency)
        waiting: deque[Future[dict[str, Any] | ArtQuantError]] = deque()
        stream = iter(images)
        try:
            while True:
                room = (AHEAD * self.concurrency if self._answered else 1) - len(waiting)
                for image in islice(stream, max(room, 0)):
                    waiting.append(asyncio.run_coroutine_threadsafe(self._ask(client, free, image), loop))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for request in waiting:
                request.cancel()
            asyncio.run_coroutine_threadsafe(client.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    @property
    def _answered(self) -> bool:
        """Whether one image has a score, so that server, model and options are all right."""
        return self._answered_body is not None

    @property
    def _server(self) -> OpenAIServer:
        return OpenAIServer(
            self.url,
            self.model,
            url_option="--endpoint",
            model_option="--model",
            key=self.key,
            key_variable=KEY_VARIABLE,
        )

    async def _connect(self) -> Any:
        return self._server.connect()

    async def _ask(self, client: Any, free: asyncio.Semaphore, image: Path | bytes) -> dict[str, Any] | ArtQuantError:
        try:
            async with free:
                url = await asyncio.to_thread(_data_uri, image, self.spec.images)
                body = self.body(url)
                complete = self._server.complete if self._answered else self._first_reply
                reply = await complete(client, body)
        except EndpointDown:
            raise
        except ArtQuantError as error:
            return error
        except RequestFailed as error:
            return await self._about_one_image(client, error)
        try:
            result = self._read(reply, body)
            self._answered_body = body
            return result
        except EndpointDown:
            raise
        except ArtQuantError as error:  # which may repeat what the server wrote
            return ArtQuantError(self._server.without_key(error))

    async def _first_reply(self, client: Any, body: dict[str, Any]) -> Any:
        """The reply to the first request of a run; when there is none, what the server does not support is looked for.

        Raises:
            RequestFailed: no usable reply came, and nothing that the request uses is to blame.
            EndpointDown: the server does not support something that the request uses.
        """
        async with self._server.connect(not_repeated=MAY_BE_UNSUPPORTED) as first:
            try:
                return await self._server.complete(first, body)
            except (RequestFailed, EndpointDown) as error:
                if not may_be_unsupported(error):
                    raise
                feature = await unsupported_feature(self._server, first, body)
                if feature is THIS_PICTURE:
                    raise RequestRefused(ITS_PICTURE, error.detail, error.status) from error
                if feature is not None:
                    raise no_support(self._server, feature, error, REMEDIES[feature.key]) from error
                if isinstance(error, RequestRefused | EndpointDown):
                    raise
        return await self._server.complete(client, body)

    def _read(self, reply: Any, body: dict[str, Any]) -> dict[str, Any]:
        """The score in a reply.

        Raises:
            EndpointDown: no reply of this server will have a score.
            ArtQuantError: this reply has none.
        """
        prompt_tokens = getattr(getattr(reply, "usage", None), "prompt_tokens", None)
        if length := dropped_text(body, prompt_tokens):
            raise self._unless_answered(
                f"the server counts {prompt_tokens} tokens for a prompt with {length} characters of text, which "
                "it cannot have given to the model; look at its chat template"
            )
        listed = listed_tokens(reply)
        if listed is None:
            raise self._unless_answered(
                "the reply lists no log-probabilities, and scores are read from them; use a server that lists them, "
                "such as vLLM or SGLang, or score with the checkpoint itself"
            )
        scale = self.spec.scale
        tokens = self.tokens or scale.names
        score = score_listed(listed, scale, tokens=tokens, ask=self.ask, min_mass=self.min_mass)
        return {
            "score": score.score,
            "levels": score.levels,
            "entropy": score.entropy,
            "extras": {"level_mass": score.level_mass, "score_bound": score.score_bound},
        }

    def _unless_answered(self, message: str) -> ArtQuantError:
        """The end of the run while no reply had a score; afterwards the reason of one image."""
        return (
            ArtQuantError(message)
            if self._answered
            else EndpointDown(f"'{self._server.address}' with '{self.model}': {message}")
        )

    async def _about_one_image(self, client: Any, error: RequestFailed) -> ArtQuantError:
        """The reason why an image has no score, where a failed request says nothing about the other images.

        A failure that may be the server's as well is told by asking again for an image that had a score before.

        Raises:
            EndpointDown: the failure is the server's, so that the run ends.
        """
        if error.reason == ITS_PICTURE or (self._answered and error.status in ONE_IMAGE):
            return ArtQuantError(
                f"the server refuses the request ({error.detail}); look at the image's size and format"
            )
        if self._answered_body is not None and (error.reason in ("no_completion", "timeout") or error.status == 500):
            try:
                await self._server.complete(client.with_options(max_retries=0), self._answered_body)
            except RequestFailed:
                pass
            else:
                return ArtQuantError(f"the server has no answer for this image, and has for others ({error.detail})")
        if error.status is None:
            raise self._server.no_answer(error.detail) from error
        plain = ", to plain text as well" if not self._answered and error.status in MAY_BE_UNSUPPORTED else ""
        raise EndpointDown(
            f"'{self._server.address}' answers {error.status}{plain} ({error.detail}); run again to go on"
        ) from error


def _data_uri(image: Path | bytes, handling: Handling) -> str:
    """The picture as the checkpoint opens it, without loss, so that the server sees the same pixels."""
    buffer = io.BytesIO()
    open_image(image, handling=handling).save(buffer, format="PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
