"""The conditions that a rule of `artquant_plugin.replies.rules` may set besides its patterns.

Each is a function that tells whether a found number and its surroundings meet the condition.
"""

import re

from artquant_plugin.replies import vocabulary as words
from artquant_plugin.replies.numbers import top_value
from artquant_plugin.replies.statements import WORD_START, Statement

# Conditions of rules for replies.

_CLAUSE_ENDS = re.compile(
    r"\s*(?:\Z|\n|[.,;:!()\[\]{}\"'|<>]|[–—-]\s|[^\x00-\x7f]"
    r"|(?:for|because|out|as|due|since|with|overall|based|given|on|and|but|in|für|weil|pour|car|porque|por|per)\b)",
    re.IGNORECASE,
)
_BOUND = re.compile(rf"{WORD_START}(?:{words.BOUNDS})(?:\s+an?)?\s*\Z", re.IGNORECASE)
_CJK_POINTS = frozenset("分点點점")
_FRACTION = re.compile(
    r"\d\s*/\s*\d|\b(?:\d|zero|one|two|three|four|five|six|seven|eight|nine|ten)[\s-]+out[\s-]+of\b", re.IGNORECASE
)
_SMALL_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?:[.,]\d+)?(?!\d)")
_USUAL_SCALES = (5.0, 10.0, 100.0)


def counts_nothing_else(statement: Statement) -> bool:
    """The number has a scale or a unit, or ends its clause, and is not a bound ("I give 2 reasons", "at least 7")."""
    complete = statement.number.has_scale_or_unit or statement.followed_by(_CLAUSE_ENDS)
    return complete and not _BOUND.search(statement.between)


def in_cjk_points_or_of_a_scale(statement: Statement) -> bool:
    """The number counts points in Chinese, Japanese or Korean, or stands in front of a slash and its scale."""
    return statement.number.by_slash or statement.number.unit in _CJK_POINTS


def ends_in_cjk_points(statement: Statement) -> bool:
    """The number, with its scale where it has one, ends in the word for points in Chinese, Japanese or Korean."""
    return statement.text[statement.number.end - 1] in _CJK_POINTS


def is_the_only_fraction(statement: Statement) -> bool:
    """The number has a scale behind it, and no second fraction stands in the text."""
    if statement.number.top is None:
        return False
    first = _FRACTION.search(statement.text)
    return first is not None and _FRACTION.search(statement.text, first.end()) is None


def is_the_only_fraction_of_a_usual_scale(statement: Statement) -> bool:
    """The number has a scale to 5, 10 or 100 behind it and ends its clause, and no second fraction is in the text."""
    top = statement.number.top
    if top is None or top_value(top) not in _USUAL_SCALES or not statement.followed_by(_CLAUSE_ENDS):
        return False
    return is_the_only_fraction(statement)


def is_the_only_number(statement: Statement) -> bool:
    """No other number with three digits at most stands in the text."""
    first = _SMALL_NUMBER.search(statement.text)
    return (
        first is not None
        and first.start() == statement.number.start
        and not _SMALL_NUMBER.search(statement.text, statement.number.end)
    )


def counts_nothing_else_in_words(statement: Statement) -> bool:
    """The number is written in words, and has a scale or ends its clause."""
    return statement.number.in_words and counts_nothing_else(statement)


# Conditions of rules for descriptions.

# Where a number stands for itself: "give it a 7.", "a solid 6 at best"; not "gives it a 3 dimensional look".
_STANDS_ALONE = re.compile(
    r"\s*(?:[.;:!?)]?$|[.,;:!?)](?!\d)|(?:overall|at\s+(?:best|most)|on\s+(?:this|the|a|its)\s+scale)\b)",
    re.IGNORECASE,
)
_WHAT_IS_RATED = re.compile(r"\s+[a-z]+ed\b|\s+or\b", re.IGNORECASE)  # "scored one painted half", "rated two or three"
_SECOND_SLASH_OR_OF = re.compile(r"/|\s+of\b", re.IGNORECASE)  # "7/10/1889", "7/10 of the canvas"


def in_digits(statement: Statement) -> bool:
    """The number is written in digits, and is no ordinal."""
    return not statement.number.in_words and not statement.number.ordinal


def in_digits_or_ordinal(statement: Statement) -> bool:
    """The number is written in digits; "83rd" is as good as "83"."""
    return not statement.number.in_words


def in_words(statement: Statement) -> bool:
    """The number is written in words, and what follows does not make it the number of something else."""
    return statement.number.in_words and not statement.followed_by(_WHAT_IS_RATED)


def stands_alone(statement: Statement) -> bool:
    """The number has no scale, is neither an ordinal nor the pronoun "one", and its clause ends behind it."""
    number = statement.number
    is_pronoun = number.in_words and number.value == "1"
    return not (number.top or number.ordinal or is_pronoun) and statement.followed_by(_STANDS_ALONE)


def is_precise(statement: Statement) -> bool:
    """The number is in at least two digits, with no percent sign or hyphen behind it; one digit might count things."""
    number = statement.number
    has_two_digits = number.has_decimals or len(number.value) > 1
    return in_digits(statement) and has_two_digits and statement.text[number.end : number.end + 1] not in ("%", "-")


def has_decimals(statement: Statement) -> bool:
    """The number is written in digits with decimals."""
    return in_digits(statement) and statement.number.has_decimals


def is_a_fraction_of_a_scale(statement: Statement) -> bool:
    """A slash and the end of a scale follow the number, and neither a second slash nor the word "of" follows these.

    The scale has to end at 10, at 100 or where the dataset's scale ends.
    """
    number = statement.number
    if number.top is None or not number.by_slash or statement.followed_by(_SECOND_SLASH_OR_OF):
        return False
    return top_value(number.top) in (10.0, 100.0, statement.dataset_high)


def is_out_of_a_scale(statement: Statement) -> bool:
    """The number's scale stands behind "out of", and ends at 5, 10, 100 or where the dataset's does."""
    number = statement.number
    if number.top is None or number.by_slash:
        return False
    usual = (5.0, 10.0, 100.0, statement.dataset_high)
    return number.top.lower().startswith("a possible") or top_value(number.top) in usual
