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

Effect = Literal["dropped", "of something else", "yields", "malformed", "ambiguous"]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One reason why a number in the surroundings of a score is not the score.

    Args:
        name: the reason in a few words.
        effect: what it does. ``dropped``: the number is no score. ``of something else``: it scores an aspect of
            the painting, another painting, or is somebody else's; a reply with such scores alone is ambiguous. ``yields``: it counts only in a reply without any
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
_EXAMPLE = _pattern(
    rf"(?:{WORD_START}(?:{words.EXAMPLE}){WORD_END}(?:,? [^\W\d]+){{0,5}}|{WORD_START}if{WORD_END}|{words.EXAMPLE_CJK})"
    rf"[\s,:'\"(`<{{]*\Z"
    rf"|(?:\A|\n)[^\S\n]*format:[\s'\"]*\Z"
    rf"|{WORD_START}(?:should|must|would|could|can|might|will)\b[^.!?\n]{{0,40}}\b(?:format|form|like)\b[^.!?\n]{{0,20}}"
    rf"[:\s'\"]*\Z"
)
_NUMBERED = _pattern(rf"(?<!this )(?<!the )(?<!that )(?<!your )(?:{words.NUMBERED})\s*#?\s*\Z")
_LIST_NUMBER = re.compile(r"\d{1,2}[.)]\s+\S")
_ENUMERATED = re.compile(r"(?P<open>\(?)(?P<number>\d{1,2})(?P<close>[.)])\s+\S")
_ALONE_ON_LINE = re.compile(r"\d{1,2}\n(?P<next>\S+)")
_ASPECT_WORD = rf"{WORD_START}(?:{words.ASPECTS}){WORD_END}|{words.ASPECTS_CJK}"
_ASPECT = _pattern(_ASPECT_WORD)
_ASPECT_BEFORE = _pattern(
    rf"(?:{_ASPECT_WORD}|{WORD_START}(?:{words.SOME_POINTS}){WORD_END})(?:[ \t_-]{{0,2}}|\s?:\s*)\Z"
)
_ASPECT_IN_SENTENCE = _pattern(
    rf"{WORD_START}(?:for|as for|regarding|concerning|in terms of|when it comes to|judging|considering only)\s+"
    rf"(?:(?:its|the|their|his|her|pure|sheer|only)\s+){{0,2}}(?:{words.ASPECTS}){WORD_END}[^\d;]{{0,40}}\Z"
)
_ASPECT_BEHIND = _pattern(rf"\s+(?:in|on|for)\s+(?:(?:its|the|his|her)\s+)?(?:{words.ASPECTS}){WORD_END}")
_OTHERS = _pattern(rf"{WORD_START}(?:{words.OTHERS}){WORD_END}(?:\s+[^\W\d]+){{0,3}}\s*\Z")
_RATERS = rf"(?:{WORD_START}(?:{words.RATERS})(?:'s|s'|')?{WORD_END})"
_RATERS_BEFORE_LABEL = _pattern(rf"{_RATERS}[\s_-]*(?:(?:average|mean|aggregate|overall|total)[\s_-]+)?\Z")
_RATERS_BEFORE_VERB = _pattern(rf"{_RATERS}(?:\s+[^\W\d]+){{0,3}}\s*\Z")
_RATERS_BEHIND = _pattern(
    rf"[^\S\n]+(?:by|from|among|according to|in)\s+(?:(?:the|its|their|most|all|other)\s+)?{_RATERS}"
)
_RATERS_NAMED = _pattern(_RATERS)
_REPORTED = _pattern(rf"(?:{words.REPORTED_VERBS})\b")
_REPORT = _pattern(
    rf"{WORD_START}(?:according to|laut|selon|según|secondo){WORD_END}[^.;]{{0,60}}\Z"
    rf"|{WORD_START}(?:was|were|been){WORD_END}(?:\s+[^\W\d]+)?\s*\Z"
)
_CALLED_TOP = re.compile(r"\s*(?:满分|滿分|満点|만점)|\s*(?:中|중)\s*\d")
_EARLIER = _pattern(
    rf"(?:{WORD_START}(?:{words.EARLIER}){WORD_END}|最初|初始|初步|之前|先前|처음)(?:\s+[^\W\d]+){{0,3}}[\s_:,-]*\Z"
)
_OTHER_PAINTING = _pattern(
    rf"{WORD_START}(?:{words.OTHER_PAINTINGS}){WORD_END}|\A\s*(?:the\s+)?(?:works|paintings|pieces|pictures|images|ones)\b"
)
_LEGEND_BEHIND = _pattern(
    rf"[^\S\n]*=[^\S\n]*[^\W\d]"
    rf"|[^\S\n]*[:(–—-]?[^\S\n]*(?:(?:is|are|has|have|for|the|a|an) ){{0,3}}(?:{words.LEGEND_ENDS}){WORD_END}"
    rf"|[^\S\n]+(?:and (?:above|below|up|over|higher|lower) )?(?:{words.LEGEND_VERBS}){WORD_END}"
)
_INDEFINITE = _pattern(r"(?:scores?|ratings?|grades?|marks?)\s+(?:of\s+)?(?:an?\s+)?[-+]?\d")
_SAYS_OF_IT = _pattern(
    r"[^\S\n]*:[^\S\n]*[^\W\d]|[^\S\n]+(?:is|are|has|have|and (?:above|below|up|over|higher|lower))\b"
)
_LEGEND_BEFORE = _pattern(r"\b(?:legend|rubric|key|guide|guidelines?)\s*[:=][^\n]*\Z")
_TOP_BEFORE = re.compile(r"\d[\s,;/(|]*\Z")
_TOP_WORD = _pattern(r"(?:total|max\w*|possible)\b")
_CONDITION_BEFORE = _pattern(rf"{WORD_START}(?:{words.CONDITIONS})(?:[^\S\n]+[^\W\d][\w',]*){{0,8}}[^\S\n]*\Z")
_CONDITION_BEHIND = _pattern(rf"\s+(?:{words.CONDITIONAL}){WORD_END}")
_TEXT_ENDS = re.compile(r"[ \n.]*\Z")
_SUM_GOES_ON = _pattern(
    r"\s*(?:[+×÷→]|->|=>)\s*\(?\d|\s*=\s*\d"
    r"|[\s,(]*(?:but|and|with)?[\s,]*(?:i\s+)?(?:minus|plus|less|deduct\w*|subtract\w*|tak(?:e|ing) (?:off|away)|add(?:ing)?|lose|losing)\s+"
    r"(?:only\s+)?(?:an?\s+)?(?:\d|half|point)"
)
_LIST_GOES_ON = _pattern(r"[^\S\n]*(?:[,|&]|and|vs\.?|versus)\s*\d|[ \t]+\d")
_BOUND_BEHIND = _pattern(
    r"\s*,?\s*(?:or (?:higher|more|above|better|over|lower|less|below|so|under|fewer)|at (?:least|the most|most|best)|and (?:above|below|up|over|higher|lower)"
    r"|or is it|or maybe|or perhaps)\b"
)
_QUESTION_BEHIND = re.compile(r"\s*['\")\]]*\s*\?")
_THINGS_BEHIND = _pattern(rf"[^\S\n]+(?:{words.COUNTED_THINGS})\b(?!\s*:)")
_THOUSANDS = re.compile(r",\d{3}(?!\d)")
_HEADING = re.compile(r"[,;|\t]")
_FENCE = re.compile(r"\n?(?:```|~~~)?\s*json\s*\Z|```\s*\Z", re.IGNORECASE)
_LINES = re.compile(r"(?<=[.!?;])\s+|\n")
_TAKES_BACK = _pattern(
    rf"[\s`.)\"']*(?:(?:is|was|would be|as|being)\s+(?:just\s+|only\s+)?(?:an?\s+|the\s+|my\s+)?(?:{words.EXAMPLE}){WORD_END}"
    r"|(?:is|would be) what i (?:would|could|might)|would (?:be|mean|need|indicate))"
)
_ASKS_FOR_PAINTING = _pattern(
    r"(?:please|could you|can you|kindly)\s+(?:\w+\s+){0,3}?(?:show|send|share|upload|attach|provide|give)\s+(?:\w+\s+){0,4}?(?:painting|image|picture|artwork|photo)"
)
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
    number = statement.number
    if number.has_scale_or_unit or number.has_decimals or number.upper:
        return False
    text, start = statement.text, number.start
    inside = text[statement.start : start]
    on_new_line = inside.rstrip(" (").endswith("\n")
    if on_new_line and _LIST_NUMBER.match(text, start):
        return True
    if enumerated := _ENUMERATED.match(text, start):  # "Rating: 1. Perception … 2. Cognition"
        following = rf"(?<![\d.,])\(?{int(enumerated['number']) + 1}[.)]\s"
        return re.search(following, text[enumerated.end() :]) is not None
    alone = _ALONE_ON_LINE.match(text, start)
    if not on_new_line or alone is None:
        return False
    following = rf"\n{int(number.value) + 1}(?:\n|[.)])"
    return int(number.value) == 1 or _ASPECT.match(alone["next"]) is not None or following_line(text, start, following)


def following_line(text: str, start: int, pattern: str) -> bool:
    """Whether a pattern matches anywhere behind a place of a text."""
    return re.search(pattern, text[start:]) is not None


def _is_in_a_table_with_a_header(statement: Statement) -> bool:
    inside = statement.text[statement.start : statement.number.start]
    if "\n" not in inside or ":" in inside:
        return False
    line = statement.text[statement.text.rfind("\n", 0, statement.start) + 1 : statement.start]
    return _HEADING.search(line.strip(" |")) is not None


def _is_of_an_aspect(statement: Statement) -> bool:
    return bool(
        _ASPECT_BEFORE.search(statement.before(40))
        or (not statement.rule.of_the_whole and _ASPECT_IN_SENTENCE.search(statement.sentence_before(60)))
        or _ASPECT.search(f"{statement.between} {statement.note}")
        or statement.followed_by(_ASPECT_BEHIND)
    )


def _is_given_by_others(statement: Statement) -> bool:
    return statement.rule.name.startswith(VERB_OF_RATING) and _OTHERS.search(statement.before(40)) is not None


def _is_reported(statement: Statement) -> bool:
    before = statement.sentence_before()
    if statement.followed_by(_RATERS_BEHIND) or _RATERS_NAMED.search(statement.note):
        return True
    if _RATERS_BEFORE_LABEL.search(before) or _REPORT.search(before):
        return True
    return bool(_REPORTED.match(statement.words) and _RATERS_BEFORE_VERB.search(before))


def _is_earlier(statement: Statement) -> bool:
    return _EARLIER.search(statement.sentence_before(60)) is not None


def _is_of_another_painting(statement: Statement) -> bool:
    return bool(
        _OTHER_PAINTING.search(statement.sentence_before())
        or _OTHER_PAINTING.search(f"{statement.between} {statement.note}")
    )


def _is_in_a_legend(statement: Statement) -> bool:
    if statement.followed_by(_LEGEND_BEHIND) or _LEGEND_BEFORE.search(statement.sentence_before()):
        return True
    return _INDEFINITE.match(statement.words) is not None and statement.followed_by(_SAYS_OF_IT)


def _is_the_top_of_the_scale(statement: Statement) -> bool:
    if statement.followed_by(_CALLED_TOP):
        return True
    return bool(
        number_value(statement.number.value) in USUAL_TOPS
        and _TOP_WORD.match(statement.words)
        and _TOP_BEFORE.search(statement.before(12))
    )


def _is_money_or_a_power(statement: Statement) -> bool:
    number = statement.number
    return statement.text[number.start - 1 : number.start] in ("$", "€", "£", "¥") or statement.text.startswith(
        "^", number.end
    )


def _has_a_condition(statement: Statement) -> bool:
    return bool(_CONDITION_BEFORE.search(statement.before(80)) or statement.followed_by(_CONDITION_BEHIND))


def _is_cut_off(statement: Statement) -> bool:
    in_object = statement.text.find("{", 0, statement.start) >= 0 and statement.before(1) in ("'", '"')
    return in_object and statement.followed_by(_TEXT_ENDS)


def _is_a_term(statement: Statement) -> bool:
    return _SUM_GOES_ON.match(statement.text, statement.end) is not None


def _begins_a_list(statement: Statement) -> bool:
    return not (statement.rule.fallback or statement.number.top) and statement.followed_by(
        _LIST_GOES_ON
    )  # not "8/10, 2 things are good"


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
        "of something else",
        _before(_EXAMPLE, 80),
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
        "a score that was reported from others",
        "of something else",
        _is_reported,
        (
            "Visitor rating: 9.2",
            "The critics' score is 9",
            "critics rated it 9.",
            "a rating of 9 by visitors",
            "According to the museum, the rating is 9",
        ),
        (
            "My rating: 9.2",
            "Most people would give it a 7.",
        ),
    ),
    Exclusion(
        "an earlier score",
        "of something else",
        _is_earlier,
        (
            "Initial score: 5",
            "My first impression was a score of 5",
            "initial_score: 5",
            "Earlier I gave it a 5.",
        ),
        ("Final score: 5",),
    ),
    Exclusion(
        "another painting's score",
        "of something else",
        _is_of_another_painting,
        (
            "Similar paintings get a score of 6",
            "Works like it usually receive scores around 5",
            "Painting 2: score: 4",
        ),
        ("This painting gets a score of 6",),
    ),
    Exclusion(
        "what a number means",
        "of something else",
        _is_in_a_legend,
        (
            "Score 0 = worst",
            "a score of 10 is a masterpiece",
            "Score: 0 (worst)",
            "Score 10: masterpiece",
            "Legend: a score of 8, good",
        ),
        (
            "Score: 7 (good)",
            "The score is 7",
        ),
    ),
    Exclusion(
        "the top of the scale behind the score",
        "dropped",
        _is_the_top_of_the_scale,
        (
            "8, total: 10",
            "評価は10点満点",
        ),
        ("Total: 10",),
    ),
    Exclusion(
        "a column of a table with a header",
        "dropped",
        _is_in_a_table_with_a_header,
        (
            "composition,score\n8",
            "Colour; Line; Score\n8",
        ),
        (
            "My verdict, score: 8",
            "Score\n8",
        ),
    ),
    Exclusion(
        "a number of things, or a date",
        "dropped",
        lambda statement: statement.followed_by(_THINGS_BEHIND),
        (
            "Score: 7 votes",
            "Rating: 5 May 2020",
            "Score: 7 cm",
        ),
        (
            "Score: 7 of 10",
            "Score: 7 points",
        ),
    ),
    Exclusion(
        "a question",
        "dropped",
        lambda statement: statement.followed_by(_QUESTION_BEHIND),
        ("Should the score be 8?",),
        ("The score is 8.",),
    ),
    Exclusion(
        "an amount of money, or a power",
        "dropped",
        _is_money_or_a_power,
        (
            "I rated it $7",
            "Score: 10^2",
        ),
        ("Score: 7",),
    ),
    Exclusion(
        "one aspect's score",
        "of something else",
        _is_of_an_aspect,
        ("Composition score: 8", "I give the composition 8.", "The painting scores 7 in composition", "构图评分:8"),
        ("Overall score: 8", "I give the painting 8."),
    ),
    Exclusion(
        "somebody else's score",
        "yields",
        _is_given_by_others,
        ("Other people might give it a 9.", "Most people would give it a 7."),
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
        (
            "Score: 5 + 2",
            "Score: 8, minus 1 for the drawing",
            "I rate it 8, plus 0.5",
            "Score: 8 → 7",
            "8/10 (good) → 7",
        ),
        ("Score: 5", "Score: 5+"),
        detail="{} is one part of what follows",
    ),
    Exclusion(
        "the first of a list",
        "ambiguous",
        _begins_a_list,
        ("Scores: 7, 8", "Score: 7 and 8", "Score | 7 | 8"),
        ("Score: 7, good", "8/10, 2 things are good"),
        detail="{} and more numbers",
    ),
    Exclusion(
        "a bound",
        "ambiguous",
        lambda statement: statement.followed_by(_BOUND_BEHIND),
        (
            "Score: 7 or higher",
            "Score: 7 at most",
            "Score: 8 or so",
        ),
        (
            "Score: 7 or 8",
            "Score: 7",
        ),
        detail="{} is a bound, or a guess",
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


def introduces_something_else(before: str) -> bool:
    """Whether a text ends with words that announce another score than the painting's, or an example.

    Args:
        before: what stands in front of a score, as `artquant_plugin.replies.text.plain` has simplified it.

    Example:
        >>> introduces_something_else("The answer should have this format: "), introduces_something_else("Format: JSON. ")
        (True, False)
    """
    before = _FENCE.sub("", before)
    sentence = _LINES.split(before.rstrip())[-1]
    return any(
        pattern.search(text)
        for pattern in (
            _EXAMPLE,
            _ASPECT_BEFORE,
            _ASPECT_IN_SENTENCE,
            _EARLIER,
            _RATERS_BEFORE_LABEL,
            _OTHER_PAINTING,
            _REPORT,
        )
        for text in (sentence.rstrip(" :") + " ", before)
        if pattern is not _OTHER_PAINTING or text is not before
    )


def takes_back(behind: str) -> bool:
    """Whether the words behind a score say that it was an example, or ask for a painting to be rated.

    Example:
        >>> takes_back(" is an example."), takes_back(" is my answer.")
        (True, False)
    """
    return _TAKES_BACK.match(behind) is not None or _ASKS_FOR_PAINTING.search(behind) is not None


def names_something_else(name: str) -> bool:
    """Whether a name, such as a key of a JSON object, is that of an aspect, of a rater, of an example or of a draft.

    Example:
        >>> names_something_else("visitors"), names_something_else("result")
        (True, False)
    """
    return any(
        pattern.search(f"{name} ") for pattern in (_ASPECT, _RATERS_BEFORE_LABEL, _EARLIER, _EXAMPLE, _OTHER_PAINTING)
    )
