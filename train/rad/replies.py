"""Reads what generator and judge write; a reply that cannot be used is an error with a reason, never a default."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from artquant_plugin.common.json_text import only_object
from artquant_plugin.common.text import one_line
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS
from artquant_plugin.replies.refusals import opens_with_refusal
from artquant_plugin.replies.reply import DETAIL_WIDTH

UnusableReason = Literal["refused", "malformed", "leaked_score"]


class ReplyError(Exception):
    """A reply that cannot be used.

    Args:
        reason: ``refused``: the model, or the provider's filter, refuses; ``malformed``: the reply is not what was
            asked for; ``leaked_score``: a description gives the painting's score away.
        detail: what is wrong, with the words or the key where it is: "no text under 'emotion'".
    """

    def __init__(self, reason: UnusableReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: UnusableReason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint answered to one request: the parts of a chat completion that a run needs.

    Args:
        text: the content of the message; None where the message has none.
        refusal: the model's own words, where it refuses through the protocol's field for refusals; else None.
        finish: the protocol's reason for the end of the text: ``stop``, ``length`` (the limit of tokens),
            ``content_filter`` or another one; None where the endpoint names none.
        prompt_tokens: the tokens of the request; None where the endpoint does not count them.
        completion_tokens: the tokens of the answer; None where the endpoint does not count them.
    """

    text: str | None
    refusal: str | None = None
    finish: str | None = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def kept(self) -> str | None:
        """The text that the store keeps: the content, or the refusal where there is no content."""
        return self.refusal if self.text is None else self.text


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's verdict about a description.

    Args:
        consistent: whether the description agrees with the painting's score; None in blind mode.
        score: the score that the judge estimates from the description alone, in the dataset's range; None in
            consistency mode.
        reason: the judge's reason, in its words.
    """

    consistent: bool | None
    score: float | None
    reason: str


def read_levels(reply: Reply) -> dict[str, str]:
    """The text of each level of a description: perception, cognition and emotion.

    Args:
        reply: the generator's reply: a JSON object with one text for each level, with prose around it or not. Other
            keys are ignored. White space in the texts becomes single spaces.

    Raises:
        ReplyError: the reply refuses, has no such object, or has no text for a level.
    """
    content = _object(reply)
    levels = {}
    for level in DESCRIPTION_LEVELS:
        text = content.get(level)
        if not isinstance(text, str) or not text.strip():
            raise ReplyError("malformed", f"no text under {level!r}")
        levels[level] = " ".join(text.split())
    return levels


def read_verdict(reply: Reply) -> Verdict:
    """The verdict of a judge that knows the score and says whether the description agrees with it.

    Args:
        reply: the judge's reply: a JSON object with ``consistent`` (true or false) and ``reason`` (text).

    Raises:
        ReplyError: the reply refuses, or has no such object.
    """
    content = _object(reply)
    consistent = content.get("consistent")
    if not isinstance(consistent, bool):
        raise ReplyError("malformed", f"'consistent' is {consistent!r}, neither true nor false")
    return Verdict(consistent, None, _reason(content))


def read_estimate(reply: Reply, score_range: tuple[float, float]) -> Verdict:
    """The verdict of a judge that does not know the score and estimates it from the description.

    Args:
        reply: the judge's reply: a JSON object with ``score`` (a number) and ``reason`` (text).
        score_range: lowest and highest score of the dataset; both are allowed.

    Raises:
        ReplyError: the reply refuses, has no such object, or its score is outside the range.
    """
    content = _object(reply)
    score = content.get("score")
    low, high = score_range
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise ReplyError("malformed", f"'score' is {score!r}, no number")
    if not low <= score <= high:
        raise ReplyError("malformed", f"'score' {score:g} is outside [{low:g}, {high:g}]")
    return Verdict(None, float(score), _reason(content))


def _reason(content: Mapping[str, Any]) -> str:
    reason = content.get("reason")
    if not isinstance(reason, str):
        raise ReplyError("malformed", "no text under 'reason'")
    return " ".join(reason.split())


def _object(reply: Reply) -> dict[str, Any]:
    """The JSON object in a reply, which may have prose around it: what stands between the outermost braces.

    Raises:
        ReplyError: the reply refuses, is empty, or has anything else than one JSON object between its braces.
    """
    if reply.refusal:
        raise ReplyError("refused", one_line(reply.refusal, DETAIL_WIDTH))
    if reply.finish == "content_filter":
        raise ReplyError("refused", "the provider's content filter")
    text = (reply.text or "").strip()
    if not text:
        raise ReplyError("malformed", "an empty reply")
    start, end = text.find("{"), text.rfind("}")
    if start < 0:
        if opens_with_refusal(text):
            raise ReplyError("refused", one_line(text, DETAIL_WIDTH))
        raise ReplyError("malformed", f"no JSON object in {one_line(text, DETAIL_WIDTH)!r}")
    try:
        return only_object(text[start : end + 1] if end > start else text[start:])
    except ValueError as error:
        cut = "cut off at the limit of tokens" if reply.finish == "length" else f"no JSON ({error})"
        raise ReplyError("malformed", cut) from error
