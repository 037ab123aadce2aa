"""The score in a JSON object that stands anywhere in a reply."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from artquant_plugin.common.json_text import json_values
from artquant_plugin.common.text import one_line
from artquant_plugin.replies import vocabulary as words
from artquant_plugin.replies.exclusion_conditions import (
    introduces_something_else,
    key_words,
    names_something_else,
    names_the_answer,
    takes_back,
)
from artquant_plugin.replies.level_words import read_level
from artquant_plugin.replies.prose import read_value
from artquant_plugin.replies.reply import DETAIL_WIDTH, ParsedReply, within
from artquant_plugin.replies.text import plain

# Words in a key whose value is the upper end of the score's scale: "max_score", "out of", "scaleMax". The two patterns
# below find in a value that is text what it says of the scale: "7 out of 5", or that the score counts stars.
_SCALE_WORDS = {"scale", "max", "maximum", "range", "total", "best", "highest", "top", "denominator", "ceiling", "out"}
_SCALE_IN_WORDS = re.compile(r"\bout\s+of\s+(?:an?\s+(?:possible|maximum)\s+)?(\d+)|\d\s*/\s*(\d+)", re.IGNORECASE)
_UNITS = re.compile(r"\s*(?:" + words.STARS + r")\s*", re.IGNORECASE)
# A key names the score if it has one word of `_SCORE_WORDS` and all its other words are in `_PAINTING_WORDS` or
# `_LAST_WORDS`; "visitor_score" does not.
_SCORE_WORDS = {"score", "rating", "grade", "mos"}
_PAINTING_WORDS = {
    "aesthetic",
    "aesthetics",
    "painting",
    "image",
    "picture",
    "artwork",
    "art",
    "quality",
    "beauty",
    "my",
    "the",
}
_PAINTING_WORDS |= {"predicted", "estimated", "numeric", "value", "overall", "total"}
_LAST_WORDS = {"final", "revised", "corrected", "updated", "adjusted"}
# Keys whose value says what the score in the same object rates. A value under `_ASPECT_KEYS` names an aspect unless it
# names the whole painting (`_WHOLE`); one under `_SUBJECT_KEYS` may name a rater, a draft or another painting.
_ASPECT_KEYS = {"aspect", "dimension", "criterion", "criteria", "attribute", "metric"}
_SUBJECT_KEYS = {
    "source",
    "user",
    "rater",
    "reviewer",
    "by",
    "critic",
    "author",
    "person",
    "role",
    "who",
    "label",
    "name",
    "type",
}
_SUBJECT_KEYS |= {"stage", "step", "kind", "title", "category", "subject", "painting", "image", "note", "comment"}
_SUBJECT_KEYS |= {"artwork", "work", "item", "id", "case", "scenario", "version", "variant", "condition", "context"}
_WHOLE = re.compile(r"overall|final|total|aesthetics?|quality|score|rating|painting|whole", re.IGNORECASE)
_REVISED = re.compile(
    rf"(?<![^\W\d_])(?:{words.REVISED}|{words.FINAL}|no|sorry)(?![^\W\d_])|{words.FINAL_CJK}", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Repeated:
    """The values of a key that stands several times in one object."""

    values: list[Any]


def _with_repeated_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object from its pairs. A key that repeats with different values gets a `_Repeated` with all of them."""
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content and content[key] != value:
            before = content[key]
            value = _Repeated([*(before.values if isinstance(before, _Repeated) else [before]), value])
        content[key] = value
    return content


_DECODER = json.JSONDecoder(object_pairs_hook=_with_repeated_keys)


def read_object(
    text: str, score_range: tuple[float, float], level_values: Mapping[str, float]
) -> tuple[ParsedReply | None, str]:
    """The score of the JSON objects of a reply that have one.

    The key is ``score``, ``rating``, ``overall_score`` or one like them, in upper or lower case; ``final_score`` goes
    before the others, and keys such as ``initial_score`` or ``visitor_rating`` name other scores. The object with
    the key may stand inside a list, or inside another object under keys such as ``result``. An object that is
    introduced as an example, as an aspect's, as somebody else's or as an earlier answer is passed over.

    Args:
        text: the reply without what the model thought.
        score_range: lowest and highest score of the dataset.
        level_values: the score of each level word, for a score such as ``"good"``.

    Returns:
        First, the score in the range, or the reason why there is none: the value is null, not finite or no number, the
        object names a scale that ends elsewhere than the dataset's (``"out_of": 5``), or objects or keys give several
        scores, which is ambiguous. The later of two objects counts where words between them say that it corrects the
        earlier one. None where no object has the painting's score. Second, the text without the objects that were
        passed over.
    """
    readings: list[tuple[ParsedReply, str]] = []
    passed_over: list[tuple[int, int]] = []
    behind = 0
    for start, end, value in _outermost_objects(text):
        scored_objects = list(_scored_objects(value))
        before, behind = text[behind:start], end
        if not scored_objects:
            continue
        own = [scored for scored in scored_objects if not scored.is_something_else]
        if not own or introduces_something_else(plain(before[-200:])) or takes_back(plain(text[end : end + 200])):
            passed_over.append((start, end))
            continue
        if len(own) > 1:
            detail = f"several scores in one object: {', '.join(map(str, (each.values for each in own)))}"
            readings.append((ParsedReply(reason="ambiguous", detail=one_line(detail, DETAIL_WIDTH)), before))
            continue
        readings.append((_read_scored_object(own[0], score_range, level_values), before))
    rest = text
    for start, end in reversed(passed_over):
        rest = f"{rest[:start]} {rest[end:]}"
    if not readings:
        if passed_over and not re.search(r"\d", rest):
            return ParsedReply(
                reason="ambiguous", detail=one_line(f"of something else only: {text}", DETAIL_WIDTH)
            ), rest
        return None, rest
    reply, before = readings[-1]
    different = {(each.score, each.reason) for each, _ in readings}
    if len(different) > 1 and not _REVISED.search(plain(before[-80:])):
        told = ", ".join(f"{each.score:g}" if each.score is not None else str(each.reason) for each, _ in readings)
        reply = ParsedReply(reason="ambiguous", detail=one_line(f"several objects with a score: {told}", DETAIL_WIDTH))
    return reply, rest


@dataclass(frozen=True, slots=True)
class _ScoredObject:
    """A JSON object that has a key for the score.

    Args:
        content: the object, with the words of its keys in lower case and joined by underscores.
        values: the values of its keys for the score; where keys such as ``final_score`` are among them, only theirs.
        is_something_else: whether the object says that its score is an aspect's, somebody else's or an example.
    """

    content: dict[str, Any]
    values: list[Any]
    is_something_else: bool


def _read_scored_object(
    scored: _ScoredObject, score_range: tuple[float, float], level_values: Mapping[str, float]
) -> ParsedReply:
    replies = [_read_value(value, scored.content, score_range, level_values) for value in scored.values]
    if len({(reply.score, reply.reason) for reply in replies}) > 1:
        told = ", ".join(map(str, scored.values))
        return ParsedReply(reason="ambiguous", detail=one_line(f"several scores in one object: {told}", DETAIL_WIDTH))
    return replies[0]


def _read_value(
    score: Any, content: dict[str, Any], score_range: tuple[float, float], level_values: Mapping[str, float]
) -> ParsedReply:
    if score is None:
        return ParsedReply(reason="unscored", detail=str(content.get("reason") or ""))
    if isinstance(score, _Repeated):
        told = ", ".join(map(str, score.values))
        return ParsedReply(
            reason="ambiguous", detail=one_line(f"a key for a score several times: {told}", DETAIL_WIDTH)
        )
    if isinstance(score, str):
        written = plain(score).strip()
        reply = read_value(written, score_range) or read_level(written, score_range, level_values)
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
    """The key that says that the score's scale ends elsewhere than the dataset's; None where no key does.

    Such a score is not converted in proportion, since that would be a guess.
    """
    for key, item in content.items():
        parts = set(key_words(key))
        if parts & _SCALE_WORDS and not parts & _LAST_WORDS and not _names_the_score(parts):
            numbers = re.findall(r"\d+(?:\.\d+)?", str(item)[:100])
        elif isinstance(item, str):
            numbers = ["".join(each) for each in _SCALE_IN_WORDS.findall(item[:1000])]
            if _UNITS.fullmatch(item):  # stars, of an unknown number
                return key
        else:
            continue
        if numbers and float(numbers[-1]) != high:
            return key
    return None


def _levels(levels: Any) -> dict[str, float] | None:
    if not isinstance(levels, dict) or not all(isinstance(value, int | float) for value in levels.values()):
        return None
    return levels


def _outermost_objects(text: str) -> Iterator[tuple[int, int, Any]]:
    """Start, end and value of each object in a text; objects inside another object are a part of that value."""
    for start, value in json_values(text, strict=False, decoder=_DECODER):
        yield start, _DECODER.raw_decode(text, start)[1], value


def _scored_objects(value: Any, *, within_something_else: bool = False) -> Iterator[_ScoredObject]:
    """The objects with a key for the score in a JSON value; objects inside such an object are left out."""
    if isinstance(value, dict):
        values = _values_of_score_keys(value)
        if values:
            content = {"_".join(key_words(key)): item for key, item in value.items()}
            yield _ScoredObject(content, values, within_something_else or _is_something_else(content))
            return
        for key, item in value.items():
            other = within_something_else or not names_the_answer(key)
            yield from _scored_objects(item, within_something_else=other)
    elif isinstance(value, list):
        for item in value:
            yield from _scored_objects(item, within_something_else=within_something_else)


def _values_of_score_keys(content: Mapping[str, Any]) -> list[Any]:
    """The values of the keys for the painting's score: of those with a word of `_LAST_WORDS` if any, else of all."""
    named: dict[bool, list[Any]] = {True: [], False: []}
    for key, item in content.items():
        parts = set(key_words(key))
        if _names_the_score(parts):
            if not isinstance(item, dict | list) or parts == {"score"}:
                named[bool(parts & _LAST_WORDS)].append(item)
    return named[True] or named[False]


def _names_the_score(parts: set[str]) -> bool:
    """Whether the words of a key name the painting's score."""
    return bool(parts & _SCORE_WORDS) and parts <= _SCORE_WORDS | _PAINTING_WORDS | _LAST_WORDS


def _is_something_else(content: Mapping[str, Any]) -> bool:
    """Whether a value in the object says that its score rates an aspect, or is a rater's, a draft or an example."""
    for key, item in content.items():
        if item is True and names_something_else(key.replace("_", " ")):  # "is_example": true
            return True
        if key in _SUBJECT_KEYS and isinstance(item, int) and names_something_else(f"{key} {item}"):  # "painting": 2
            return True
        if not isinstance(item, str) or len(item) > 60:
            continue
        if key in _ASPECT_KEYS and not _WHOLE.search(item):
            return True
        if key in _SUBJECT_KEYS | _ASPECT_KEYS and names_something_else(item) and not _WHOLE.match(item):
            return True
    return False
