"""Any model's answer -> a score, or the reason why there is none. Nothing is clamped, guessed or dropped."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Origin = Literal["json", "labelled", "level"]
Reason = Literal["empty", "failed_request", "unscored", "malformed", "out_of_range", "ambiguous", "no_score"]

HARNESS_FAILURE = re.compile(r"\[LMMS_EVAL_[A-Z_]+")  # lmms-eval returns failed requests as text
THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
NUMBER = r"[-+]?\d+(?:[.,]\d+)?"
LABELLED = re.compile(
    rf"(?:score|rating|rate)\b[\s*_\"'`]*(?:is|of|[:=])?[\s*_\"'`]*"
    rf"(?P<value>{NUMBER})(?:\s*(?:-|–|to)\s*(?P<upper>{NUMBER}))?"
    rf"(?:[\s*_]*(?:/|out of)\s*(?P<base>\d+))?(?P<rest>[\d.,]*\d)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What was read.

    Args:
        score: in the dataset's range; None when there is none.
        reason: why there is none; None when there is a score.
        detail: the model's own reason, or what was found instead.
        origin: which form the score had.
        levels: the distribution over the levels, where the reply holds one.
        from_range: the score is the mid-point of a range such as "7-8".
        checkpoint: the weights that gave it, where the reply says so (`artquant_plugin.checkpoint.identity`).
    """

    score: float | None = None
    reason: Reason | None = None
    detail: str = ""
    origin: Origin | None = None
    levels: dict[str, float] | None = None
    from_range: bool = False
    checkpoint: dict[str, Any] | None = None


def parse_reply(text: str, *, score_range: tuple[float, float], level_values: Mapping[str, float]) -> Reply:
    """Read one reply.

    In this order: lmms-eval's own failure texts; JSON with a ``score``, also inside prose or a code fence; the last
    labelled number ("Score: 7.5/10", "rating = 68 out of 100"), rescaled when it names its base; a level word, when
    the reply holds only one.

    Args:
        text: the reply.
        score_range: lowest and highest score of the dataset.
        level_values: the score of each level word.

    Returns:
        A score in the range, or a reason.

    Example:
        >>> parse_reply('{"score": 6.5}', score_range=(0, 10), level_values={}).score
        6.5
        >>> parse_reply("[LMMS_EVAL_REQUEST_FAILED after 5 retries]", score_range=(0, 10), level_values={}).reason
        'failed_request'
        >>> parse_reply("I give it a rating of 68 out of 100.", score_range=(0, 10), level_values={}).score
        6.8
    """
    if HARNESS_FAILURE.search(text):
        return Reply(reason="failed_request", detail=_short(text))
    answer = THINKING.sub("", text).strip()
    if not answer:
        return Reply(reason="empty")
    for read in (_from_json, _from_label, _from_level):
        reply = read(answer, score_range, level_values)
        if reply is not None:
            return reply
    return Reply(reason="no_score", detail=_short(answer))


def _from_json(text: str, score_range: tuple[float, float], _: Mapping[str, float]) -> Reply | None:
    found = [value for value in _objects(text) if "score" in value]
    if not found:
        return None
    content = found[-1]
    score = content["score"]
    if score is None:
        return Reply(reason="unscored", detail=str(content.get("reason") or ""))
    if isinstance(score, str):
        try:
            score = float(score.replace(",", "."))
        except ValueError:
            return _from_label(f"score: {score}", score_range, {}) or Reply(reason="malformed", detail=_short(text))
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        return Reply(reason="malformed", detail=_short(text))
    levels = content.get("levels")
    if not isinstance(levels, dict) or not all(isinstance(value, int | float) for value in levels.values()):
        levels = None
    checkpoint = content.get("checkpoint")
    reply = _within(float(score), score_range, "json", levels=levels)
    return replace(reply, checkpoint=checkpoint if isinstance(checkpoint, dict) else None)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object in a text, outermost ones only."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            if isinstance(value, dict):
                yield value
        start = text.find("{", end)


def _from_label(text: str, score_range: tuple[float, float], _: Mapping[str, float]) -> Reply | None:
    matches = list(LABELLED.finditer(text))
    if not matches:
        return None
    match = matches[-1]
    if match["rest"]:
        return Reply(reason="malformed", detail=_short(match[0]))
    value = _number(match["value"])
    if match["upper"]:
        value = (value + _number(match["upper"])) / 2
    if match["base"]:
        base = float(match["base"])
        low, high = score_range
        if base <= 0:
            return Reply(reason="malformed", detail=_short(match[0]))
        if base != high:
            value = value * high / base  # "68 out of 100" for a dataset that ends at 10
    return _within(value, score_range, "labelled", from_range=bool(match["upper"]))


def _from_level(text: str, score_range: tuple[float, float], level_values: Mapping[str, float]) -> Reply | None:
    words = {word for word in level_values if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)}
    if not words:
        return None
    if len(words) > 1:
        return Reply(reason="ambiguous", detail=" and ".join(sorted(words)))
    word = words.pop()
    if re.search(rf"\b(?:not|isn't|hardly|never)\b[^.]*\b{re.escape(word)}\b", text, re.IGNORECASE):
        return Reply(reason="ambiguous", detail=_short(text))
    return _within(float(level_values[word]), score_range, "level")


def _within(
    score: float,
    score_range: tuple[float, float],
    origin: Origin,
    *,
    levels: dict[str, float] | None = None,
    from_range: bool = False,
) -> Reply:
    low, high = score_range
    if not low <= score <= high:
        return Reply(reason="out_of_range", detail=f"{score:g} is outside [{low:g}, {high:g}]")
    return Reply(score=score, origin=origin, levels=levels, from_range=from_range)


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _short(text: str, width: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
