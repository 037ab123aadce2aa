"""The ways in which a text tells a score, as one table of rules.

A rule describes the surroundings of a number that make it a score: "Score: 7", "I'd give it a 7", "in the 83rd
percentile". Two readers use the table: `artquant_plugin.replies.prose` reads the score out of a model's reply, and
`artquant_plugin.train.rad.leaks` makes sure that a description of a painting tells none. A rule says which of them it
is for. A reply may be in any language. Since it was asked for a score, words that only may name one are enough for a
rule. A description is English prose about a painting, in which most numbers count what is painted, so that the rules
for descriptions are narrower.

Every rule has examples, which a test runs. The reasons why a number that a rule has found does not count ("not", "for
example") are the table in `artquant_plugin.replies.exclusions`.
"""

import re

from artquant_plugin.replies import conditions
from artquant_plugin.replies import vocabulary as words
from artquant_plugin.replies.numbers import NUMBER
from artquant_plugin.replies.statements import VERB_OF_RATING, WORD_END, WORD_START, Reader, Rule

# Pieces of patterns.

# The end of a link: a number begins here, and not in the middle of a longer one.
_NUMBER_NEXT = r"(?<![\d.,/])(?=[-+]?\d)"
_NOTE = r"(?:\s*[(\[](?P<note>[^()\[\]\n]{1,40})[)\]])?"
# A scale in front of a colon: "Score out of 10:", "Rating on a 1-10 scale:".
_SCALE_BEFORE_COLON = (
    rf"(?:[^\d\n:=.!?]{{0,25}}?(?:(?P<low>{NUMBER})(?:{words.TO}))?(?P<high>\d+)[^\d\n:=.!?]{{0,12}}(?=[:=]))?"
)
_WORD_NEXT = r"(?=(?:zero|one|two|three|four|five|six|seven|eight|nine|ten)\b)"
_LABEL_LINK_START = (
    rf"[\"')\]>]*{_NOTE}(?:\s+(?:{words.OBJECT})){{0,8}}{_SCALE_BEFORE_COLON}\s*(?:(?:{words.CONNECTORS})\s*){{0,3}}"
    rf"[\"'(\[★☆⭐ ]*(?:(?:{words.ABOUT})\s*){{0,2}}"
)
_LABEL_LINK = re.compile(_LABEL_LINK_START + _NUMBER_NEXT, re.IGNORECASE)
_REMARK = r"(?:\s*[(\[,:–—-]\s*[^\W\d]{2,20}(?: [^\W\d]{2,20})?)?[\s\"')\]|.,;!]*"  # "7.5 (good)"
_REMARK_ON_LINE = r"(?:[ ]?\([^()\n]{1,40}\))?[ \"')\]|.,;!]*"
# Between a word of rating and its number in English: "a rating of about 7", "scored only a 6".
_ENGLISH_LINK = (
    r"(?:[\s:=]+(?:of|a|an|at|is|was|as|about|around|roughly|nearly|almost|approximately|only|just|by|with|to|the))*"
    r"[\s:=]+"
)


def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


RULES = (
    Rule(
        "a word for a score",
        ("reply", "description"),
        {
            "Score: 7.5/10": 7.5,
            "the rating for this painting is about 7": 7,
            "Score (1-10): 7": 7,
            "Rating out of 10: 6": 6,
            "Bewertung: 7,5": 7.5,
            "评分:8": 8,
        },
        ("Score: seven", "It was painted in 1889.", "The score reflects a 19th-century work"),
        cue=_pattern(rf"{WORD_START}(?:{words.LABELS}){WORD_END}|{words.LABELS_CJK}"),
        link=_LABEL_LINK,
        condition=conditions.in_digits,
    ),
    Rule(
        "a word that may name a score, where the number ends the clause or has a scale",
        ("reply",),
        {"Note : 7,5/10": 7.5, "Overall: 7": 7, "Verdict: 8.": 8},
        ("Note: 3 boats in the harbour",),
        cue=_pattern(rf"{WORD_START}(?:{words.WEAK_LABELS}){WORD_END}"),
        link=_LABEL_LINK,
        condition=conditions.counts_nothing_else,
    ),
    Rule(
        VERB_OF_RATING,
        ("reply",),
        {"I would rate this painting a 7.5 out of 10.": 7.5, "I'd give it a solid 8.": 8, "Le daría un 7.": 7},
        ("I give 2 reasons: colour and line.", "I'd give it at least 7", "They gave up. 7"),
        cue=_pattern(rf"{WORD_START}(?:{words.VERBS}){WORD_END}"),
        link=_pattern(rf"(?P<between>[^\d\n.!?;:]{{0,40}}?){_NUMBER_NEXT}"),
        condition=conditions.counts_nothing_else,
    ),
    Rule(
        "a word for a score, and a number in words",
        ("reply",),
        {"Score: ten": 10, "a rating of seven out of ten": 7, "Score: seven point five": 7.5},
        ("Score: one of the best", "The score of seven singers", "Score: 7"),
        cue=_pattern(rf"{WORD_START}(?:{words.LABELS}){WORD_END}"),
        link=re.compile(_LABEL_LINK_START + _WORD_NEXT, re.IGNORECASE),
        condition=conditions.counts_nothing_else_in_words,
    ),
    Rule(
        f"{VERB_OF_RATING}, and a number in words",
        ("reply",),
        {"I'd give it a seven.": 7, "I rate this painting seven out of ten": 7},
        ("I rate two of them.", "They gave it four stars and left", "I'd give it a 7."),
        cue=_pattern(rf"{WORD_START}(?:{words.VERBS}){WORD_END}"),
        link=_pattern(rf"(?P<between>[^\d\n.!?;:]{{0,40}}?)(?<![^\W\d_]){_WORD_NEXT}"),
        condition=conditions.counts_nothing_else_in_words,
    ),
    Rule(
        "the painting is a number",
        ("reply",),
        {
            "It's a 7.": 7,
            "This painting is a solid 6.5.": 6.5,
            "That's an 8 for me.": 8,
            "It is a seven out of ten.": 7,
        },
        ("It's a 7 metre wide canvas.", "This is 7.", "This is a 4 in oil."),
        cue=_pattern(
            r"\b(?:it|this|that|(?:this|the) (?:painting|picture|image|artwork|work|piece))"
            r"(?:'s|\s+(?:is|gets|earns|deserves|would be|comes out (?:as|at)))"
        ),
        link=_pattern(
            rf"\s+(?:(?:definitely|clearly|easily|probably|about|around|only|just|for me)\s+){{0,2}}an?\s+"
            rf"(?:(?:solid|strong|weak|good|firm|low|high|respectable|clear|modest|decent)\s+)?(?:{_NUMBER_NEXT}|{_WORD_NEXT})"
        ),
        behind=_pattern(r"(?!\s+in\s+(?!my\b))"),
        condition=conditions.counts_nothing_else,
    ),
    Rule(
        "a number for the whole",
        ("reply",),
        {"9 for colour, 7 overall": 7, "so 7.5 all in all": 7.5, "that makes an 8 altogether": 8},
        ("ranked 3 overall", "7 boats overall"),
        cue=_pattern(r"(?:\b(?:so|and|but|an?|is|as|at)(?=\s)|[,:(\n–—]|\A)\s*"),
        of_the_whole=True,
        behind=_pattern(
            r"[^\S\n]+(?:overall|in total|altogether|all in all|in all|as a whole|insgesamt)\b(?!\s*[:=]|\s+[^\W\d])"
        ),
    ),
    Rule(
        "what comes out when points are added or taken away",
        ("reply",),
        {"I rate it 8, minus 1 for composition, so 7": 7, "8 plus 0.5 for the frame, which makes 8.5.": 8.5},
        ("There are 8 boats, so 7 more came.", "minus 1 for composition"),
        cue=_pattern(
            r"\b(?:minus|plus|less|deduct\w*|subtract\w*|add\w*|tak(?:e|ing) (?:off|away)|los(?:e|ing))\b"
            r"(?:[^.\n;]|\.(?=\d)){0,60}?\b(?:so|thus|hence|therefore|makes?|making|leaves?|leaving|gives?|giving"
            r"|equals?|totals?|comes? to|lands? at)\b"
        ),
        of_the_whole=True,
        link=_pattern(rf"[\s,:]*(?:(?:it|me|us|with|at|of|to|an?|is)\s+){{0,3}}{_NUMBER_NEXT}"),
        condition=conditions.counts_nothing_else,
    ),
    Rule(
        "a Chinese verb of rating, with points or a scale",
        ("reply",),
        {"我给这幅画打7分。": 7, "给8/10": 8},
        ("给我3幅画",),
        cue=re.compile(words.VERBS_CJK),
        link=re.compile(rf"(?P<between>[^\d\n。!?.]{{0,16}}?){_NUMBER_NEXT}"),
        condition=conditions.in_cjk_points_or_of_a_scale,
    ),
    Rule(
        "points, and a Japanese or Korean verb behind them",
        ("reply",),
        {"これは7.5点です": 7.5, "이 그림에 8점을 주겠습니다.": 8},
        ("7点の絵",),
        behind=re.compile(words.CLOSINGS_CJK),
        condition=conditions.ends_in_cjk_points,
    ),
    Rule(
        "a scale that is called so, in the same sentence",
        ("reply",),
        {"On a scale of 1 to 10, I'd give 7": 7, "满分10分，我给7分": 7, "Out of 10, a 6.": 6},
        ("On a scale of 1 to 10.", "On a scale of 1 to 10 there are 3 boats"),
        cue=_pattern(
            rf"(?:{words.SCALE})[^\d\n.!?]{{0,15}}?(?<![\d.,])(?:(?P<low>{NUMBER})(?:{words.TO}))?(?P<high>\d+)"
        ),
        link=_pattern(rf"(?P<between>[^\d\n.!?。]{{0,80}}?){_NUMBER_NEXT}"),
        condition=conditions.counts_nothing_else,
    ),
    Rule(
        "the end of a scale that is called so behind its number, in the same sentence",
        ("reply",),
        {"この絵は10点満点中8点です": 8, "この作品は10点中7点": 7, "10점 만점에 8점": 8},
        ("10点の絵は8点",),
        cue=re.compile(r"(?<![\d.,])(?P<high>\d+)[分点點점]?\s*(?:满分|滿分|満点|만점|中|중)"),
        link=re.compile(rf"(?P<between>[^\d\n.!?。]{{0,80}}?){_NUMBER_NEXT}"),
        condition=conditions.counts_nothing_else,
    ),
    Rule(
        "a box, as in mathematical answers",
        ("reply",),
        {r"The final answer is $\boxed{7.5}$.": 7.5, r"\boxed{\text{8}}": 8},
        (r"\boxed{good}",),
        cue=_pattern(r"\\boxed\{\s*(?:\\text\{)?\s*"),
    ),
    Rule(
        "nothing but the number, with a remark at most",
        ("reply",),
        {"7": 7, "8/10.": 8, "7.5 (good)": 7.5},
        ("7 boats on a river",),
        cue=re.compile(r"\A[\s\"'(\[|]*"),
        behind=re.compile(rf"{_REMARK}\Z"),
        fallback=True,
    ),
    Rule(
        "the only number, alone on the first line, and a reason behind it",
        ("reply",),
        {"7\nThe light is very calm.": 7, "7.5\nReason: warm colours": 7.5},
        (
            "1\nThe light is very calm.",
            "7\nColour that is very calm",
            "7\nThe 2 boats are very calm.",
            "7\nColour\nLine",
            "Tall as 7\nThe light is very calm.",
        ),
        cue=re.compile(r"\A[\s\"'(\[|]*(?!1\n)"),  # "1" may number the lines
        behind=_pattern(
            rf"{_REMARK_ON_LINE}\n(?!(?:{words.ASPECTS})\b|{words.ASPECTS_CJK})"
            r"(?:(?:explanation|reason|reasoning|rationale|justification)\b|[^\W\d]\S*(?: \S+){3})"
        ),
        condition=conditions.is_the_only_number,
        fallback=True,
    ),
    Rule(
        "the only fraction, on a line of its own",
        ("reply",),
        {"The colours are warm.\n7/10\nIt is calm.": 7},
        ("The colours are warm.\n7\nIt is calm.", "8/10\n\n6/10 for colour"),
        cue=re.compile(r"^[ \"'(\[|]*", re.MULTILINE),
        behind=re.compile(rf"{_REMARK}$", re.MULTILINE),
        condition=conditions.is_the_only_fraction,
        fallback=True,
    ),
    Rule(
        "the only fraction, at the beginning of the reply",
        ("reply",),
        {"7/10 — lovely colours": 7, "8/10. It is calm.": 8},
        ("10/10 would hang in my room", "8/10, with 6/10 for colour"),
        cue=re.compile(r"\A[\s\"'(\[|]*"),
        behind=re.compile(rf"(?=\s*[–—:;,.(-]){_REMARK}"),
        condition=conditions.is_the_only_fraction,
        fallback=True,
    ),
    Rule(
        "the only fraction of a usual scale, behind an article",
        ("reply",),
        {"A solid 7 out of 10.": 7, "This is a strong 7/10.": 7, "An eight out of ten, I think.": 8},
        ("A 7/8 portrait", "a 9/10 chance of rain", "7/10 of the canvas", "a 7/10, or an 8/10"),
        cue=_pattern(rf"\ban?\s+(?:(?!{_WORD_NEXT})[^\W\d]+\s+)?"),
        condition=conditions.is_the_only_fraction_of_a_usual_scale,
        fallback=True,
    ),
    Rule(
        "the only fraction of a usual scale, as the last sentence",
        ("reply",),
        {"It has 3 figures, 2 dogs. 7/10.": 7, "How calm! 7 out of 10": 7},
        ("Painted on 7/10.", "Date: 7/10", "It is calm. 7/8", "8/10 for colour. 6/10", "A man of 1889. 7"),
        cue=re.compile(r"[.!?]\s+"),
        behind=re.compile(rf"{_REMARK}\Z"),
        condition=conditions.is_the_only_fraction_of_a_usual_scale,
        fallback=True,
    ),
    Rule(
        "the only number, on the last line",
        ("reply",),
        {"A lake at dusk.\n7.5": 7.5, "Warm, of 1889.\n7": 7},
        ("7\nIt is calm.", "1\nPerception\n2", "8\n7"),
        cue=re.compile(r"\n[ \"'(\[|]*"),
        behind=re.compile(rf"{_REMARK}\Z"),
        condition=conditions.is_the_only_number,
        fallback=True,
    ),
    Rule(
        "the mark of an answer in data sets of mathematics, on the last line",
        ("reply",),
        {"#### 7.5": 7.5, "8 + 7 = 15, halved\n#### 7.5": 7.5},
        ("#### 1\nPerception", "#### 3 boats"),
        cue=re.compile(r"^#{4}\s*", re.MULTILINE),
        behind=re.compile(rf"{_REMARK}\Z"),
        fallback=True,
    ),
    Rule(
        "a scale for scores behind a slash",
        ("description",),
        {"It merits 7 / 10, no more": 7, "68/100 shows it": 68},
        ("some 2/3 of its height", "7/10 of the canvas", "3/4 time", "7 out of 10"),
        condition=conditions.is_a_fraction_of_a_scale,
        before_plural=True,
    ),
    Rule(
        'a scale for scores behind "out of"',
        ("description",),
        {"68 out of 100": 68, "a seven out of ten": 7, "a 7-out-of-10 sky": 7, "9 out of a possible dozen": 9},
        ("7 out of 12 heads", "7/10", "7 out of the blue"),
        condition=conditions.is_out_of_a_scale,
    ),
    Rule(
        "an English word of rating, and a number in digits",
        ("description",),
        {"The painting scores a 7.": 7, "with a rating of about 5": 5, "Score: 7": 7, "graded 8": 8},
        ("rated seven", "It rates the light, 7 in all"),
        cue=_pattern(r"\b(?:scor(?:e[sd]?|ing)|rat(?:e[sd]?|ings?)|mark(?:s|ed)?|grade[sd]?)"),
        link=_pattern(_ENGLISH_LINK),
        condition=conditions.in_digits,
    ),
    Rule(
        "an English word of rating, and a number in words",
        ("description",),
        {"rated seven by its viewers": 7, "a rating of six": 6},
        ("rated two or three times", "It marks seven."),
        cue=_pattern(r"\b(?:score[sd]?|rat(?:e[sd]|ings?))"),
        link=_pattern(_ENGLISH_LINK),
        condition=conditions.in_words,
    ),
    Rule(
        "something gets a number, which stands alone",
        ("description",),
        {"I would give it a 7.": 7, "Viewers gave the work a seven, no more": 7, "awarded it only 6 at best": 6},
        ("Haze gives it a 3 dimensional depth", "gave the sky two moons", "gives it one."),
        cue=_pattern(r"\b(?:g[ai]ven?|gives|giving|award(?:s|ed)?)\s+(?:it|this|the\s+\w+)"),
        link=_pattern(r"\s+(?:(?:an?|only|about)\s+)*"),
        condition=conditions.stands_alone,
    ),
    Rule(
        "something deserves a number, which stands alone",
        ("description",),
        {"It deserves a 5.": 5, "It earns 6 at best": 6},
        ("It deserves one.", "It earns 6 medals"),
        cue=_pattern(r"\b(?:deserve[sd]?|earn(?:s|ed)?|merit(?:s|ed)?)"),
        link=_pattern(r"\s+(?:(?:an?|only|about)\s+)*"),
        condition=conditions.stands_alone,
    ),
    Rule(
        "a number of a certain strength, which stands alone",
        ("description",),
        {"A solid 7.": 7, "a mere four": 4},
        ("A strong one, and a solid 5 metre wall.",),
        cue=_pattern(r"\ba\s+(?:solid|strong|weak|mere|modest|firm)"),
        link=_pattern(r"\s+"),
        condition=conditions.stands_alone,
    ),
    Rule(
        "a rating that is named behind its number",
        ("description",),
        {"a 7 rating": 7, "an 8.5-score": 8.5},
        ("a 7 metre wall",),
        cue=_pattern(r"\ban?"),
        link=_pattern(r"\s+"),
        behind=_pattern(r"[\s-]+(?:rating|score|grade|mark)\b"),
        condition=conditions.in_digits,
    ),
    Rule(
        "an average of scores",
        ("description",),
        {"above the average of 5.4": 5.4, "above the mean (5.4)": 5.4, "a median of 52": 52},
        ("The average viewer", "an average of 3 per wall", "an average of 20% of it"),
        cue=_pattern(r"\b(?:average|mean|median|variance)"),
        link=_pattern(rf"\s*\(|{_ENGLISH_LINK}"),
        condition=conditions.is_precise,
        before_plural=True,
    ),
    Rule(
        "points with decimals",
        ("description",),
        {"6.5 points would be fair": 6.5, "4.5 stars": 4.5},
        ("Five stars over a point of light.", "5 points"),
        behind=_pattern(r"\s+(?:points?|stars?|marks?)\b"),
        condition=conditions.has_decimals,
        before_plural=True,
    ),
    Rule(
        "a percentile that is named behind its number",
        ("description",),
        {"in the 83rd percentile": 83, "the 9-percentile": 9},
        ("the 83rd of them",),
        behind=_pattern(r"[\s-]+percentile\b"),
        condition=conditions.in_digits_or_ordinal,
        before_plural=True,
    ),
    Rule(
        "a percentile that is named in front of its number",
        ("description",),
        {"at a percentile of 83 seems": 83},
        ("every percentile counts",),
        cue=_pattern(r"\bpercentile"),
        link=_pattern(_ENGLISH_LINK),
        condition=conditions.in_digits_or_ordinal,
        before_plural=True,
    ),
)


def rules_for(reader: Reader) -> tuple[Rule, ...]:
    """The rules that hold for one kind of text, in the order of the table."""
    return tuple(rule for rule in RULES if reader in rule.readers)
