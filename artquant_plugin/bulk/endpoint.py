"""Scoring through a server that speaks the OpenAI protocol and lists log-probabilities (vLLM, SGLang)."""

import asyncio
import base64
import io
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
from artquant_plugin.common.text import one_line
from artquant_plugin.data.images import Handling, open_image
from artquant_plugin.prompting.questions import one_level

KEY_VARIABLE = "OPENAI_API_KEY"
LISTED = 20  # tokens per position: the protocol's limit, and vLLM's default one
RETRIES = 5  # by the client, with its own waits
TIMEOUT = 120.0  # seconds per attempt
AHEAD = 4  # times the concurrency: images taken while an earlier one is still being answered, as rows keep their order
REFUSED = (400, 413, 415, 422)  # statuses that are about one request, once another went well
# vLLM and SGLang: go on with the assistant's last words instead of opening a new turn, with a thinking mode off.
PREFILL = {
    "add_generation_prompt": False,
    "continue_final_message": True,
    "chat_template_kwargs": {"enable_thinking": False},
}


class EndpointError(ArtQuantError):
    """The run cannot go on with this server; what is scored stays, and a rerun continues."""


@dataclass
class EndpointEngine:
    """A server.

    Args:
        url: base address, ``http://host:8000/v1``.
        model: the name that the server knows it by.
        spec: levels and questions.
        ask: ``prefill`` sends the answer's first words as the assistant's own, so that the server's next token is the
            level word, as in training; ``word`` asks for one of the level words, for servers that cannot do that.
        tokens: first token of each level word, where it is not the word itself.
        concurrency: requests at once.
        min_mass: see `score_listed`.
        extra_body: further fields of every request.
        key: of the server; None for one that wants none.
    """

    url: str
    model: str
    spec: ScoringSpec
    ask: Ask = "prefill"
    tokens: tuple[str, ...] | None = None
    concurrency: int = 16
    min_mass: float = 0.1
    extra_body: dict[str, Any] | None = None
    key: str | None = field(default=None, repr=False)
    _answered: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        names = self.spec.scale.names
        if self.tokens is not None and len(self.tokens) != len(names):
            raise ArtQuantError(
                f"{len(self.tokens)} level tokens for {len(names)} levels; give one for each of {', '.join(names)}"
            )

    @property
    def columns(self) -> ScoreColumns:
        """Columns: the levels, and how much of the probability they have."""
        return ScoreColumns(self.spec.scale.names, ("level_mass", "score_bound"))

    @property
    def options(self) -> dict[str, Any]:
        """What scores depend on: the prompt, the scale, the tokens."""
        scale = self.spec.scale
        return {
            "engine": "endpoint",
            "prompt": self.ask,
            "levels": dict(zip(scale.names, scale.values, strict=True)),
            "tokens": list(self.tokens or scale.names),
            "words": asdict(self.spec.prompt),
            "min_level_mass": self.min_mass,
            "extra_body": self.extra_body,
        }

    def identity(self) -> dict[str, Any]:
        """The model's name; what stands behind it is the server's own."""
        return {"name": self.model}

    def body(self, image_url: str) -> dict[str, Any]:
        """One request."""
        prompt = self.spec.prompt
        names = self.spec.scale.names
        question = prompt.question
        if self.ask == "word":
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
            "extra_body": extra | (self.extra_body or {}),
        }

    def results(self, images: Iterable[Path | bytes]) -> Iterator[dict[str, Any] | ArtQuantError]:
        """Ask for every image, `concurrency` at once; the first alone, so that a server that cannot help costs one.

        Raises:
            EndpointError: the server does not answer, refuses the key or the model, or lists no log-probabilities.
        """
        from openai import AsyncOpenAI

        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="artquant-endpoint", daemon=True)
        thread.start()
        client = AsyncOpenAI(base_url=self.url, api_key=self.key or "none", max_retries=RETRIES, timeout=TIMEOUT)
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

    async def _ask(self, client: Any, free: asyncio.Semaphore, image: Path | bytes) -> dict[str, Any] | ArtQuantError:
        import openai

        try:
            async with free:
                url = await asyncio.to_thread(_data_uri, image, self.spec.images)
                reply = await client.chat.completions.create(**self.body(url))
        except ArtQuantError as error:
            return error
        except openai.APIConnectionError as error:
            raise EndpointError(
                f"no answer from '{self.url}' ({error.__cause__ or error}); start the server or mend --endpoint, and "
                "run again to go on"
            ) from error
        except openai.APIStatusError as error:
            return self._refused(error)
        listed = listed_tokens(reply)
        if listed is None:
            raise EndpointError(
                f"'{self.url}' lists no log-probabilities for '{self.model}', and scores are read from them; use a "
                "server that does, such as vLLM or SGLang, or score with the checkpoint itself"
            )
        self._answered = True
        scale = self.spec.scale
        try:
            score = score_listed(
                listed, scale, tokens=self.tokens or scale.names, ask=self.ask, min_mass=self.min_mass
            )
        except ArtQuantError as error:
            return error
        return {
            "score": score.score,
            "levels": score.levels,
            "entropy": score.entropy,
            "extras": {"level_mass": score.level_mass, "score_bound": score.score_bound},
        }

    def _refused(self, error: Any) -> ArtQuantError:
        """What a status that is an error means: for this image, or for the run.

        Raises:
            EndpointError: for the run.
        """
        said = one_line(error.message)
        if error.status_code in (401, 403):
            state = "refuses the key of" if self.key else "wants a key in"
            raise EndpointError(f"'{self.url}' {state} ${KEY_VARIABLE} ({said}); set it and run again") from error
        if error.status_code == 404:
            raise EndpointError(
                f"'{self.url}' knows no model '{self.model}' ({said}); mend --model, or end --endpoint with /v1"
            ) from error
        if error.status_code in REFUSED and self._answered:
            return ArtQuantError(f"the server refuses the request ({said}); look at the image's size and format")
        remedy = "run again to go on"
        if error.status_code in REFUSED:
            remedy = "if it does not know continue_final_message, pass --prompt word"
        raise EndpointError(f"'{self.url}' answers {error.status_code} ({said}); {remedy}") from error


def _data_uri(image: Path | bytes, handling: Handling) -> str:
    """The picture as the checkpoint opens it, without loss, so that the server sees the same pixels."""
    buffer = io.BytesIO()
    open_image(image, handling=handling).save(buffer, format="PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
