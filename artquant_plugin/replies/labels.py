"""The last labelled number of a reply: "Score: 7.5/10", "I'd give it a 7", "評価：8点", or a number alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from artquant_plugin.common.text import one_line
from artquant_plugin.replies import vocabulary as words
from artquant_plugin.replies.reply import DETAIL_WIDTH, Reply, within

# Tops of scales that people use. Behind a slash, another number is a range's other end or part of a date.
USUAL_TOPS = frozenset({5, 10, 20, 25, 50, 100, 1000})

_N = r"\d+(?:[.,]\d+)?"
# Part of a word, of a longer number or of a date is no number: "19th", "3-part", "7.5.3", "10/10/1889".
_END = r"(?!-?[A-Za-z]|\d|[.,]\d|\s*/\s*\d)"
_TOP = (
    rf"(?:\s*/\s*|\s+(?:{words.OUT_OF})\s+)(?P<top>\d+)(?:[.,]0+(?!\d))?(?!\d|[.,]\d|\s*/\s*\d|-?[A-Za-z])[分点點점]?"
)
_VALUE = (
    rf"(?P<value>(?<![\d.,/])[-+]?{_N})(?:(?:{words.TO})(?P<upper>{_N}))?"
    rf"(?:\s?(?P<percent>{words.PERCENT})|(?:\s?(?:{words.UNITS}|(?P<stars>{words.STARS})))?{_TOP}"
    rf"|\s?(?P<unit>{words.UNITS}|{words.STARS})|{_END})"
)
_GAP = r"(?:[^\S\n]*|\s*\n\s*(?!\d{1,2}[.)]\s+\S))"  # a number at the beginning of a line may be a list's
_START, _STOP = r"(?<![^\W\d_])", r"(?![^\W\d_])"  # the ends of a word; \b would take "_" for a letter
_NOTE = r"(?:\s*[(\[](?P<note>[^()\[\]\n]{1,40})[)\]])?"
_SCALE_HERE = (
    rf"(?:[^\d\n:=.!?]{{0,25}}?(?P<low>{_N})?(?(low)(?:{words.TO}))(?P<high>\d+)[^\d\n:=.!?]{{0,12}}(?=[:=]))?"
)
_LINK = (
    rf"[\"')\]>]*{_NOTE}(?:\s+(?:{words.OBJECT})){{0,8}}{_SCALE_HERE}{_GAP}"
    rf"(?:(?:{words.CONNECTORS}){_GAP}){{0,3}}[\"'(\[★☆⭐ ]*(?:(?:{words.ABOUT})\s*){{0,2}}"
)
_FLAGS = re.IGNORECASE
_LABEL = re.compile(
    rf"(?:(?:{_START}(?:(?P<strong>{words.LABELS})|(?P<weak>{words.WEAK_LABELS})){_STOP})|{words.LABELS_CJK})"
    rf"{_LINK}{_VALUE}",
    _FLAGS,
)
_VERB = re.compile(rf"{_START}(?:{words.VERBS}){_STOP}(?P<between>[^\d\n.!?;:]{{0,40}}?){_VALUE}", _FLAGS)
_VERB_CJK = re.compile(rf"(?:{words.VERBS_CJK})(?P<between>[^\d\n。!?.]{{0,16}}?)(?=[\d.]+\s*(?:[分点點점/])){_VALUE}")
_SAID_CJK = re.compile(rf"{_VALUE}(?<=[点點점分])(?:{words.CLOSINGS_CJK})")
_SCALE_FIRST = re.compile(
    rf"(?:(?:{words.SCALE})[^\d\n.!?]{{0,15}}?)?(?<![\d.,])(?P<low>{_N})?(?(low)(?:{words.TO}))(?P<high>\d+)"
    rf"(?P<between>[^\d\n.!?。]{{0,80}}?){_VALUE}",
    _FLAGS,
)
_BOXED = re.compile(rf"\\boxed\{{\s*(?:\\text\{{)?\s*{_VALUE}", _FLAGS)
_SCALE_WORD = re.compile(words.SCALE, _FLAGS)
_TOP_WORD = re.compile(r"[分点點점]?\s*(?:满分|滿分|満点|만점|中|중)")
_ASPECT = re.compile(rf"{_START}(?:{words.ASPECTS}){_STOP}|{words.ASPECTS[words.ASPECTS.index('构图') :]}", _FLAGS)
_ASPECT_BEFORE = re.compile(rf"(?:{_ASPECT.pattern})(?:[ \t_-]{{0,2}}|\s?:\s*)\Z", _FLAGS)
_ASPECT_BEHIND = re.compile(rf"\s+(?:in|on|for)\s+(?:{words.ASPECTS}){_STOP}", _FLAGS)
_NEGATED = re.compile(rf"{_START}(?:{words.NEGATORS}){_STOP}(?:\s+[^\W\d]+){{0,4}}\s*\Z", _FLAGS)
_EXAMPLE = re.compile(rf"{_START}(?:{words.EXAMPLE})[\s,:]*\Z", _FLAGS)
_OTHERS = re.compile(rf"{_START}(?:{words.OTHERS}){_STOP}(?:\s+[^\W\d]+){{0,3}}\s*\Z", _FLAGS)
_AFTER = re.compile(
    rf"\s*,?\s*(?:[(\[](?P<note>[^()\[\]\n]{{1,40}})[)\]]"
    rf"|(?:on|in|auf|sur|en|na|su|по|using)\b(?P<scale>[^\d\n.!?]{{0,30}}{_N}[^\n.!?;,]{{0,25}}))",
    _FLAGS,
)
_BOUND = re.compile(rf"{_START}(?:{words.BOUNDS})(?:\s+an?)?\s*\Z", _FLAGS)
_IF_BEFORE = re.compile(rf"{_START}(?:{words.CONDITIONS})(?:[^\S\n]+[^\W\d][\w',]*){{0,8}}[^\S\n]*\Z", _FLAGS)
_IF_BEHIND = re.compile(rf"\s+(?:{words.CONDITIONAL}){_STOP}", _FLAGS)
_NUMBERED = re.compile(rf"(?:{words.NUMBERED})\s*#?\s*\Z", _FLAGS)
# "(8 + 7) / 2 = 7.5" is worked out by the model; only what it says comes out counts.
_WORKED_OUT = re.compile(r"\(*\d[\d .,/()=-]{0,80}[+×÷][\d .,+×÷/()=-]{0,80}[=≈] ?(?=\d)")
_GOES_ON = re.compile(r"\s*(?:[+×÷→]|->|=>)\s*\(?\d|\s*=\s*\d")
_CLAUSE_ENDS = re.compile(
    r"\s*(?:\Z|\n|[.,;:!()\[\]{}\"'|<>]|[–—-]\s|[^\x00-\x7f]"
    r"|(?:for|because|out|as|due|since|with|overall|based|given|on|and|but|in|für|weil|pour|car|porque|por|per)\b)",
    _FLAGS,
)
_REMARK = r"(?:\s*[(\[,:–—-]\s*[^\W\d]{2,20}(?: [^\W\d]{2,20})?)?"  # "7.5 (good)"
_ALONE = re.compile(rf"[\s\"'(\[|]*{_VALUE}{_REMARK}[\s\"')\]|.,;!]*", _FLAGS)
_FRACTION = re.compile(r"\d\s*/\s*\d")
_BETWEEN = re.compile(rf"{_START}(?:{words.BETWEEN})\s+({_N})\s+(?:{words.AND})\s+(?={_N})", _FLAGS)


@dataclass(frozen=True, slots=True)
class _Found:
    """A number that may be the score.

    Args:
        start: its place in the text.
        value: as it stands there.
        upper: the other end of a range.
        low: the lower end of the scale that stands with it.
        high: the upper end.
        stars: whether it counts stars.
        cut: whether the text ends in the middle of it, perhaps.
        listed: whether another number follows, as in a list.
        others: whether somebody else gives it, or the model would under a condition.
        term: whether it is part of a sum, or changed behind.
    """

    start: int
    value: str
    upper: str | None
    low: float | None
    high: float | None
    stars: bool
    cut: bool
    listed: bool
    others: bool
    term: bool


def read_labelled(text: str, score_range: tuple[float, float]) -> Reply | None:
    """The last labelled number of a text.

    A number with another scale is brought to the dataset's: in proportion where it names the top alone
    ("68 out of 100"), linearly where it names both ends ("3 on a scale of 1 to 5"); a scale that ends where the
    dataset's does leaves the number as it is.

    Args:
        text: after `artquant_plugin.replies.text.plain`.
        score_range: of the dataset.

    Returns:
        None when there is none.
    """
    text = _WORKED_OUT.sub("", _BETWEEN.sub(r"\1-", text))
    found, aspects = _candidates(text)
    if not found:
        found = list(_alone(text))
    if not found:
        return (
            Reply(reason="ambiguous", detail=one_line(f"of aspects only: {', '.join(aspects)}", DETAIL_WIDTH))
            if aspects
            else None
        )
    found = [each for each in found if not each.others] or found
    last = max(each.start for each in found)
    # Of several readings of the same number, the one that knows its scale.
    return _reply(min((each for each in found if each.start == last), key=lambda each: each.high is None), score_range)


def _candidates(text: str) -> tuple[list[_Found], list[str]]:
    """Every labelled number, and the labels of aspects that were passed over."""
    found, aspects = [], []
    for pattern in (_LABEL, _VERB, _VERB_CJK, _SAID_CJK, _SCALE_FIRST, _BOXED):
        for match in _overlapping(pattern, text):
            parts = match.groupdict()
            whole = _with_scale(match, parts)
            before = text[max(0, match.start() - 40) : match.start()]
            if whole is None or _NEGATED.search(before) or _EXAMPLE.search(before):
                continue
            loose = pattern in (_VERB, _SCALE_FIRST) or parts.get("weak")
            if loose and (not _bounded(match, parts) or _BOUND.search(parts.get("between") or "")):
                continue
            if _numbered(match, parts) or _NEGATED.search(f"{parts.get('between') or ''}"):
                continue
            inside = f"{parts.get('between') or ''} {parts.get('note') or ''}"
            if _ASPECT_BEFORE.search(before) or _ASPECT.search(inside) or _ASPECT_BEHIND.match(text, match.end()):
                aspects.append(one_line(match[0], 40))
                continue
            found.append(whole)
    return found, aspects


def _overlapping(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Matches that may begin within one another: "rate" and "score" in "rate it with a score of 7"."""
    start = 0
    while match := pattern.search(text, start):
        yield match
        start = match.start() + 1


def _bounded(match: re.Match[str], parts: dict[str, str | None]) -> bool:
    """Whether nothing that is counted follows the number, as in "I give 2 reasons"."""
    return bool(parts["percent"] or parts["top"] or parts["unit"] or _CLAUSE_ENDS.match(match.string, match.end()))


def _numbered(match: re.Match[str], parts: dict[str, str | None]) -> bool:
    """Whether the number says which painting it is, as in "the score of painting 3 is 8"."""
    if parts["percent"] or parts["top"] or parts["unit"]:
        return False
    return _NUMBERED.search(match.string, match.start(), match.start("value")) is not None


def _with_scale(match: re.Match[str], parts: dict[str, str | None]) -> _Found | None:
    """A match's number with the scale that stands in it, in brackets or behind it; None when it is only a scale."""
    text, end = match.string, match.end()
    low, high = parts.get("low"), parts.get("high")
    if match.re is _SCALE_FIRST:
        before, behind = text[match.start() : match.start("high")], text[match.end("high") :]
        if low is None and re.fullmatch(words.TO, parts["between"] or "", _FLAGS):
            return None  # both numbers are the scale's
        if not _SCALE_WORD.search(before) and (low is not None or not _TOP_WORD.match(behind)):
            return None
    after = _AFTER.match(text, end)
    notes = [parts.get("note")]
    if after:
        note = after["note"] or after["scale"]
        notes.append(note if after["scale"] is None or _SCALE_WORD.search(note) else None)
    for note in notes:
        ends = _scale_in(note or "")
        if ends and high is None:
            low, high = ends
    if parts["percent"]:
        low, high = None, "100"
    elif parts["top"]:
        low, high = None, parts["top"]
    value, upper = str(parts["value"]), parts["upper"]
    if upper and parts["top"] is None and _number(value) <= 1 and _number(upper) in USUAL_TOPS:
        return None  # "Score: 1-10" repeats the scale
    quoted = text[: match.start()].endswith(("'", '"')) and "{" in text[: match.start()]
    stars = bool(parts["stars"] or re.fullmatch(words.STARS, parts["unit"] or "", _FLAGS) or "별점" in match[0])
    return _Found(
        start=match.start("value"),
        value=value,
        upper=upper,
        low=None if low is None else _number(low),
        high=None if high is None else _number(high),
        stars=stars,
        cut=quoted and not text[end:].strip(" \n."),
        listed=re.match(r"\s*,\s*\d", text[end:]) is not None,
        others=match.re is _VERB
        and _OTHERS.search(text[max(0, match.start() - 40) : match.start()]) is not None
        or _IF_BEHIND.match(text, end) is not None
        or _IF_BEFORE.search(text[max(0, match.start() - 80) : match.start()]) is not None,
        term=_GOES_ON.match(text, end) is not None,
    )


def _scale_in(note: str) -> tuple[str | None, str] | None:
    """The scale that a remark names: "1-10", "out of 10", "満点10点", "/10"."""
    both = re.search(rf"({_N})(?:{words.TO})(\d+)", note, _FLAGS)
    if both:
        return both[1], both[2]
    top = re.search(r"\d+", note)
    return (None, top[0]) if top and (_SCALE_WORD.search(note) or re.match(r"\s*/\s*\d", note)) else None


def _alone(text: str) -> Iterator[_Found]:
    """A number that needs no label: the whole reply, or a fraction that has a line to itself or opens the reply."""
    whole = _ALONE.fullmatch(text)
    if whole:
        found = _with_scale(whole, whole.groupdict())
        if found:
            yield found
        return
    if len(_FRACTION.findall(text)) != 1:
        return
    for line in re.finditer(r"[^\n]+", text):
        match = _ALONE.fullmatch(text, line.start(), line.end())
        opening = _ALONE.match(text) if line.start() == 0 else None
        if (
            match is None
            and opening
            and re.match(r"\s*[–—:;,.(-]", text[opening.end("top") :] if opening["top"] else "")
        ):
            match = opening
        if match and match["top"]:
            found = _with_scale(match, match.groupdict())
            if found:
                yield found


def _reply(found: _Found, score_range: tuple[float, float]) -> Reply:
    low, high = score_range
    written = found.value if found.upper is None else f"{found.value}-{found.upper}"
    if found.cut:
        return Reply(reason="malformed", detail=f"the reply ends within or behind {written}")
    if found.term:
        return Reply(reason="ambiguous", detail=f"{written} is one part of what follows")
    if found.listed:
        return Reply(reason="ambiguous", detail=f"{written} and more numbers")
    if any(re.search(r",\d{3}(?!\d)", part) for part in (found.value, found.upper or "")):
        return Reply(reason="malformed", detail=f"{written}: a decimal comma, or thousands")
    value = _number(found.value)
    if found.upper is not None:
        upper = _number(found.upper)
        if upper <= value:
            return Reply(reason="ambiguous", detail=f"{written} is no range")
        value = (value + upper) / 2
    top = found.high
    if top is None and found.stars:
        return Reply(reason="ambiguous", detail=f"{written} stars, of an unknown number")
    if top is not None and top != high:
        if top not in USUAL_TOPS or (found.low is not None and found.low >= top):
            return Reply(reason="ambiguous", detail=f"{written} of {top:g}, which is no usual scale")
        if found.low is None:
            value = value * high / top
        else:
            value = low + (value - found.low) / (top - found.low) * (high - low)
    return within(value, score_range, "labelled", from_range=found.upper is not None)


def _number(text: str) -> float:
    return float(text.replace(",", "."))
