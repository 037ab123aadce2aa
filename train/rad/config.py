"""The configuration of a RAD run: its sections, their defaults and what they allow."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from artquant_plugin.common.config import Section
from artquant_plugin.common.openai_client import is_address
from artquant_plugin.common.secrets import without_secrets

_SET_BY_RUN = ("model", "messages", "response_format", "stream", "n")  # `steps.py` sets these fields of a request
_REPLY_CAPS = ("max_completion_tokens", "max_tokens")  # parameters that limit the tokens of a reply


class PriceSection(Section):
    """What tokens cost, in the configuration's ``currency``, which is the same for both sides.

    Args:
        input: price of a million prompt tokens, 0 or more.
        output: price of a million reply tokens, 0 or more.
        batch: factor on both prices in the Batch API, above 0 and at most 1.
    """

    input: float = Field(0.0, ge=0)
    output: float = Field(0.0, ge=0)
    batch: float = Field(1.0, gt=0, le=1)


class EndpointSection(Section):
    """One side of the conversation: an OpenAI-compatible endpoint and how it may be used.

    Args:
        base_url: address of the API, ``http://`` or ``https://``, usually ending with ``/v1``; a slash at its end is
            dropped.
        model: the model's name as the endpoint knows it.
        api_key_env: environment variable that holds the key; None where the endpoint wants no key.
        parameters: further fields of every request, such as ``temperature`` and ``max_tokens``, sent as they are.
        structured: whether requests send a JSON schema for the reply. With ``auto`` the first request tries a schema,
            then ``json_object``, then words alone, and the run keeps the first of these that the endpoint answers.
            ``always`` sends the schema in any case, ``never`` asks in words alone.
        concurrency: the most requests that wait for a reply at once, from 1 to 1000.
        requests_per_minute: the most requests per minute; None for no cap. The client's own retries are not counted.
        tokens_per_minute: the most tokens of prompts and replies together per minute; None for no cap.
        timeout: seconds that one attempt may take, above 0.
        max_retries: how often the client repeats a request after 408, 409, 429, 5xx or a lost connection, with its own
            waits in between.
        batch: whether ``--batch`` sends this side's requests through the Batch API; if not, it is asked live.
        price: what this side's tokens cost; without this section they cost 0.
    """

    base_url: str = Field(pattern=r"^https?://")
    model: str = Field(min_length=1)
    api_key_env: str | None = "OPENAI_API_KEY"
    parameters: dict[str, Any] = Field(default_factory=dict)
    structured: Literal["auto", "always", "never"] = "auto"
    concurrency: int = Field(16, gt=0, le=1000)
    requests_per_minute: int | None = Field(None, gt=0)
    tokens_per_minute: int | None = Field(None, gt=0)
    timeout: float = Field(120.0, gt=0)
    max_retries: int = Field(6, ge=0)
    batch: bool = False
    price: PriceSection = PriceSection()

    @field_validator("parameters")
    @classmethod
    def _refuse_own_fields_and_keys(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        for name in _SET_BY_RUN:
            if name in parameters:
                raise ValueError(f"{name!r} is set by the run itself; take it out")
        text = json.dumps(parameters)
        if without_secrets(text) != text:
            raise ValueError("a key among them would be saved; put it into the variable of api_key_env")
        return parameters

    @field_validator("base_url")
    @classmethod
    def _refuse_bad_address(cls, url: str) -> str:
        if "@" in url or without_secrets(url) != url:
            raise ValueError("an address with a password would be saved; put the key into the variable of api_key_env")
        if not is_address(url):
            raise ValueError("this is no address with a host, such as http://host:8000/v1")
        return url.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _refuse_key_as_name(cls, name: str | None) -> str | None:
        """Refuse a key in the place of its variable's name, with a message that does not repeat it."""
        if name is not None and not name.isidentifier():
            raise ValueError("this must be the name of an environment variable, not the key itself")
        return name

    @property
    def reply_cap(self) -> int | None:
        """The most tokens of a reply; None when the parameters set no limit that is a positive whole number."""
        found = next((self.parameters[name] for name in _REPLY_CAPS if name in self.parameters), None)
        return found if type(found) is int and found > 0 else None  # `True` is an int to isinstance


class JudgeSection(EndpointSection):
    """The judge, which never sees the image.

    Args:
        mode: ``consistency`` tells it the score and asks whether the text agrees; ``blind`` asks for its estimate.
        tolerance: in blind mode, the largest accepted distance between estimate and human score, in standard
            deviations of the statistics that are told.
    """

    mode: Literal["consistency", "blind"] = "consistency"
    tolerance: float = Field(0.5, gt=0)


class ImagesSection(Section):
    """How pictures are sent to the generator.

    Args:
        longest_side: pixels of the longer side of a picture as it is sent; larger pictures are scaled down.
        quality: JPEG quality from 1 to 100 of a picture that is not sent as it is stored.
        tokens: the most tokens that a picture can count as, for budgets and caps; 0 or more.
    """

    longest_side: int = Field(1024, gt=0)
    quality: int = Field(90, ge=1, le=100)
    tokens: int = Field(1105, ge=0)


class BatchSection(Section):
    """Limits on the files of the Batch API, which stay below the provider's, and the time between questions.

    Args:
        lines: the most requests in one file, from 1 to 50,000.
        megabytes: the largest size of one file in millions of bytes, up to 200.
        poll_seconds: time between two questions about the running batches, above 0.
        window: the time within which the provider promises an answer.
    """

    lines: int = Field(50_000, gt=0, le=50_000)
    megabytes: float = Field(190.0, gt=0, le=200)
    poll_seconds: float = Field(60.0, gt=0)
    window: Literal["24h"] = "24h"


class RadConfig(Section):
    """The configuration of a RAD run.

    Args:
        prompts: file of templates; a file that ships with this package is found by its name.
        statistics: the scores behind the statistics and percentiles in the prompts. ``train``: those of the training
            split for all paintings, so that no test score influences a training text (without a training split, those
            of the whole dataset); ``split``: those of the painting's own split; ``dataset``: those of all splits.
        rounds: the most descriptions that are asked for per painting, from 1.
        currency: currency of all prices, such as ``USD``, which stands beside costs in the report; None where it is
            not known.
        generator: the endpoint and the model that describe paintings.
        judge: the endpoint and the model that judge descriptions; the same model as the generator at the same address
            is refused.
        images: how pictures are sent to the generator.
        batch: limits on the files of the Batch API, and how often it is asked about its batches.
        give_up_after: requests in a row without an answer (connection, 429, 5xx, after the client's retries) that
            stop the run; the paintings that they were about stay unfinished.
    """

    prompts: Path = Path("rad/prompts.yaml")
    statistics: Literal["train", "split", "dataset"] = "train"
    rounds: int = Field(3, gt=0)
    currency: str | None = Field(None, pattern=r"^\S{1,8}$")
    generator: EndpointSection
    judge: JudgeSection
    images: ImagesSection = ImagesSection()
    batch: BatchSection = BatchSection()
    give_up_after: int = Field(20, gt=0)

    @model_validator(mode="after")
    def _refuse_same_model(self) -> "RadConfig":
        one, other = self.generator, self.judge
        if (one.base_url, one.model) == (other.base_url, other.model):
            raise ValueError(
                f"generator and judge are the same model, {one.model!r}; a text is judged by another one, so name it"
            )
        return self

    @property
    def models(self) -> dict[str, str]:
        """The names of the models, by side."""
        return {"generator": self.generator.model, "judge": self.judge.model}

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that descriptions depend on, except prompts and models.

        Limits, waits, prices and their currency are left out; so are addresses, since the same model may have another
        one tomorrow.
        """
        return {
            "statistics": self.statistics,
            "rounds": self.rounds,
            "judge_mode": self.judge.mode,
            "tolerance": self.judge.tolerance if self.judge.mode == "blind" else None,
            "generator": {"parameters": self.generator.parameters, "structured": self.generator.structured},
            "judge": {"parameters": self.judge.parameters, "structured": self.judge.structured},
            "images": {"longest_side": self.images.longest_side, "quality": self.images.quality},
        }
