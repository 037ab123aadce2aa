"""The score in a JSON object that stands anywhere in a reply."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from artquant_plugin.common.json_text import json_values
from artquant_plugin.common.text import one_line
from artquant_plugin.replies.level_words import read_level
from artquant_plugin.replies.prose import read_prose
from artquant_plugin.replies.reply import DETAIL_WIDTH, ParsedReply, within
from artquant_plugin.replies.text import plain

_SCALE_KEYS = ("scale", "max", "max_score", "maximum", "out_of")


def read_object(text: str, score_range: tuple[float, float], level_values: Mapping[str, float]) -> ParsedReply | None:
    """The score of the last JSON object of a reply that has one.

    The key is ``score`` in upper or lower case. The object with that key may stand inside another object or a list;
    where one outer object holds several of them, the reply is ambiguous.

    Args:
        text: the reply without what the model thought.
        score_range: lowest and highest score of the dataset.
        level_values: the score of each level word, for a score such as ``"good"``.

    Returns:
        A score in the range, or the reason why the value under ``score`` is none: it is null, is not finite, is no
        number, or the object names a scale that ends elsewhere than the dataset's (``"out_of": 5``). None where no
        object has a score.
    """
    found = [holders for _, value in json_values(text, strict=False) if (holders := list(_holders(value)))]
    if not found:
        return None
    holders = found[-1]
    if len(holders) > 1:
        scores = ", ".join(str(holder["score"]) for holder in holders)
        detail = one_line(f"several scores in one object: {scores}", DETAIL_WIDTH)
        return ParsedReply(reason="ambiguous", detail=detail)
    return _read(holders[0], score_range, level_values)


def _read(content: dict[str, Any], score_range: tuple[float, float], level_values: Mapping[str, float]) -> ParsedReply:
    score = content["score"]
    if score is None:
        return ParsedReply(reason="unscored", detail=str(content.get("reason") or ""))
    if isinstance(score, str):
        written = plain(score).strip()
        reply = read_prose(f"score: {written}", score_range) or read_level(written, score_range, level_values)
        return reply or ParsedReply(reason="malformed", detail=one_line(f"score {score!r}", DETAIL_WIDTH))
    if isinstance(score, bool) or not isinstance(score, int | float):
        return ParsedReply(reason="malformed", detail=one_line(f"score {score!r}", DETAIL_WIDTH))
    try:
        number = float(score)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return ParsedReply(reason="malformed", detail=one_line(f"score {number}", DETAIL_WIDTH))
    if other := _other_scale(content, score_range[1]):
        return ParsedReply(
            reason="ambiguous", detail=one_line(f"score {number:g} with {other} {content[other]!r}", DETAIL_WIDTH)
        )
    reply = within(number, score_range, "json", levels=_levels(content.get("levels")))
    checkpoint = content.get("checkpoint")
    return replace(reply, checkpoint=checkpoint if isinstance(checkpoint, dict) else None)


def _other_scale(content: Mapping[str, Any], high: float) -> str | None:
    """A key that gives the score's scale another top than the dataset's; a proportion of it would be a guess."""
    for key in _SCALE_KEYS:
        numbers = re.findall(r"\d+(?:\.\d+)?", str(content.get(key, "")))
        if numbers and float(numbers[-1]) != high:
            return key
    return None


def _levels(levels: Any) -> dict[str, float] | None:
    if not isinstance(levels, dict) or not all(isinstance(value, int | float) for value in levels.values()):
        return None
    return levels


def _holders(value: Any) -> Iterator[dict[str, Any]]:
    """The outermost objects with a score in a value; keys in any case."""
    if isinstance(value, dict):
        keys = {key.lower(): item for key, item in value.items()}
        if "score" in keys:
            yield keys
        else:
            for item in value.values():
                yield from _holders(item)
    elif isinstance(value, list):
        for item in value:
            yield from _holders(item)
