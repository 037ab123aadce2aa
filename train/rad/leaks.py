"""Finds numbers in a description that give the painting's score away.

A description must rate in words alone. The score itself, written with decimals ("6.8", "six point eight"), gives it
away wherever it stands. Any other number does so where it is used as a rating ("scores a 7", "68 out of 100", "in the
83rd percentile"), as the rules of `artquant_plugin.replies.rules` decide. All other numbers ("two figures", "1907",
"3-point perspective") belong to what a painting shows.
"""

from artquant_plugin.replies.exclusions import exclusions_for
from artquant_plugin.replies.numbers import WrittenNumber, find_english_numbers, number_value
from artquant_plugin.replies.rules import rules_for
from artquant_plugin.replies.statements import find_statements

_RULES = rules_for("description")
_DROPPED = exclusions_for("description", "dropped")


def find_score(text: str, score: float, high: float) -> str | None:
    """Find the words that give a score away; None when there are none.

    Args:
        text: the text of one level of a description; it may be empty.
        score: human score of the painting, on the dataset's scale.
        high: the highest score of the dataset's scale. Numbers are compared with the score on this scale, and on the
            scales up to 10 and up to 100.

    Returns:
        The words as they stand in the text: the score itself if the text has it, else the first rating.

    Example:
        >>> find_score("It would score a 7 at best.", 6.83, 10)
        'score a 7'
        >>> find_score("Two figures in 3-point perspective.", 3.0, 10)
    """
    numbers = find_english_numbers(text)
    for number in numbers:
        if number.has_decimals and _is_score(number, score, high):
            return text[number.start : number.bare_end]
    ratings = [
        statement
        for statement in find_statements(text, numbers, _RULES, dataset_high=high)
        if not any(exclusion.applies(statement) for exclusion in _DROPPED)
    ]
    return min(ratings, key=lambda rating: rating.start).words if ratings else None


def _is_score(number: WrittenNumber, score: float, high: float) -> bool:
    """Whether a number is the score, rounded or truncated, on the scale up to `high`, 10 or 100."""
    value = number_value(number.value)
    decimals = len(number.value.replace(",", ".").partition(".")[2])
    last_place = 10.0**-decimals  # 0.1 for a number with one decimal
    for scale in (high, 10.0, 100.0):
        below = score * scale / high - value
        if abs(below) <= last_place / 2 + 1e-9 or 0 <= below < last_place - 1e-9:
            return True
    return False
