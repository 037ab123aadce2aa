"""How a rule finds a score in a text: what a rule consists of, and the statements that it finds.

A rule describes the surroundings of a number that make it a score. The rules themselves are the table in
`artquant_plugin.replies.rules`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from artquant_plugin.replies.numbers import WrittenNumber

Reader = Literal["reply", "description"]

# The name of the rule whose verb may have another subject than the model, as in "others might give it a 9". The
# condition `is_given_by_others` of `artquant_plugin.replies.exclusion_conditions` only holds for rules whose names
# begin with it.
VERB_OF_RATING = "a verb of rating, in the same clause"

# The ends of a word. "\b" would take "_" for a letter, and models write "score_7".
WORD_START, WORD_END = r"(?<![^\W\d_])", r"(?![^\W\d_])"


@dataclass(frozen=True, slots=True)
class Statement:
    """A place of a text where a rule has found a number that is used as a score.

    Args:
        rule: the rule that has found the number.
        text: the whole text in which the number stands.
        number: the number with its unit and scale.
        start: the place of the first character of the words that make it a score.
        end: the place behind them; they may go on behind the number, as in "a 7 rating".
        between: words between the cue and the number that the rule leaves open ("gave the composition a"); empty where
            it leaves none open.
        note: what stands in brackets behind the cue, without the brackets; empty where nothing does.
        low: the lower end of the scale that stands in front of the number, in digits; None where none does.
        high: the upper end of that scale, in digits.
        dataset_high: the highest score of the dataset.
    """

    rule: "Rule"
    text: str
    number: WrittenNumber
    start: int
    end: int
    between: str = ""
    note: str = ""
    low: str | None = None
    high: str | None = None
    dataset_high: float | None = None

    def before(self, width: int) -> str:
        """The text in front of the statement, its last `width` characters."""
        return self.text[max(0, self.start - width) : self.start]

    def sentence_before(self, width: int = 120) -> str:
        """What stands in front of the statement in its own sentence, its last `width` characters."""
        before = self.before(width)
        ends = [end.end() for end in _SENTENCE_ENDS.finditer(before)]
        return before[ends[-1] :] if ends else before

    def followed_by(self, pattern: re.Pattern[str]) -> bool:
        """Whether a pattern matches directly behind the number."""
        return pattern.match(self.text, self.number.end) is not None

    @property
    def words(self) -> str:
        """The statement as it stands in the text."""
        return self.text[self.start : self.end]


_SENTENCE_ENDS = re.compile(r"[.!?;](?=\s)|[。！？；\n]")

Condition = Callable[[Statement], bool]


def always(statement: Statement) -> bool:
    """The condition of a rule that asks for nothing else."""
    return True


@dataclass(frozen=True, slots=True)
class Rule:
    """One way in which a text tells a score.

    A rule finds a number when `cue` matches somewhere in front of it, `link` matches from there to the number,
    `behind` matches directly behind the number, and `condition` holds.

    Args:
        name: the rule in a few words.
        readers: the kinds of text that the rule is for: replies, descriptions, or both.
        examples: example text -> the value of the number that the rule finds in it, as the text writes it and without
            its scale. Where the rule finds several numbers, it is the value of the last one.
        counterexamples: texts with similar words in which the rule finds nothing.
        cue: the words that announce a score; None where the number needs none. Its groups `low` and `high`, where it
            has them, are the ends of a scale.
        link: what may stand between the cue and the number, up to the number's first character. Its groups `low`,
            `high`, `note` and `between` are those of `Statement`.
        behind: what has to stand behind the number.
        condition: what else has to hold.
        fallback: whether the rule counts only in a text in which no other rule has found a score.
        before_plural: whether the rule counts in a description even where a word follows that may be a noun in the
            plural ("the average of 5.4 shows"), so that the number might count it.
        of_the_whole: whether the rule's own words say that the number is the whole painting's, so that an aspect may
            be named in front of them ("9 for colour, 7 overall").
    """

    name: str
    readers: tuple[Reader, ...]
    examples: Mapping[str, float]
    counterexamples: tuple[str, ...] = ()
    cue: re.Pattern[str] | None = None
    link: re.Pattern[str] = field(default_factory=lambda: re.compile(""))
    behind: re.Pattern[str] = field(default_factory=lambda: re.compile(""))
    condition: Condition = always
    fallback: bool = False
    before_plural: bool = False
    of_the_whole: bool = False


def find_statements(
    text: str, numbers: Sequence[WrittenNumber], rules: Sequence[Rule], dataset_high: float | None = None
) -> Iterator[Statement]:
    """What the rules find in a text, rule by rule.

    Args:
        text: the text in which the numbers stand.
        numbers: its numbers, in their order.
        rules: the rules that are tried, one after the other.
        dataset_high: the highest score of the dataset, for rules that ask for the number's scale; None where it is not
            known.
    """
    for rule in rules:
        for number, start, groups in _announced(text, numbers, rule.cue, rule.link):
            behind = rule.behind.match(text, number.end)
            if behind is None:
                continue
            statement = Statement(
                rule,
                text,
                number,
                start,
                behind.end(),
                between=groups.get("between") or "",
                note=groups.get("note") or "",
                low=groups.get("low"),
                high=groups.get("high"),
                dataset_high=dataset_high,
            )
            if rule.condition(statement):
                yield statement


def _announced(
    text: str, numbers: Sequence[WrittenNumber], cues: re.Pattern[str] | None, links: re.Pattern[str]
) -> Iterator[tuple[WrittenNumber, int, dict[str, str | None]]]:
    """The numbers that cues announce, each with the place of its cue and with the groups of both patterns.

    A cue announces one number at most. Where a rule has no cues, every number is its own announcement.
    """
    if cues is None:
        yield from ((number, number.start, {}) for number in numbers)
        return
    by_start = {number.start: number for number in numbers}
    for cue in _overlapping(cues, text):
        link = links.match(text, cue.end())
        if link is not None and (number := by_start.get(link.end())):
            yield number, cue.start(), cue.groupdict() | link.groupdict()


def _overlapping(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """The matches of a pattern, including those that begin within an earlier match."""
    start = 0
    while start <= len(text) and (match := pattern.search(text, start)):
        yield match
        start = match.start() + 1
