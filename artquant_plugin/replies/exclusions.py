"""What takes a score back that a rule has found, as one table.

"Not a 7", "for example, score: 7", "composition: 8": a rule of `artquant_plugin.replies.rules` finds the number, and
an entry of this table says that it is not the painting's score. Every entry has examples, which a test runs.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from artquant_plugin.replies import vocabulary as words
from artquant_plugin.replies.numbers import USUAL_TOPS, number_value
from artquant_plugin.replies.statements import VERB_OF_RATING, WORD_END, WORD_START, Reader, Statement

Effect = Literal["dropped", "of an aspect", "yields", "malformed", "ambiguous"]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One reason why a number in the surroundings of a score is not the score.

    Args:
        name: the reason in a few words.
        effect: what it does. ``dropped``: the number is no score. ``of an aspect``: it scores only one aspect of the
            painting; a reply with such scores alone is ambiguous. ``yields``: it counts only in a reply without any
            other score. ``malformed`` and ``ambiguous``: it is the score, but cannot be read; the reply stays unscored
            for that reason, even where an earlier score in it could be read.
        applies: whether it holds for a statement.
        examples: texts with one score for which it holds.
        counterexamples: texts with one score for which it does not hold.
        detail: what a report says of a number that cannot be read; ``{}`` stands for the number.
        readers: for which texts it holds.
    """

    name: str
    effect: Effect
    applies: Callable[[Statement], bool]
    examples: tuple[str, ...]
    counterexamples: tuple[str, ...]
    detail: str = ""
    readers: tuple[Reader, ...] = ("reply",)


def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _before(pattern: re.Pattern[str], width: int = 40) -> Callable[[Statement], bool]:
    """Whether a pattern matches the end of the `width` characters in front of a statement."""
    return lambda statement: pattern.search(statement.before(width)) is not None


_NEGATOR = _pattern(rf"{WORD_START}(?:{words.NEGATORS}){WORD_END}(?:\s+[^\W\d]+){{0,4}}\s*\Z")
_EXAMPLE = _pattern(rf"{WORD_START}(?:{words.EXAMPLE})[\s,:]*\Z")
_NUMBERED = _pattern(rf"(?:{words.NUMBERED})\s*#?\s*\Z")
_LIST_NUMBER = re.compile(r"\d{1,2}[.)]\s+\S")
_ASPECT_WORD = rf"{WORD_START}(?:{words.ASPECTS}){WORD_END}|{words.ASPECTS_CJK}"
_ASPECT = _pattern(_ASPECT_WORD)
_ASPECT_BEFORE = _pattern(rf"(?:{_ASPECT_WORD})(?:[ \t_-]{{0,2}}|\s?:\s*)\Z")
_ASPECT_BEHIND = _pattern(rf"\s+(?:in|on|for)\s+(?:{words.ASPECTS}){WORD_END}")
_OTHERS = _pattern(rf"{WORD_START}(?:{words.OTHERS}){WORD_END}(?:\s+[^\W\d]+){{0,3}}\s*\Z")
_CONDITION_BEFORE = _pattern(rf"{WORD_START}(?:{words.CONDITIONS})(?:[^\S\n]+[^\W\d][\w',]*){{0,8}}[^\S\n]*\Z")
_CONDITION_BEHIND = _pattern(rf"\s+(?:{words.CONDITIONAL}){WORD_END}")
_TEXT_ENDS = re.compile(r"[ \n.]*\Z")
_SUM_GOES_ON = re.compile(r"\s*(?:[+×÷→]|->|=>)\s*\(?\d|\s*=\s*\d")
_LIST_GOES_ON = re.compile(r"\s*,\s*\d")
_THOUSANDS = re.compile(r",\d{3}(?!\d)")
# What a number in a description does not rate: "three-part", "7 figures", "two of the …"
_COUNTED = _pattern(r"-|\s+(?!points\b|stars\b|marks\b)[a-z]{3,}s\b|\s+of\s+(?:the|its|his|her|these|them)\b")


def _is_negated(statement: Statement) -> bool:
    return bool(_NEGATOR.search(statement.before(40)) or _NEGATOR.search(f"{statement.between} "))


def _repeats_the_scale(statement: Statement) -> bool:
    number = statement.number
    if number.upper is None or number.top is not None:
        return False
    return number_value(number.value) <= 1 and number_value(number.upper) in USUAL_TOPS


def _numbers_a_painting(statement: Statement) -> bool:
    inside = statement.text[statement.start : statement.number.start]
    return not statement.number.has_scale_or_unit and _NUMBERED.search(inside) is not None


def _numbers_a_line(statement: Statement) -> bool:
    start = statement.number.start
    inside = statement.text[statement.start : start]
    return inside.rstrip(" ").endswith("\n") and _LIST_NUMBER.match(statement.text, start) is not None


def _is_of_an_aspect(statement: Statement) -> bool:
    return bool(
        _ASPECT_BEFORE.search(statement.before(40))
        or _ASPECT.search(f"{statement.between} {statement.note}")
        or statement.followed_by(_ASPECT_BEHIND)
    )


def _is_given_by_others(statement: Statement) -> bool:
    return statement.rule.name == VERB_OF_RATING and _OTHERS.search(statement.before(40)) is not None


def _has_a_condition(statement: Statement) -> bool:
    return bool(_CONDITION_BEFORE.search(statement.before(80)) or statement.followed_by(_CONDITION_BEHIND))


def _is_cut_off(statement: Statement) -> bool:
    in_object = statement.text.find("{", 0, statement.start) >= 0 and statement.before(1) in ("'", '"')
    return in_object and statement.followed_by(_TEXT_ENDS)


def _is_a_term(statement: Statement) -> bool:
    return _SUM_GOES_ON.match(statement.text, statement.end) is not None


def _begins_a_list(statement: Statement) -> bool:
    return not statement.rule.fallback and statement.followed_by(_LIST_GOES_ON)  # not "8/10, 2 things are good"


def _has_a_comma_before_three_digits(statement: Statement) -> bool:
    return any(_THOUSANDS.search(end or "") for end in (statement.number.value, statement.number.upper))


def _descends(statement: Statement) -> bool:
    number = statement.number
    return number.upper is not None and number_value(number.upper) <= number_value(number.value)


def _counts_things(statement: Statement) -> bool:
    return not statement.rule.before_plural and statement.followed_by(_COUNTED)


EXCLUSIONS = (
    Exclusion(
        "the scale once more",
        "dropped",
        _repeats_the_scale,
        ("Score: 1-10",),
        ("Score: 7-8", "Score: 1-2", "Score: 1-10/10"),
    ),
    Exclusion(
        "denied",
        "dropped",
        _is_negated,
        ("I cannot give a score of 7", "I wouldn't rate it 9", "I rate it not 9"),
        ("I rate it 9",),
    ),
    Exclusion(
        "an example",
        "dropped",
        _before(_EXAMPLE),
        ("For example, Score: 7", "zum Beispiel Bewertung: 7"),
        ("An example. Score: 7",),
    ),
    Exclusion(
        "the number of a painting",
        "dropped",
        _numbers_a_painting,
        ("The score of painting 3", "the rating for image 2"),
        ("The score of painting 3/10", "The score of this painting is 3"),
    ),
    Exclusion(
        "the number of a line in a list",
        "dropped",
        _numbers_a_line,
        ("My rating\n1. Composition", "Score:\n2) Colour"),
        ("Score\n7.5", "Score:\n7"),
    ),
    Exclusion(
        "one aspect's score",
        "of an aspect",
        _is_of_an_aspect,
        ("Composition score: 8", "I give the composition 8.", "The painting scores 7 in composition", "构图评分:8"),
        ("Overall score: 8", "I give the painting 8."),
    ),
    Exclusion(
        "somebody else's score",
        "yields",
        _is_given_by_others,
        ("critics rated it 9.", "Other people might give it a 9."),
        ("I rate it 9.",),
    ),
    Exclusion(
        "under a condition",
        "yields",
        _has_a_condition,
        ("If it were better, I'd give it a 9.", "A rating of 10 is reserved for masterpieces."),
        ("I'd give it a 9.",),
    ),
    Exclusion(
        "the end of a reply that is cut off, within a number perhaps",
        "malformed",
        _is_cut_off,
        ('{"score": 6', '{"score": 7.'),
        ('{"score": 6}', "score: 6"),
        detail="the reply ends within or behind {}",
    ),
    Exclusion(
        "a term of a sum, or a score that is changed behind",
        "ambiguous",
        _is_a_term,
        ("Score: 5 + 2", "Score: 8 → 7", "8/10 (good) → 7"),
        ("Score: 5", "Score: 5+"),
        detail="{} is one part of what follows",
    ),
    Exclusion(
        "the first of a list",
        "ambiguous",
        _begins_a_list,
        ("Scores: 7, 8",),
        ("Score: 7, good", "8/10, 2 things are good"),
        detail="{} and more numbers",
    ),
    Exclusion(
        "three digits behind a comma",
        "malformed",
        _has_a_comma_before_three_digits,
        ("Score: 1,000",),
        ("Score: 1,25",),
        detail="{}: a decimal comma, or thousands",
    ),
    Exclusion(
        "a range that descends",
        "ambiguous",
        _descends,
        ("Score: 8-7", "Score: 8-8"),
        ("Score: 7-8",),
        detail="{} is no range",
    ),
    Exclusion(
        "a number of things, or a part of a word",
        "dropped",
        _counts_things,
        ("The musical score of 12 bars in the foreground", "7 out of 10 viewers", "rated 3 of the figures"),
        ("It scores 12 points.", "rated 3 of 10", "The average of 5.4 shows"),
        readers=("description",),
    ),
)


def exclusions_for(reader: Reader, *effects: Effect) -> tuple[Exclusion, ...]:
    """The exclusions with one of some effects that hold for one kind of text, in the order of the table."""
    return tuple(each for each in EXCLUSIONS if reader in each.readers and each.effect in effects)
