"""What shows that a number which a rule has found is not the painting's score.

The functions are the conditions of the entries in `artquant_plugin.replies.exclusions`. Three functions,
`introduces_something_else`, `takes_back` and `names_something_else`, look in the same way at the surroundings of a
JSON object or of a level word, or at the keys of the object.
"""

import re

from artquant_plugin.replies import vocabulary as words
from artquant_plugin.replies.numbers import USUAL_TOPS, number_value
from artquant_plugin.replies.statements import VERB_OF_RATING, WORD_END, WORD_START, Statement


def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_NEGATOR = _pattern(rf"{WORD_START}(?:{words.NEGATORS}){WORD_END}(?:\s+[^\W\d]+){{0,4}}\s*\Z")
_EXAMPLE = _pattern(
    rf"(?:{WORD_START}(?:{words.EXAMPLE}){WORD_END}(?:,? [^\W\d]+){{0,5}}|{WORD_START}if{WORD_END}"
    rf"|{words.EXAMPLE_CJK})"
    rf"[\s,:'\"(`<{{]*\Z"
    rf"|(?:\A|\n)[^\S\n]*format:[\s'\"]*\Z"
    rf"|{WORD_START}(?:should|must|would|could|can|might|will)\b[^.!?\n]{{0,40}}\b(?:format|form"
    rf"|like)\b[^.!?\n]{{0,20}}"
    rf"[:\s'\"]*\Z"
)
_IMAGINED = _pattern(
    rf"{WORD_START}(?:{words.IMAGINED}){WORD_END}(?:[\s_-]+[^\W\d_]+)?(?:[ \t_'\"`(\[{{<>|=*-]|[:>{{]\s)*\Z"
)
_KEY_IN_FRONT = re.compile(r"(?P<key>[^\W\d][\w -]{0,60})['\"]?\s*[:=]\s*[{\[(]+\s*['\"]?\Z")
_NUMBERED = _pattern(rf"(?<!this )(?<!the )(?<!that )(?<!your )(?:{words.NUMBERED})\s*#?\s*\Z")
_LETTERED = re.compile(r"\b[B-Z]\s*[:=]\s*\Z|\sA\s*[:=]\s*\Z")  # "Score A: 7"
_LIST_NUMBER = re.compile(r"\d{1,2}[.)]\s+\S")
_ENUMERATED = re.compile(r"(?P<open>\(?)(?P<number>\d{1,2})(?P<close>[.)])\s+\S")
_ALONE_ON_LINE = re.compile(r"\d{1,2}\n(?P<next>[^\n]+)")
_HEADING_LINE = re.compile(r"\S+(?: \S+){0,2}(?<![.!?])(?=\n|\Z)|[-*•]")
_ASPECT_WORD = rf"{WORD_START}(?:{words.ASPECTS}){WORD_END}|{words.ASPECTS_CJK}"
_ASPECT = _pattern(_ASPECT_WORD)
_ASPECT_BEFORE = _pattern(
    rf"(?:{_ASPECT_WORD}|{WORD_START}(?:{words.SOME_POINTS}){WORD_END})(?:[ \t_-]{{0,2}}|\s?:\s*)\Z"
)
_ASPECT_IN_SENTENCE = _pattern(
    rf"{WORD_START}(?:for|as for|regarding|concerning|in terms of|when it comes to|judging|considering only)\s+"
    rf"(?:(?:its|the|their|his|her|pure|sheer|only)\s+){{0,2}}(?:{words.ASPECTS}){WORD_END}"
    r"(?:(?!\b(?:so|overall|total|thus|therefore|hence|final)\b)[^\d;]){0,40}\Z"
)
_ASPECT_BEHIND = _pattern(
    rf"\s+(?!on average\b)(?:in|on|for)\s+(?:(?:its|the|his|her)\s+)?(?:{words.ASPECTS}){WORD_END}"
)
_OTHERS = _pattern(rf"{WORD_START}(?:{words.OTHERS}){WORD_END}(?:\s+[^\W\d]+){{0,3}}\s*\Z")
_RATERS = rf"(?:{WORD_START}(?:{words.RATERS}|{words.SOMEBODY})(?:'s|s'|')?{WORD_END})"
_RATERS_BEFORE_LABEL = _pattern(rf"{_RATERS}[\s_-]*(?:(?:average|mean|aggregate|overall|total)[\s_-]+)?\Z")
_RATERS_BEFORE_VERB = _pattern(rf"{_RATERS}(?:\s+[^\W\d]+){{0,3}}\s*\Z")
_RATERS_BEHIND = _pattern(
    rf"[^\S\n]+(?:by|from|among|according to|in|on)\s+(?:(?:the|its|their|most|all|other)\s+)?{_RATERS}"
)
_COUNT_OF_RATINGS = _pattern(
    r"[^\S\n]*[(,]?[^\S\n]*(?:based on |from )?[\d.,]+k? (?:reviews|ratings|votes|reviewers)\b"
)
_SOMEBODY_WOULD = _pattern(rf"{WORD_START}(?:{words.SOMEBODY})(?:\s+[^\W\d]+){{0,3}}\s*\Z")
_RATERS_NAMED = _pattern(_RATERS)
_REPORTING_VERB = _pattern(rf"(?:{words.REPORTED_VERBS})\b")
_REPORT_BEFORE = _pattern(
    rf"{WORD_START}(?:according to|laut|selon|según|secondo){WORD_END}[^.;]{{0,60}}\Z"
    rf"|{WORD_START}(?:was|were|been){WORD_END}(?:\s+[^\W\d]+)?\s*\Z"
    rf"|{WORD_START}(?:some|others)\s+(?:(?:people|viewers|critics|visitors)\s+)?(?:would|might|may|could|will)\b[^.;]{{0,20}}\Z"
    r"|(?<!\bi )(?<!\bwe )\b(?:gives|gave|says|said|lists|listed|reports|reported|puts|states|claims"
    r"|holds|awarded|assigned)\b[^.;]{0,30}\Z"
    r"|\b(?:it|this|painting|picture|artwork|work)\s+(?:got|received|won|earned|obtained)\b[^.;]{0,20}\Z"
)
_CALLED_TOP = re.compile(r"\s*(?:满分|滿分|満点|만점)|\s*(?:中|중)\s*\d")
_EARLIER = _pattern(
    rf"{WORD_START}(?:{words.EARLIER}){WORD_END}(?:[\s_-]+[^\W\d_]+)?[\s_:-]*\Z"
    rf"|{WORD_START}(?:{words.FORMERLY}){WORD_END}(?:\s+[^\W\d]+){{0,3}}[\s_:,-]*\Z"
    rf"|(?:{words.EARLIER_CJK})[^\W\d]{{0,4}}[\s:]*\Z"
)
_EARLIER_BEHIND = _pattern(
    rf"[^\S\n]*\((?:{words.FORMERLY}|{words.EARLIER}|(?:struck|crossed) out|deleted|withdrawn){WORD_END}"
)
_WORKS = r"(?:works|paintings|pieces|pictures|images|ones)"
_OTHER_PAINTING = _pattern(
    rf"{WORD_START}(?:{words.OTHER_PAINTINGS}){WORD_END}|'s\s+(?:other\s+)?{_WORKS}\b|\A\s*(?:the\s+)?{_WORKS}\b"
)
_THIS_PAINTING = _pattern(
    r"(?<!like )(?<!of )(?<!to )\b(?:it|this (?:one|painting|picture|image|artwork|work|piece|canvas))\b"
)
_LEGEND_BEHIND = _pattern(
    rf"[^\S\n]*=[^\S\n]*[^\W\d]"
    rf"|[^\S\n]*[:(–—-]?[^\S\n]*(?:(?:is|are|has|have|for|the|a|an) ){{0,3}}(?:{words.LEGEND_ENDS}){WORD_END}"
    rf"|[^\S\n]+(?:and (?:above|below|up|over|higher|lower) )?(?:{words.LEGEND_VERBS}){WORD_END}"
)
# A legend gives scores as "a score of 10" or "score 10", without a colon, and says their meaning behind them.
_SCORE_WITHOUT_COLON = _pattern(r"(?:scores?|ratings?|grades?|marks?)\s+(?:of\s+)?(?:an?\s+)?[-+]?\d")
_MEANING_BEHIND = _pattern(
    r"[^\S\n]*:[^\S\n]*[^\W\d]|[^\S\n]+(?:is|are|has|have|and (?:above|below|up|over|higher|lower))\b"
)
_LEGEND_BEFORE = _pattern(r"\b(?:legend|rubric|key|guide|guidelines?)\s*[:=][^\n]*\Z")
_TOP_BEFORE = re.compile(r"\d[\s,;/(|]*\Z")
_TOP_WORD = _pattern(r"(?:total|max\w*|possible)\b")
_CONDITION_BEFORE = _pattern(rf"{WORD_START}(?:{words.CONDITIONS})(?:[^\S\n]+[^\W\d][\w',]*){{0,8}}[^\S\n]*\Z")
_CONDITION_BEHIND = _pattern(rf"\s+(?:{words.CONDITIONAL}){WORD_END}")
_POSSIBLE = _pattern(r"\b(?:could|might|may)\b")
_TEXT_ENDS = re.compile(r"[ \n.]*\Z")
_SUM_GOES_ON = _pattern(
    r"\s*(?:[+×÷→]|->|=>)\s*\(?(?:[^\W\d]+[ :]*){0,2}\d|\s*=\s*\d"
    # "8 - too dark = 6", "8, too dark: 6": a remark stands in the place of what is taken away.
    r"|[^\S\n]*(?:[-–−+,;(]|minus|plus|less)[^\d\n:=]{1,60}(?:\d[\d.,]*[^\d\n:=]{1,60})?(?:=|≈|→|->|=>)\s*\d"
    r"|[^\S\n]*[-–−+][^\S\n][^\d\n:=.;]{1,60}:\s*\d"
    r"|[\s,(]*(?:but|and|with)?[\s,]*(?:i\s+)?(?:minus|plus|less|deduct\w*|subtract\w*|tak(?:e|ing) (?:off|away)"
    r"|add(?:ing)?|lose|losing)\s+(?:only\s+)?(?:an?\s+)?(?:\d|half|point)"
)
_LIST_GOES_ON = _pattern(r"[)\]]?[^\S\n]*(?:[,|&]|and|vs\.?|versus)\s*\d|\]?[ \t]+\d")
_BOUND_BEHIND = _pattern(
    r"\s*,?\s*(?:or (?:higher|more|above|better|over|lower|less|below|so|under|fewer)|at (?:least|the most|most|best)"
    r"|and (?:above|below|up|over|higher|lower)"
    r"|or is it|or maybe|or perhaps|(?:but )?(?:leaning|tending|closer|nearer|more like))\b"
    r"|[\s,(]*(?:maybe|possibly|perhaps)\s+(?:an?\s+)?\d"
    r"|\+(?!\s*\d)|-(?=\s*(?:\Z|\n))"
)
_QUESTION_BEHIND = re.compile(r"\s*['\")\]]*\s*\?")
_THINGS_BEHIND = _pattern(rf"[^\S\n]+(?:{words.COUNTED_THINGS})\b(?!\s*:)")
_THOUSANDS = re.compile(r",\d{3}(?!\d)")
_HEADING = re.compile(r"[,;|\t]")
_FENCE = re.compile(r"\n?(?:```|~~~)?\s*json\s*\Z|```\s*\Z", re.IGNORECASE)
_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n")
_TAKES_BACK = _pattern(
    rf"[\s`.)\"']*(?:(?:is|was|would be|as|being)\s+(?:just\s+|only\s+)?(?:an?\s+|the\s+|my\s+)?"
    rf"(?:{words.EXAMPLE}){WORD_END}"
    r"|(?:is|would be) what i (?:would|could|might)|would (?:be|mean|need|indicate))"
)
_ASKS_FOR_PAINTING = _pattern(
    r"(?:please|could you|can you|kindly)\s+(?:\w+\s+){0,3}?(?:show|send|share|upload|attach|provide|give)\s+"
    r"(?:\w+\s+){0,4}?(?:painting|image|picture|artwork|photo)"
)
# What a number in a description does not rate: "three-part", "7 figures", "two of the …"
_COUNTED = _pattern(r"-|\s+(?!points\b|stars\b|marks\b)[a-z]{3,}s\b|\s+of\s+(?:the|its|his|her|these|them)\b")


def is_an_example(statement: Statement) -> bool:
    """Words in front of the number announce an example, or the form of an answer."""
    return _EXAMPLE.search(statement.before(80)) is not None


def counts_other_things(statement: Statement) -> bool:
    """A noun or a month follows the number in a reply: "7 votes", "5 May 2020"."""
    return statement.followed_by(_THINGS_BEHIND)


def is_asked(statement: Statement) -> bool:
    """A question mark follows the number."""
    return statement.followed_by(_QUESTION_BEHIND)


def is_a_bound(statement: Statement) -> bool:
    """Words behind the number make it a bound or a guess: "7 or higher", "7, maybe 8"."""
    return statement.followed_by(_BOUND_BEHIND)


def is_negated(statement: Statement) -> bool:
    """A negation stands in front of the number: "not a 7", "I cannot give a score of 7"."""
    return bool(_NEGATOR.search(statement.before(40)) or _NEGATOR.search(f"{statement.between} "))


def repeats_the_scale(statement: Statement) -> bool:
    """The number is a range from 0 or 1 to the top of a usual scale."""
    number = statement.number
    if number.upper is None or number.top is not None:
        return False
    return number_value(number.value) <= 1 and number_value(number.upper) in USUAL_TOPS


def numbers_a_painting(statement: Statement) -> bool:
    """The number, or a letter in front of it, names a painting: "the score of painting 3", "Score A: 7"."""
    inside = statement.text[statement.start : statement.number.start]
    if _LETTERED.search(inside):
        return True
    return not statement.number.has_scale_or_unit and _NUMBERED.search(inside) is not None


def numbers_a_line(statement: Statement) -> bool:
    """The number counts the lines or the points of a list that begins behind an empty label."""
    number = statement.number
    if number.has_scale_or_unit or number.has_decimals or number.upper:
        return False
    text, start = statement.text, number.start
    inside = text[statement.start : start]
    on_new_line = inside.rstrip(" (*•–-").endswith("\n")
    if on_new_line and _LIST_NUMBER.match(text, start):
        return True
    if enumerated := _ENUMERATED.match(text, start):  # "Rating: 1. Perception … 2. Cognition"
        following = rf"(?<![\d.,])\(?{int(enumerated['number']) + 1}[.)]\s"
        return re.search(following, text[enumerated.end() :]) is not None
    alone = _ALONE_ON_LINE.match(text, start)
    if not on_new_line or alone is None:
        return False
    if _ASPECT.match(alone["next"]) or (int(number.value) == 1 and _HEADING_LINE.fullmatch(alone["next"])):
        return True
    return re.search(rf"\n{int(number.value) + 1}(?:\n|[.)])", text[start:]) is not None


def is_in_a_table_with_a_header(statement: Statement) -> bool:
    """The label is the last of several column names, and the number is the first value of the next line."""
    inside = statement.text[statement.start : statement.number.start]
    if "\n" not in inside or ":" in inside:
        return False
    line = statement.text[statement.text.rfind("\n", 0, statement.start) + 1 : statement.start]
    return _HEADING.search(line.strip(" |")) is not None


def is_of_an_aspect(statement: Statement) -> bool:
    """An aspect of the painting, or the model's certainty, is named in front of the number or behind it."""
    if statement.followed_by(_ASPECT_BEHIND) or _ASPECT.search(f"{statement.between} {statement.note}"):
        return True
    if statement.rule.of_the_whole:
        return False
    in_sentence = _ASPECT_IN_SENTENCE.search(statement.sentence_before(60))
    return in_sentence is not None or _ASPECT_BEFORE.search(statement.before(40)) is not None


def is_given_by_others(statement: Statement) -> bool:
    """Others than the model give the number, or would give it."""
    return statement.rule.name.startswith(VERB_OF_RATING) and _OTHERS.search(statement.before(40)) is not None


def is_reported(statement: Statement) -> bool:
    """The number is what visitors, critics or a site gave."""
    before = statement.sentence_before()
    if (
        statement.followed_by(_RATERS_BEHIND)
        or statement.followed_by(_COUNT_OF_RATINGS)
        or _RATERS_NAMED.search(statement.note)
    ):
        return True
    if _RATERS_BEFORE_LABEL.search(before) or _REPORT_BEFORE.search(before) or _SOMEBODY_WOULD.search(before):
        return True
    return bool(_REPORTING_VERB.match(statement.words) and _RATERS_BEFORE_VERB.search(before))


def is_earlier(statement: Statement) -> bool:
    """The number is called a first impression, a draft, or what was given before."""
    return statement.followed_by(_EARLIER_BEHIND) or _EARLIER.search(statement.sentence_before(60)) is not None


def is_of_another_painting(statement: Statement) -> bool:
    """The sentence is about other paintings, and does not come back to this one in front of the number."""
    return _speaks_of_other_paintings(f"{statement.sentence_before()} {statement.between} {statement.note}")


def is_in_a_legend(statement: Statement) -> bool:
    """Words behind the number say what such a score means, or the sentence is a legend."""
    if statement.followed_by(_LEGEND_BEHIND) or _LEGEND_BEFORE.search(statement.sentence_before()):
        return True
    return _SCORE_WITHOUT_COLON.match(statement.words) is not None and statement.followed_by(_MEANING_BEHIND)


def is_the_top_of_the_scale(statement: Statement) -> bool:
    """The number is called the top of the scale, or stands as the total behind a score: "8 / Total: 10"."""
    if statement.followed_by(_CALLED_TOP):
        return True
    return bool(
        number_value(statement.number.value) in USUAL_TOPS
        and _TOP_WORD.match(statement.words)
        and _TOP_BEFORE.search(statement.before(12))
    )


def is_of_an_imagined_painting(statement: Statement) -> bool:
    """Words in front of the number, or a remark on it, say that it rates a painting that the model imagines."""
    note = statement.note.strip()
    return _IMAGINED.search(statement.before(60)) is not None or _IMAGINED.fullmatch(note) is not None


def stands_under_another_key(statement: Statement) -> bool:
    """The number stands in braces behind a key that does not name the answer: ``{'alternative': {'score': 4}}``."""
    key = _KEY_IN_FRONT.search(statement.before(80))
    return key is not None and not names_the_answer(key["key"])


def is_money_a_power_or_a_probability(statement: Statement) -> bool:
    """The number is a price, the base of a power, or part of an event whose probability is given: "P(score=7)"."""
    number = statement.number
    if statement.before(2).endswith("P("):
        return True
    is_price = statement.text[number.start - 1 : number.start] in ("$", "€", "£", "¥")
    return is_price or statement.text.startswith("^", number.end)


def has_a_condition(statement: Statement) -> bool:
    """The number holds under a condition, or is called possible."""
    return bool(
        _CONDITION_BEFORE.search(statement.before(80))
        or statement.followed_by(_CONDITION_BEHIND)
        or _POSSIBLE.search(statement.words)
    )


def is_cut_off(statement: Statement) -> bool:
    """The text ends behind the number within a JSON object, so that more digits may have followed."""
    in_object = statement.text.find("{", 0, statement.start) >= 0 and statement.before(1) in ("'", '"')
    return in_object and statement.followed_by(_TEXT_ENDS)


def is_a_term(statement: Statement) -> bool:
    """The words behind the number add something to it or take something away, or an arrow leads to another number."""
    return _SUM_GOES_ON.match(statement.text, statement.end) is not None


def begins_a_list(statement: Statement) -> bool:
    """More numbers follow the number, which has no scale of its own: "8/10, 2 things are good" is no list."""
    stands_alone = statement.rule.fallback or statement.number.top
    return not stands_alone and statement.followed_by(_LIST_GOES_ON)


def has_a_comma_in_square_brackets(statement: Statement) -> bool:
    """The number stands in square brackets and has a comma: "[7,5]" may be 7.5 or a list of two numbers."""
    number = statement.number
    in_brackets = statement.text[number.start - 1 : number.start] == "[" and statement.text.startswith(
        "]", number.bare_end
    )
    return in_brackets and "," in number.value


def has_a_comma_before_three_digits(statement: Statement) -> bool:
    """The number has a comma before three digits: "1,000" may have three decimals or mean a thousand."""
    return any(_THOUSANDS.search(end or "") for end in (statement.number.value, statement.number.upper))


def descends(statement: Statement) -> bool:
    """The number is a range whose upper end is not above the lower one."""
    number = statement.number
    return number.upper is not None and number_value(number.upper) <= number_value(number.value)


def counts_things(statement: Statement) -> bool:
    """A noun in the plural follows the number in a description, which the number may count."""
    return not statement.rule.before_plural and statement.followed_by(_COUNTED)


def _speaks_of_other_paintings(sentence: str) -> bool:
    """Whether a sentence is about other paintings and does not mention this painting after them."""
    mentions = [mention.end() for mention in _OTHER_PAINTING.finditer(sentence)]
    return bool(mentions) and _THIS_PAINTING.search(sentence, mentions[-1]) is None


def introduces_something_else(before: str) -> bool:
    """Whether a text ends with words that announce another score than the painting's, or an example.

    Args:
        before: what stands in front of a score, as `artquant_plugin.replies.text.plain` has simplified it.

    Example:
        >>> introduces_something_else("The answer should have this format: ")
        True
        >>> introduces_something_else("Here is my answer: ")
        False
    """
    before = _FENCE.sub("", before)
    sentence = _SENTENCES.split(before.rstrip())[-1]
    announced = (
        _EXAMPLE,
        _IMAGINED,
        _ASPECT_BEFORE,
        _ASPECT_IN_SENTENCE,
        _EARLIER,
        _RATERS_BEFORE_LABEL,
        _REPORT_BEFORE,
    )
    without_colon = f"{sentence.rstrip(' :')} "
    return _speaks_of_other_paintings(without_colon) or any(
        pattern.search(text) for pattern in announced for text in (without_colon, before)
    )


def takes_back(behind: str) -> bool:
    """Whether the words behind a score say that it was an example, or ask for a painting to be rated.

    Example:
        >>> takes_back(" is an example."), takes_back(" is my answer.")
        (True, False)
    """
    return _TAKES_BACK.match(behind) is not None or _ASKS_FOR_PAINTING.search(behind) is not None


def names_something_else(name: str) -> bool:
    """Whether a name is that of an aspect, a rater, an example, a draft, or another or an imagined painting.

    Args:
        name: the value of a key such as ``type``, or a key itself with its words apart.

    Example:
        >>> names_something_else("visitors"), names_something_else("result")
        (True, False)
    """
    return any(
        pattern.search(f"{name} ")
        for pattern in (_ASPECT, _RATERS_BEFORE_LABEL, _EARLIER, _EXAMPLE, _OTHER_PAINTING, _IMAGINED)
    )


def names_the_answer(key: str) -> bool:
    """Whether the name of an object says that a score within it is the answer about the painting.

    Any other name may be that of another painting, of a condition or of a rater, which no list of names exhausts.

    Args:
        key: a key of an object, in any spelling of its words ("thisPainting", "final-result").

    Example:
        >>> names_the_answer("finalResult"), names_the_answer("mona_lisa"), names_the_answer("painting_2")
        (True, False, False)
    """
    parts = key_words(key)
    return bool(parts) and all(part in words.ANSWER_KEYS for part in parts)


_WORDS_OF_KEY = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+")


def key_words(key: str) -> list[str]:
    """The words of a key in lower case, of its first 60 characters.

    Example:
        >>> key_words("finalScore_2")
        ['final', 'score', '2']
    """
    return [part.lower() for part in _WORDS_OF_KEY.findall(key[:60])]
