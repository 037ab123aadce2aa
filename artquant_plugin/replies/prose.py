"""The score that a reply tells in prose: "Score: 7.5/10", "I'd give it a 7", "評価：8点", or a number alone."""

import math
import re
from collections.abc import Sequence

from artquant_plugin.common.text import one_line
from artquant_plugin.replies import vocabulary as words
from artquant_plugin.replies.exclusions import exclusions_for
from artquant_plugin.replies.numbers import NUMBER, USUAL_TOPS, WrittenNumber, find_numbers, number_value, top_value
from artquant_plugin.replies.reply import DETAIL_WIDTH, ParsedReply, Reason, within
from artquant_plugin.replies.rules import rules_for
from artquant_plugin.replies.statements import WORD_END, WORD_START, Rule, Statement, find_statements

# The lower and the upper end of a scale. The lower end is None where the text does not name it; all is None where the
# text names no scale.
Scale = tuple[float | None, float] | None

# A reply with more numbers is a table, or a model that repeats itself. The limit also bounds the time of reading.
MOST_NUMBERS = 200

_RULES = tuple(rule for rule in rules_for("reply") if not rule.fallback)
_FALLBACKS = tuple(rule for rule in rules_for("reply") if rule.fallback)
_DROPPED = exclusions_for("reply", "dropped")
_OF_SOMETHING_ELSE = exclusions_for("reply", "of something else")
_YIELDING = exclusions_for("reply", "yields")
_UNREADABLE = exclusions_for("reply", "malformed", "ambiguous")

# "(8 + 7) / 2 = 7.5" is worked out by the model; only what it says comes out counts.
_WORKED_OUT = re.compile(r"\(*\d[\d .,/()=-]{0,80}[+×÷][\d .,+×÷/()=-]{0,80}[=≈] ?(?=\d)")
_BETWEEN = re.compile(
    rf"(?<![^\W\d_])(?:{words.BETWEEN})\s+({NUMBER})\s+(?:{words.AND})\s+(?={NUMBER})", re.IGNORECASE
)
_SCALE_WORD = re.compile(words.SCALE, re.IGNORECASE)
_BOTH_ENDS = re.compile(rf"({NUMBER})(?:{words.TO})(\d+)", re.IGNORECASE)
_UPPER_END = re.compile(r"\d+")
_SLASH_FIRST = re.compile(r"\s*/\s*\d")
# A scale behind the number: "7 (1-10)", "7 on a scale of 0 to 10".
_SCALE_BEHIND = re.compile(
    rf"\s*,?\s*(?:[(\[](?P<note>[^()\[\]\n]{{1,40}})[)\]]"
    rf"|(?:on|in|auf|sur|en|na|su|по|using)\b(?P<scale>[^\d\n.!?]{{0,30}}{NUMBER}[^\n.!?;,]{{0,25}}))",
    re.IGNORECASE,
)
# "8 / Total: 10", "Score: 4, max: 5"
_TOP_BEHIND = re.compile(
    r"[\s,;/(|]*(?:total|max(?:imum)?|possible)(?: possible)?(?: scores?| points?)?\s*[:=|]\s*(?P<top>\d+)(?![\d.,])",
    re.IGNORECASE,
)
_WAS = re.compile(r"\s*(?:was|formerly|previously|before|up from|down from)\b", re.IGNORECASE)  # "7.5 (was 6)"
_FINAL = re.compile(rf"{WORD_START}(?:{words.FINAL}){WORD_END}|{words.FINAL_CJK}", re.IGNORECASE)
_REVISED = re.compile(rf"{WORD_START}(?:{words.REVISED})", re.IGNORECASE)
_REVISED_TO = re.compile(
    rf"{WORD_START}(?:{words.REVISED})[^\n]{{0,50}}?(?<![\d.,/])\d{{1,3}}(?:[.,]\d+)?(?=\s*(?:\Z|[.,;:!?)\n/]|is\b))",
    re.IGNORECASE,
)
_STARS = re.compile(words.STARS, re.IGNORECASE)
_KOREAN_STARS = "별점"


def read_prose(text: str, score_range: tuple[float, float]) -> ParsedReply | None:
    """The score that a text tells last.

    A number with another scale than the dataset's is converted: in proportion where the text names only the upper end
    of the scale ("68 out of 100"), linearly where it names both ends ("3 on a scale of 1 to 5"). A number whose scale
    ends where the dataset's does stays as it is. Of a range, "7-8", the mid-point is the score.

    Args:
        text: the reply, as `artquant_plugin.replies.text.plain` has simplified it.
        score_range: lowest and highest score of the dataset.

    Returns:
        A score in the range, or the reason why the last number that is told as a score is none; None where no number
        is told as a score.

    Example:
        >>> read_prose("First score: 3. Final score: 80%.", (0, 10)).score
        8.0
    """
    text = _WORKED_OUT.sub("", _BETWEEN.sub(r"\1-", text))
    numbers = find_numbers(text)
    if len(numbers) > MOST_NUMBERS:
        return ParsedReply(
            reason="ambiguous", detail=f"{len(numbers)} numbers; at most {MOST_NUMBERS} are looked through"
        )
    statements, others = _split_by_subject(text, numbers, _RULES)
    if not statements:
        statements, further = _split_by_subject(text, numbers, _FALLBACKS)
        others += further
    if not statements:
        if not others:
            return None
        told = ", ".join(one_line(other.words, 40) for other in others)
        return ParsedReply(reason="ambiguous", detail=one_line(f"of something else only: {told}", DETAIL_WIDTH))
    own = [each for each in statements if not any(exclusion.applies(each) for exclusion in _YIELDING)] or statements
    return _score_that_counts(_one_per_number(own), score_range)


def read_value(text: str, score_range: tuple[float, float]) -> ParsedReply | None:
    """The score of a text that is the value of a key for the score: "7.5", "7/10", "7 on a scale of 1 to 10".

    Args:
        text: the value, as `artquant_plugin.replies.text.plain` has simplified it.
        score_range: lowest and highest score of the dataset.

    Returns:
        As `read_prose`; ambiguous, too, where another number than the ends of a scale follows the first one, which may
        be what comes out of it.

    Example:
        >>> read_value("8, but dark, so 6", (0, 10)).reason
        'ambiguous'
    """
    reply = read_prose(f"score: {text}", score_range)
    if reply is None or reply.score is None:
        return reply
    text = _WORKED_OUT.sub("", _BETWEEN.sub(r"\1-", text))
    numbers = find_numbers(text)
    end = numbers[0].end if numbers else 0
    behind = _TOP_BEHIND.match(text, end) or _SCALE_BEHIND.match(text, end)
    if behind is not None:
        remark = behind["scale"] or behind["note"] if behind.re is _SCALE_BEHIND else ""
        if not remark or _scale_in(remark) is not None or _WAS.match(remark):
            end = behind.end()
    if any(number.start >= end for number in numbers[1:]):
        return ParsedReply(reason="ambiguous", detail=one_line(f"several numbers: {text}", DETAIL_WIDTH))
    return reply


def _one_per_number(statements: Sequence[Statement]) -> list[tuple[Statement, Scale]]:
    """One statement for each number, with its scale, in the order of the numbers.

    Where several statements are about the same number, one whose scale is known goes before the others.
    """
    found: dict[int, tuple[Statement, Scale]] = {}
    for statement in statements:
        scale = _scale(statement)
        place = statement.number.start
        if place not in found or (found[place][1] is None and scale is not None):
            found[place] = (statement, scale)
    return [found[place] for place in sorted(found)]


def _score_that_counts(found: Sequence[tuple[Statement, Scale]], score_range: tuple[float, float]) -> ParsedReply:
    """The score of the statement that counts: the last one that is called final, or the last one of all.

    Ambiguous where another statement gives another score and nothing says which one holds, and where words behind the
    last one change it in a way that no rule reads.
    """
    final = [each for each in found if _is_final(each[0])]
    readings = [(statement, _score_of_statement(statement, scale, score_range)) for statement, scale in final or found]
    statement, reply = readings[-1]
    scores = {each.score for _, each in readings if each.score is not None}
    if reply.score is not None and len(scores) > 1:
        before = statement.text[readings[-2][0].number.end : statement.number.start][-80:]
        if not _REVISED.search(before):
            told = ", ".join(one_line(each.words, 40) for each, _ in readings)
            return ParsedReply(reason="ambiguous", detail=one_line(f"several scores: {told}", DETAIL_WIDTH))
    if reply.score is not None and (change := _REVISED_TO.search(statement.text, statement.number.end)):
        detail = one_line(f"{statement.words}, and then {change[0]}", DETAIL_WIDTH)
        return ParsedReply(reason="ambiguous", detail=detail)
    return reply


def _is_final(statement: Statement) -> bool:
    """Whether a statement calls its score final, or stands as a key in braces that are not valid JSON."""
    before = statement.text[: statement.start]
    in_object = before.rfind("{") > before.rfind("}")
    return in_object or _FINAL.search(f"{statement.sentence_before(40)}{statement.words}") is not None


def _split_by_subject(
    text: str, numbers: Sequence[WrittenNumber], rules: Sequence[Rule]
) -> tuple[list[Statement], list[Statement]]:
    """The statements that are scores of the painting, and those that score something else."""
    scores: list[Statement] = []
    others: list[Statement] = []
    for statement in find_statements(text, numbers, rules):
        if any(exclusion.applies(statement) for exclusion in _DROPPED):
            continue
        is_other = any(exclusion.applies(statement) for exclusion in _OF_SOMETHING_ELSE)
        (others if is_other else scores).append(statement)
    return scores, others


def _scale(statement: Statement) -> Scale:
    """The ends of the scale that the text names for a statement's number; the lower one is None where it names none.

    What stands directly behind the number ("7/10", "70 %") goes before what stands in front of it or in brackets.
    """
    number = statement.number
    if number.percent:
        return None, 100.0
    if number.top is not None:
        top = top_value(number.top)
        return (None, math.nan) if top is None else (None, top)
    if top_behind := _TOP_BEHIND.match(statement.text, number.end):
        return None, float(top_behind["top"])
    if statement.high is not None:
        return None if statement.low is None else number_value(statement.low), number_value(statement.high)
    if (scale := _scale_in(statement.note)) is not None:
        return scale
    behind = _SCALE_BEHIND.match(statement.text, number.end)
    if behind is None or (behind["scale"] and not _SCALE_WORD.search(behind["scale"])):
        return None
    return _scale_in(behind["note"] or behind["scale"])


def _scale_in(remark: str) -> Scale:
    """The ends of the scale that a remark names: "1-10", "out of 10", "満点10点", "/10"; None where it names none."""
    if both := _BOTH_ENDS.search(remark):
        return number_value(both[1]), float(both[2])
    upper = _UPPER_END.search(remark)
    if upper and (_SCALE_WORD.search(remark) or _SLASH_FIRST.match(remark)):
        return None, float(upper[0])
    return None


def _score_of_statement(statement: Statement, scale: Scale, score_range: tuple[float, float]) -> ParsedReply:
    """The score of one statement on the dataset's scale, or the reason why its number cannot be read."""
    number = statement.number
    written = number.value if number.upper is None else f"{number.value}-{number.upper}"
    for exclusion in _UNREADABLE:
        if exclusion.applies(statement):
            reason: Reason = "malformed" if exclusion.effect == "malformed" else "ambiguous"
            return ParsedReply(reason=reason, detail=exclusion.detail.format(written))
    value = number_value(number.value)
    if number.upper is not None:
        value = (value + number_value(number.upper)) / 2
    if scale is None and (_STARS.fullmatch(number.unit or "") or _KOREAN_STARS in statement.words):
        return ParsedReply(reason="ambiguous", detail=f"{written} stars, of an unknown number")
    if scale is not None and scale[1] != score_range[1]:
        converted = _converted(value, scale, score_range)
        if converted is None:
            return ParsedReply(reason="ambiguous", detail=f"{written} of {scale[1]:g}, which is no usual scale")
        value = converted
    return within(value, score_range, "labelled", from_range=number.upper is not None)


def _converted(value: float, scale: tuple[float | None, float], score_range: tuple[float, float]) -> float | None:
    """A value of another scale on the dataset's; None where nobody uses such a scale or it has no extent."""
    low, high = scale
    dataset_low, dataset_high = score_range
    if high not in USUAL_TOPS or (low is not None and low >= high):
        return None
    if low is None:
        return value * dataset_high / high
    return dataset_low + (value - low) / (high - low) * (dataset_high - dataset_low)
