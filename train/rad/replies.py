"""Reads the replies of generator and judge. A reply that cannot be used raises `ReplyError`; no default replaces it.

A small model tends to repeat what it was shown. So a text that copies the prompt counts as malformed, and so does a
verdict that contradicts the prose around it.
"""

import functools
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from artquant_plugin.common.json_text import only_object
from artquant_plugin.common.text import one_line
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS
from artquant_plugin.replies import first_answer, parse_reply
from artquant_plugin.replies.refusals import opens_with_refusal
from artquant_plugin.replies.reply import DETAIL_WIDTH

UnusableReason = Literal["refused", "malformed", "leaked_score"]

SEQUENCE_WORDS = 3  # a text is compared with the prompt by its sequences of so many words
COPIED_SHARE = 0.7  # a text counts as copied when at least this share of its sequences stands in the prompt
# A score in the prose contradicts the score in the JSON when they differ by more than this share of the score range.
SCORE_DISTANCE = 0.05

_QUOTED = re.compile(r"\"([^\"\n]+)\"|“([^”\n]+)”|<([^<>\n]+)>")
# Words by which a judge rejects a description. They do not count after a negation ("no inconsistency", "not
# inconsistent").
_REJECTS = re.compile(
    r"""\binconsisten(?:t|tly|cy|cies)\b
    | \b(?:not|never|hardly|isn['’]t|aren['’]t)\s+(?:\w+\s+){0,2}consistent\b
    | \breject(?:s|ed|ion)?\b
    | \b(?:doesn['’]t|don['’]t|does\s+not|do\s+not|fail(?:s|ed)?\s+to)\s+(?:\w+\s+)?
      (?:agree|match|fit|align|correspond)\s+(?:with\s+|to\s+)?(?:the|this|its)\s+(?:\w+\s+){0,2}(?:rating|score)\b
    | \b(?:description|text|praise|tone|wording)\s+(?:doesn['’]t|does\s+not|fail(?:s|ed)?\s+to)\s+(?:\w+\s+)?
      (?:agree|match|fit|align|correspond)\s*(?:(?:with\s+|to\s+)?it\b|[.!]|\Z)
    | \bcontradict(?:s|ed|ing)?\s+(?:the|this|its)\s+(?:\w+\s+){0,2}(?:rating|score)\b
    | \bmismatch(?:es|ed)?\b | \b(?:it|text|description)\s+disagrees?\b
    | \btoo\s+\w+\s+for\s+(?:the|this|its|a)\s+(?:\w+\s+){0,2}(?:rating|score)\b
    | \b(?:over|under)(?:rates?|states?|sells?)\s+(?:the|this|its)\s+(?:painting|picture|image|work|piece)\b
    | \bconsistent\W{1,6}(?:false|no)\b
    | \A\W*(?:no|false)\s*(?:[.:!\n]|\Z) | \bactually,?\s+no\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NEGATED = re.compile(r"\b(?:no|not|nothing|without|never|neither|nor|\w+n['’]t)\s+(?:\w+\s+){0,2}\Z", re.IGNORECASE)
# Words by which a judge accepts a description. "Consistent in tone" and the like accept only a part, and do not count.
_ACCEPTS = re.compile(
    r"""\b(?:description|text|verdict|answer|it)(?:\s+is|\s*:)\W*(?:\w+ly\s+)?consistent\b(?!\s+in\b)
    | \b(?:it|text|description)\s+(?:\w+ly\s+)?(?:agrees|matches|fits|aligns|corresponds)\s+(?:\w+ly\s+|well\s+)?
      (?:with\s+|to\s+)?(?:the|this|its)\s+(?:\w+\s+){0,2}(?:rating|score)\b
    | \b(?:i|we)\s+accept\b | \b(?:is|verdict\W+)\s*accepted\b
    | \bconsistent\W{1,6}(?:true|yes)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


class ReplyError(Exception):
    """A reply that cannot be used.

    Args:
        reason: ``refused``: the model, or the provider's filter, refuses; ``malformed``: the reply is not what was
            asked for; ``leaked_score``: a description gives the painting's score away.
        detail: what is wrong and under which key or at which words, such as "no text under 'emotion'".
    """

    def __init__(self, reason: UnusableReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: UnusableReason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reply:
    """The parts of a chat completion that a run uses.

    Args:
        text: the content of the message; None when the message has no content.
        refusal: the text of the message's field ``refusal``; None when the model did not refuse in this way.
        finish: why the text ends, as ``finish_reason`` says: ``stop``, ``length`` (the limit of tokens),
            ``content_filter`` or another one; None when the endpoint gives no reason.
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


def read_levels(reply: Reply, shown: Sequence[str] = ()) -> dict[str, str]:
    """Read the text of each level of a description: perception, cognition and emotion.

    Args:
        reply: the generator's reply: a JSON object with one text for each level, with prose around it or not. Other
            keys are ignored. White space in the texts becomes single spaces.
        shown: the messages of the request without the feedback, from which a text must not be copied.

    Raises:
        ReplyError: the reply refuses, has no such object, has no words for a level, or copies the request.
    """
    content, _ = _object_and_prose(reply)
    return {level: _read_text(content, level, shown) for level in DESCRIPTION_LEVELS}


def read_verdict(reply: Reply, shown: Sequence[str] = ()) -> Verdict:
    """Read the verdict of a judge that knows the score and says whether the description agrees with it.

    Args:
        reply: the judge's reply: a JSON object with ``consistent`` (true or false) and ``reason`` (text).
        shown: the messages of the request, without what was wrong with an earlier reply.

    Raises:
        ReplyError: the reply refuses, has no such object, copies the request, or contradicts itself: the prose around
            the object, or another text in it, says the opposite.
    """
    content, prose = _object_and_prose(reply)
    consistent = content.get("consistent")
    if not isinstance(consistent, bool):
        raise ReplyError("malformed", f"'consistent' is {_shortened(consistent)}, neither true nor false")
    reason = _read_text(content, "reason", shown)
    nested = [value for value in content.values() if isinstance(value, dict | list)]
    if any(inner == "consistent" for value in nested for inner in _all_keys(value)):
        raise ReplyError("malformed", "it gives more than one verdict")
    texts = (prose, *_all_texts(content))
    if consistent:
        rejecting = next((found for text in texts if (found := _rejection(text))), None)
        if rejecting:
            raise ReplyError("malformed", f"'consistent' is true, and the words around it say {rejecting!r}")
    elif not any(map(_rejection, texts)):
        accepting = next(filter(None, map(_ACCEPTS.search, texts)), None)
        if accepting:
            said = one_line(accepting[0])
            raise ReplyError("malformed", f"'consistent' is false, and the words around it say {said!r}")
    return Verdict(consistent, None, reason)


def read_estimate(reply: Reply, score_range: tuple[float, float], shown: Sequence[str] = ()) -> Verdict:
    """Read the verdict of a judge that does not know the score and estimates it from the description.

    Args:
        reply: the judge's reply: a JSON object with ``score`` (a number) and ``reason`` (text).
        score_range: lowest and highest score of the dataset; both are allowed.
        shown: the messages of the request, without what was wrong with an earlier reply.

    Raises:
        ReplyError: the reply refuses, has no such object, has a score outside the range, copies the request, or tells
            another score in the prose around the object.
    """
    content, prose = _object_and_prose(reply)
    score = content.get("score")
    low, high = score_range
    if isinstance(score, bool) or not isinstance(score, int | float) or not _is_finite(score):
        raise ReplyError("malformed", f"'score' is {_shortened(score)}, no number")
    if not low <= score <= high:
        raise ReplyError("malformed", f"'score' {_shortened(score)} is outside [{low:g}, {high:g}]")
    reason = _read_text(content, "reason", shown)
    nested = [value for value in content.values() if isinstance(value, dict | list)]
    if any(inner == "score" for value in nested for inner in _all_keys(value)):
        raise ReplyError("malformed", "it gives more than one verdict")
    prose_score = parse_reply(prose, score_range=score_range, level_values={}).score if prose else None
    if prose_score is not None and abs(prose_score - score) > SCORE_DISTANCE * (high - low):
        raise ReplyError("malformed", f"'score' is {score:g}, and the words around it say {prose_score:g}")
    return Verdict(None, float(score), reason)


def copies(text: str, shown: Sequence[str]) -> bool:
    """Whether a text is copied from what a model was shown. Case, white space and punctuation make no difference.

    Args:
        text: a text from the model's reply, such as one level of a description.
        shown: the messages of the request.

    Returns:
        True in two cases. First, a message has the text in quotes or in angle brackets (an example or a placeholder),
        as a whole or, from two words on, as a part. Second, at least the share `COPIED_SHARE` of the text's sequences
        of `SEQUENCE_WORDS` words stands in the messages; a text of up to `SEQUENCE_WORDS` words is not tested so.
    """
    words = _words(text)
    for message in shown:
        for placeholder in _placeholders(message):
            if words == placeholder or (len(words) > 1 and _stands_in(words, placeholder)):
                return True
    sequences = list(_sequences(words))
    if len(words) <= SEQUENCE_WORDS:
        return False
    known = [_sequences_of_message(message) for message in shown]
    found = sum(any(sequence in some for some in known) for sequence in sequences)
    return found >= COPIED_SHARE * len(sequences)


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.casefold()))


def _sequences(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(SEQUENCE_WORDS)), strict=False)


@functools.lru_cache(maxsize=256)  # system messages are shared by many paintings
def _sequences_of_message(message: str) -> frozenset[tuple[str, ...]]:
    return frozenset(_sequences(_words(message)))


@functools.lru_cache(maxsize=256)
def _placeholders(message: str) -> tuple[tuple[str, ...], ...]:
    return tuple(_words(found[1] or found[2] or found[3]) for found in _QUOTED.finditer(message))


def _stands_in(words: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return any(whole[start : start + len(words)] == words for start in range(len(whole) - len(words) + 1))


def _rejection(text: str) -> str | None:
    """Return the first words by which a text rejects a description, or None when it has no such words."""
    for found in _REJECTS.finditer(text):
        if not _NEGATED.search(text[max(found.start() - 60, 0) : found.start()]):
            return one_line(found[0])
    return None


def _all_texts(content: object) -> Iterator[str]:
    """Yield every string value in decoded JSON, at any depth; names of fields are no values."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _all_texts(value)


def _all_keys(content: object) -> Iterator[str]:
    """Yield the names of all fields in decoded JSON, at any depth."""
    if isinstance(content, dict):
        yield from content
    if isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _all_keys(value)


def _read_text(content: dict[str, Any], name: str, shown: Sequence[str]) -> str:
    """Read a text of the reply's object; white space becomes single spaces.

    Raises:
        ReplyError: there is no text, it has no letter, it has a control or replacement character, or it
            is copied from the request.
    """
    text = content.get(name)
    if not isinstance(text, str) or not text.strip():
        raise ReplyError("malformed", f"no text under {name!r}")
    text = " ".join(text.split())
    if not any(character.isalpha() for character in text):
        raise ReplyError("malformed", f"no words under {name!r}, but {one_line(text, DETAIL_WIDTH)!r}")
    broken = next((c for c in text if c == "\ufffd" or unicodedata.category(c) in ("Cc", "Cs")), None)
    if broken is not None:
        raise ReplyError("malformed", f"the character U+{ord(broken):04X} under {name!r}, which no text has")
    if copies(text, shown):
        raise ReplyError("malformed", f"the text under {name!r} is copied from the request")
    return text


def _is_finite(number: int | float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number that no float can hold
        return False


def _shortened(value: object) -> str:
    """Write a JSON value as text that is short enough for an error message."""
    return "a number of many digits" if isinstance(value, int) and abs(value) > 10**15 else one_line(repr(value), 60)


def _object_and_prose(reply: Reply) -> tuple[dict[str, Any], str]:
    """Split a reply into its JSON object, which stands between the outermost braces, and the prose around it.

    What a model wrote as thoughts before its answer is dropped.

    Raises:
        ReplyError: the reply refuses, is empty, or has anything else than one JSON object between its braces.
    """
    if reply.refusal:
        raise ReplyError("refused", one_line(reply.refusal, DETAIL_WIDTH))
    if reply.finish == "content_filter":
        raise ReplyError("refused", "the provider's content filter")
    text = first_answer(reply.text or "")
    if not text:
        raise ReplyError("malformed", "an empty reply")
    start, end = text.find("{"), text.rfind("}")
    if start < 0:
        if opens_with_refusal(text):
            raise ReplyError("refused", one_line(text, DETAIL_WIDTH))
        raise ReplyError("malformed", f"no JSON object in {one_line(text, DETAIL_WIDTH)!r}")
    if end < start:
        end = len(text)
    try:
        return only_object(text[start : end + 1]), f"{text[:start]}\n{text[end + 1 :]}"
    except ValueError as error:
        cut = "cut off at the limit of tokens" if reply.finish == "length" else f"no JSON ({error})"
        raise ReplyError("malformed", cut) from error
