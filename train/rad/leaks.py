"""Numbers that give a painting's score away, found in a description.

Two rules. The score itself, written with decimals ("6.8", "six point eight"), counts wherever it stands. Any number
counts where it is used as a rating ("scores a 7", "give it a 7.", "68 out of 100", "a rating of six", "an average of
5.4", "in the 83rd percentile"), since a description must rate in words alone. Other numbers ("two figures", "1907",
"3-point perspective") are part of what a painting shows.
"""

import re

_NUMBER = r"(?:\d{1,3}(?:[.,]\d+)?)"
_WORD = r"(?:zero|one|two|three|four|five|six|seven|eight|nine|ten)"
_NOT_ONE = _WORD.replace("one|", "")  # "a strong one", "it deserves one"
# Between a word of rating and its number: "a rating of about 7", "scored only a 6".
_LINK = (
    r"(?:[\s:=]+(?:of|a|an|at|is|was|as|about|around|roughly|nearly|almost|approximately|only|just|by|with|to|the))*"
)
# What a number does not rate: "three-part", "7 figures", "two of the …", "3rd".
_NOT_COUNTED = r"(?![\w-])(?!\s+(?!points\b|stars\b|marks\b)[a-z]{3,}s\b)(?!\s+of\s+(?:the|its|his|her|these|them)\b)"
# Where a number stands for itself: "give it a 7.", "a solid 6 at best"; not "gives it a 3 dimensional look".
_ALONE = r"(?=\s*(?:[.;:!?)]?$|[.,;:!?)](?!\d)|(?:overall|at\s+(?:best|most)|on\s+(?:this|the|a|its)\s+scale)\b))"
_SPOKEN = re.compile(rf"\b({_WORD})[\s-]+point[\s-]+({_WORD}(?:[\s-]+{_WORD})?)\b", re.IGNORECASE)
_DIGITS = {word: str(digit) for digit, word in enumerate(_WORD[3:-1].split("|"))}
_DECIMAL = re.compile(r"(?<![\w.,])(\d{1,3})[.,](\d{1,3})(?![\w]|[.,]\d)")
_RATINGS = (
    # 7/10, 68 / 100, "7 out of 10", "seven out of ten"
    rf"(?<![\w.,/]){_NUMBER}\s*/\s*(?:10|100|HIGH)(?![\w/]|[.,]\d|\s+of\b)",
    rf"\b(?:{_NUMBER}|{_WORD})[\s-]+out[\s-]+of[\s-]+(?:5|10|100|HIGH|five|ten|a\s+hundred|a\s+possible\s+\w+){_NOT_COUNTED}",
    # "scores a 7", "rated 6.5", "a rating of six", "score: 8"
    rf"\b(?:scor(?:e[sd]?|ing)|rat(?:e[sd]?|ings?)|mark(?:s|ed)?|grade[sd]?){_LINK}[\s:=]+{_NUMBER}{_NOT_COUNTED}",
    rf"\b(?:score[sd]?|rat(?:e[sd]|ings?)){_LINK}[\s:=]+{_WORD}{_NOT_COUNTED}(?!\s+[a-z]+ed\b|\s+or\b)",
    # "I'd give it a 7.", "deserves a seven.", "a solid 6 at best"
    rf"\b(?:g[ai]ven?|gives|giving|award(?:s|ed)?)\s+(?:it|this|the\s+\w+)\s+(?:(?:an?|only|about)\s+)*"
    rf"(?:{_NUMBER}|{_NOT_ONE}){_ALONE}",
    rf"\b(?:deserve[sd]?|earn(?:s|ed)?|merit(?:s|ed)?)\s+(?:(?:an?|only|about)\s+)*(?:{_NUMBER}|{_NOT_ONE}){_ALONE}",
    rf"\ba\s+(?:solid|strong|weak|mere|modest|firm)\s+(?:{_NUMBER}|{_NOT_ONE}){_ALONE}",
    # "a 7 rating", "an 8.5 score"
    rf"\ban?\s+{_NUMBER}[\s-]+(?:rating|score|grade|mark)\b",
    # "an average of 5.4", "the mean (5.4)"
    rf"\b(?:average|mean|median|variance)(?:{_LINK}[\s:=]+|\s*\(){_NUMBER}(?<=[.,]\d|\d\d)(?![\w%-])",
    # "6.5 points", "in the 83rd percentile", "percentile of 83"
    r"(?<![\w.,])\d{1,3}[.,]\d+\s+(?:points?|stars?|marks?)\b",
    r"\b\d{1,2}(?:\.\d+)?(?:st|nd|rd|th)?[\s-]+percentile\b",
    rf"\bpercentile{_LINK}[\s:=]+{_NUMBER}",
)


def find_score(text: str, score: float, high: float) -> str | None:
    """The words that give a score away, or None.

    Args:
        text: of one level.
        score: human score of the painting.
        high: the highest possible score; its scale, and those up to 10 and 100, are known.

    Returns:
        The first such words as they stand in the text.

    Example:
        >>> find_score("It would score a 7 at best.", 6.83, 10)
        'score a 7'
        >>> find_score("Two figures in 3-point perspective.", 3.0, 10)
    """
    for found in _DECIMAL.finditer(text):
        if _is_score(found[1], found[2], score, high):
            return found[0]
    for found in _SPOKEN.finditer(text):
        whole, *decimals = (_DIGITS[word] for word in re.split(r"[\s-]+", found[0].lower()) if word != "point")
        if _is_score(whole, "".join(decimals), score, high):
            return found[0]
    first: re.Match[str] | None = None
    for pattern in _patterns(high):
        found_rating = pattern.search(text)
        if found_rating and (first is None or found_rating.start() < first.start()):
            first = found_rating
    return None if first is None else first[0]


def _is_score(whole: str, decimals: str, score: float, high: float) -> bool:
    """Whether a number with decimals is the score, rounded or cut, on its own scale or on those up to 10 and 100."""
    value, unit = float(f"{whole}.{decimals}"), 10.0 ** -len(decimals)
    for scale in (high, 10.0, 100.0):
        below = score * scale / high - value
        if abs(below) <= unit / 2 + 1e-9 or 0 <= below < unit - 1e-9:  # rounded, or cut off
            return True
    return False


_COMPILED: dict[float, tuple[re.Pattern[str], ...]] = {}


def _patterns(high: float) -> tuple[re.Pattern[str], ...]:
    if high not in _COMPILED:
        _COMPILED[high] = tuple(
            re.compile(rating.replace("HIGH", re.escape(f"{high:g}")), re.IGNORECASE) for rating in _RATINGS
        )
    return _COMPILED[high]
