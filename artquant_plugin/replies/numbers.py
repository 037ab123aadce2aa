"""Numbers as people write them, with unit and scale: "7,5", "7-8 / 10", "68 %", "seven out of ten".

`find_numbers` finds the numbers of a reply, which may be in any language. `find_english_numbers` finds those of an
English text and knows numbers in words as well. Both leave out what is no number of its own: a part of a word, of a
longer number or of a date ("19th", "7.5.3", "10/10/1889").
"""

import re
from dataclasses import dataclass

from artquant_plugin.replies import vocabulary as words

# The upper ends of the scales that people use. Behind a slash, any other number is a part of a date or of a range.
USUAL_TOPS = frozenset({5, 10, 20, 25, 50, 100, 1000})

NUMBER = r"\d+(?:[.,]\d+)?"
# What must not follow a number, which would then be a part of a word, of a longer number or of a date.
_NOT_CUT = r"(?!-?[A-Za-z]|\d|[.,]\d|\s*/\s*\d)"
_UPPER = rf"(?:(?:{words.TO})(?P<upper>{NUMBER}))?"


def _scale_end(group: str) -> str:
    """The upper end of the scale behind a number: "/10", " out of 10", " von 10 分"."""
    words_before = rf"(?:\s*/\s*|\s+(?:{words.OUT_OF})\s+)"
    return rf"{words_before}(?P<{group}>\d+)(?:[.,]0+(?!\d))?{_NOT_CUT}[分点點점]?"


_NUMBER = re.compile(
    rf"(?<![\d.,/])(?P<value>[-+]?{NUMBER}){_UPPER}"
    rf"(?:\s?(?P<percent>{words.PERCENT})"
    rf"|\s?(?P<unit>{words.UNITS}|{words.STARS})(?:{_scale_end('top_of_units')})?"
    rf"|{_scale_end('top')}(?:\s?(?:{words.STARS}|{words.UNITS}))?|{_NOT_CUT})",
    re.IGNORECASE,
)

_DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORD = rf"(?:{'|'.join(_DIGIT_WORDS)})"
_DIGITS = r"(?P<digits>\d{1,3}(?:[.,]\d+)?)(?P<ordinal>st|nd|rd|th)?"
_IN_WORDS = (
    rf"(?P<whole>{_WORD})(?:[\s-]+point[\s-]+(?P<decimals>{_WORD}(?:[\s-]+{_WORD})?))?(?P<half>\s+and\s+a\s+half)?"
)
_ENGLISH_TOP = (
    r"(?:\s*/\s*(?P<slash>\d+)(?!/)"
    rf"|[\s-]+out[\s-]+of[\s-]+(?P<top>\d+|{_WORD}|a\s+hundred|a\s+possible\s+\w+))?"
)
_IN_WORDS_OF_A_REPLY = re.compile(rf"(?<![\w.,-]){_IN_WORDS}{_ENGLISH_TOP}(?![\w-])", re.IGNORECASE)
_ENGLISH_NUMBER = re.compile(rf"(?<![\w.,])(?:{_DIGITS}|{_IN_WORDS}){_ENGLISH_TOP}(?!\w|[.,]\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """A number of a text.

    Args:
        start: the place of its first character in the text.
        end: the place behind its last one; unit and scale are included.
        bare_end: the place behind the number itself, without unit and scale.
        value: the number in digits with its sign, "7,5" for example; the lower end of a range such as "7-8".
        upper: the upper end of a range, in digits; None where the text gives one number. It may be below `value`.
        top: the upper end of the scale as the text writes it behind the number: "10" of "7/10", "ten" of "seven out of
            ten". None where none stands there.
        unit: what is counted: "points", "分", "stars", …; "%" or its word for a percentage. None where nothing stands
            there.
        percent: whether the number is a percentage.
        in_words: whether it is written in words.
        ordinal: whether it is an ordinal in digits, "83rd".
        by_slash: whether its scale stands behind a slash.
    """

    start: int
    end: int
    bare_end: int
    value: str
    upper: str | None = None
    top: str | None = None
    unit: str | None = None
    percent: bool = False
    in_words: bool = False
    ordinal: bool = False
    by_slash: bool = False

    @property
    def has_scale_or_unit(self) -> bool:
        """Whether a unit, a percent sign or the end of a scale stands behind the number."""
        return bool(self.unit or self.top)

    @property
    def has_decimals(self) -> bool:
        """Whether the number is written with decimals."""
        return "." in self.value or "," in self.value


def find_numbers(text: str) -> list[WrittenNumber]:
    """The numbers of a text in any language, in their order: those in digits, and those in English words.

    The word "one" is a number only where a scale follows it ("one out of ten"); it is a pronoun most often.

    Args:
        text: a text, as `artquant_plugin.replies.text.plain` has simplified it.

    Example:
        >>> [(each.value, each.upper, each.top) for each in find_numbers("7-8/10, not 19th")]
        [('7', '8', '10')]
    """
    found = []
    for match in _NUMBER.finditer(text):
        top = match["top"] or match["top_of_units"]
        number = WrittenNumber(
            start=match.start(),
            end=match.end(),
            bare_end=max(match.end("value"), match.end("upper")),
            value=match["value"],
            upper=match["upper"],
            top=top,
            unit=match["percent"] or match["unit"],
            percent=match["percent"] is not None,
            by_slash=top is not None and "/" in match[0],
        )
        found.append(number)
    in_words = [_number_in_words(match) for match in _IN_WORDS_OF_A_REPLY.finditer(text)]
    in_words = [number for number in in_words if number.top or number.value != "1"]
    if not in_words:
        return found
    tops = {place for number in in_words for place in range(number.bare_end, number.end)}  # "seven out of 10"
    return sorted([*(number for number in found if number.start not in tops), *in_words], key=lambda each: each.start)


def find_english_numbers(text: str) -> list[WrittenNumber]:
    """The numbers of an English text, in digits (three before the point at most) and in words, in their order.

    Example:
        >>> [(each.value, each.top) for each in find_english_numbers("six point eight, the 83rd; seven out of ten")]
        [('6.8', None), ('83', None), ('7', 'ten')]
    """
    found = []
    for match in _ENGLISH_NUMBER.finditer(text):
        if match["digits"] is None:
            found.append(_number_in_words(match))
            continue
        found.append(
            WrittenNumber(
                start=match.start(),
                end=match.end(),
                bare_end=match.end("digits"),
                value=match["digits"],
                top=match["slash"] or match["top"],
                ordinal=match["ordinal"] is not None,
                by_slash=match["slash"] is not None,
            )
        )
    return found


def _number_in_words(match: re.Match[str]) -> WrittenNumber:
    decimals = (
        "5"
        if match["half"]
        else "".join(str(_digit(word)) for word in re.split(r"[\s-]+", match["decimals"] or "") if word)
    )
    whole = str(_digit(match["whole"]))
    return WrittenNumber(
        start=match.start(),
        end=match.end(),
        bare_end=max(match.end("whole"), match.end("decimals"), match.end("half")),
        value=f"{whole}.{decimals}" if decimals else whole,
        top=match["slash"] or match["top"],
        in_words=True,
        by_slash=match["slash"] is not None,
    )


def number_value(written: str) -> float:
    """The value of a number in digits, with a decimal point or a decimal comma.

    Example:
        >>> number_value("7,5")
        7.5
    """
    return float(written.replace(",", "."))


def top_value(top: str) -> float | None:
    """The upper end of a scale, from digits or from an English word; None for any other words.

    Example:
        >>> top_value("10"), top_value("ten"), top_value("a hundred"), top_value("a possible dozen")
        (10.0, 10.0, 100.0, None)
    """
    last = top.split()[-1].lower()
    if last.isdecimal():
        return float(last)
    if last == "hundred":
        return 100.0
    return float(_digit(last)) if last in _DIGIT_WORDS else None


def _digit(word: str) -> int:
    return _DIGIT_WORDS.index(word.lower())
