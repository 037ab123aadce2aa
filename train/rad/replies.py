"""What generator and judge write, read as data; what cannot be read has a reason and no default."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from artquant_plugin.common.json_text import only_object
from artquant_plugin.common.text import one_line
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS
from artquant_plugin.replies.refusals import opens_with_refusal
from artquant_plugin.replies.reply import DETAIL_WIDTH

Reason = Literal["refused", "malformed", "leaked_score"]


class ReplyError(Exception):
    """A reply that cannot be used.

    Args:
        reason: one word.
        detail: the same in a few words, with the place.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reply:
    """A completion, as far as it matters here.

    Args:
        text: content; None when there is none.
        refusal: the model's own words when it refuses in the protocol's form.
        finish: ``stop``, ``length``, ``content_filter``, …
        prompt_tokens: None when the endpoint does not count.
        completion_tokens: likewise.
    """

    text: str | None
    refusal: str | None = None
    finish: str | None = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def kept(self) -> str | None:
        """What the store keeps of it."""
        return self.refusal if self.text is None else self.text


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said.

    Args:
        consistent: whether the text agrees with the score; None in blind mode.
        score: its estimate, in the dataset's range; None in consistency mode.
        reason: its words.
    """

    consistent: bool | None
    score: float | None
    reason: str


def read_description(reply: Reply) -> dict[str, str]:
    """The three levels.

    Raises:
        ReplyError: refused, or not of the form.
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
    """A consistency judge's answer.

    Raises:
        ReplyError: refused, or not of the form.
    """
    content = _object(reply)
    consistent = content.get("consistent")
    if not isinstance(consistent, bool):
        raise ReplyError("malformed", f"'consistent' is {consistent!r}, neither true nor false")
    return Verdict(consistent, None, _reason(content))


def read_estimate(reply: Reply, score_range: tuple[float, float]) -> Verdict:
    """A blind judge's answer.

    Args:
        reply: of the judge.
        score_range: of the dataset; an estimate outside is no estimate.

    Raises:
        ReplyError: refused, or not of the form.
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
    """The JSON object in a reply: the whole of it, or what stands between the outermost braces."""
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
