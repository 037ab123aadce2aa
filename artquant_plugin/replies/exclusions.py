"""The table of reasons why a number that a rule has found is not the painting's score, or cannot be read.

"Not a 7", "for example, score: 7", "composition: 8": a rule of `artquant_plugin.replies.rules` finds the number, and
an entry of this table says that it is not the painting's score. Every entry has examples, which a test runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from artquant_plugin.replies import exclusion_conditions as conditions
from artquant_plugin.replies.statements import Reader, Statement

Effect = Literal["dropped", "of something else", "yields", "malformed", "ambiguous"]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One reason why a number in the surroundings of a score is not the score.

    Args:
        name: the reason in a few words.
        effect: what it does. ``dropped``: the number is no score. ``of something else``: it is the score of an aspect
            or of another painting, an earlier one, or somebody else's; a reply with such scores alone is ambiguous.
            ``yields``: it counts only in a reply without any other score. ``malformed`` and ``ambiguous``: it is the
            score, but cannot be read; the reply stays unscored for that reason, even where an earlier score in it
            could be read.
        applies: tells whether the reason holds for a statement.
        examples: texts in which a rule finds one number, for which the reason holds.
        counterexamples: texts in which a rule finds one number, for which the reason does not hold.
        detail: what a report says of a number that cannot be read; ``{}`` stands for the number.
        readers: the kinds of text for which the reason is looked for: replies, descriptions, or both.
    """

    name: str
    effect: Effect
    applies: Callable[[Statement], bool]
    examples: tuple[str, ...]
    counterexamples: tuple[str, ...]
    detail: str = ""
    readers: tuple[Reader, ...] = ("reply",)


EXCLUSIONS = (
    Exclusion(
        "the scale once more",
        "dropped",
        conditions.repeats_the_scale,
        ("Score: 1-10",),
        ("Score: 7-8", "Score: 1-2", "Score: 1-10/10"),
    ),
    Exclusion(
        "denied",
        "dropped",
        conditions.is_negated,
        ("I cannot give a score of 7", "I wouldn't rate it 9", "I rate it not 9"),
        ("I rate it 9",),
    ),
    Exclusion(
        "an example",
        "of something else",
        conditions.is_an_example,
        ("For example, Score: 7", "zum Beispiel Bewertung: 7"),
        ("An example. Score: 7",),
    ),
    Exclusion(
        "the number of a painting",
        "dropped",
        conditions.numbers_a_painting,
        ("The score of painting 3", "the rating for image 2", "Score A: 7"),
        ("The score of painting 3/10", "The score of this painting is 3"),
    ),
    Exclusion(
        "the number of a line in a list",
        "dropped",
        conditions.numbers_a_line,
        ("My rating\n1. Composition", "Score:\n2) Colour"),
        ("Score\n7.5", "Score:\n7"),
    ),
    Exclusion(
        "a score that was reported from others",
        "of something else",
        conditions.is_reported,
        (
            "Visitor rating: 9.2",
            "The critics' score is 9",
            "critics rated it 9.",
            "a rating of 9 by visitors",
            "According to the museum, the rating is 9",
            "ChatGPT gave it a score of 8.",
            "Another model rated it 8.",
            "Some would give it a 9.",
        ),
        (
            "My rating: 9.2",
            "Most people would give it a 7.",
        ),
    ),
    Exclusion(
        "an earlier score",
        "of something else",
        conditions.is_earlier,
        (
            "Initial score: 5",
            "My first impression was a score of 5",
            "initial_score: 5",
            "Earlier I gave it a 5.",
        ),
        ("Final score: 5",),
    ),
    Exclusion(
        "the score of a painting that is only imagined",
        "of something else",
        conditions.is_of_an_imagined_painting,
        ("Alternative score: 4", "Ideal painting: score: 10", "Score (alternative): 4", "counterfactual:\n score: 4"),
        ("The alternative would be dull. Score: 4", "It has potential, score: 4"),
    ),
    Exclusion(
        "a score in braces under another key",
        "of something else",
        conditions.stands_under_another_key,
        ("{'mona_lisa': {'score': 4}}", "{brighter: {score: 4}}"),
        ("{'result': {'score': 4}}", "{'score': 4}"),
    ),
    Exclusion(
        "another painting's score",
        "of something else",
        conditions.is_of_another_painting,
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
        conditions.is_in_a_legend,
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
        conditions.is_the_top_of_the_scale,
        (
            "8, total: 10",
            "評価は10点満点",
        ),
        ("Total: 10",),
    ),
    Exclusion(
        "a column of a table with a header",
        "dropped",
        conditions.is_in_a_table_with_a_header,
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
        conditions.counts_other_things,
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
        conditions.is_asked,
        ("Should the score be 8?",),
        ("The score is 8.",),
    ),
    Exclusion(
        "an amount of money, a power, or an event whose probability is given",
        "dropped",
        conditions.is_money_a_power_or_a_probability,
        (
            "I rated it $7",
            "Score: 10^2",
        ),
        ("Score: 7",),
    ),
    Exclusion(
        "one aspect's score",
        "of something else",
        conditions.is_of_an_aspect,
        ("Composition score: 8", "I give the composition 8.", "The painting scores 7 in composition", "构图评分:8"),
        ("Overall score: 8", "I give the painting 8."),
    ),
    Exclusion(
        "somebody else's score",
        "yields",
        conditions.is_given_by_others,
        ("Other people might give it a 9.", "Most people would give it a 7."),
        ("I rate it 9.",),
    ),
    Exclusion(
        "under a condition",
        "yields",
        conditions.has_a_condition,
        (
            "If it were better, I'd give it a 9.",
            "The score could be 8.",
            "A rating of 10 is reserved for masterpieces.",
        ),
        ("I'd give it a 9.",),
    ),
    Exclusion(
        "the end of a reply that is cut off, perhaps within the number",
        "malformed",
        conditions.is_cut_off,
        ('{"score": 6', '{"score": 7.'),
        ('{"score": 6}', "score: 6"),
        detail="the reply ends within or behind {}",
    ),
    Exclusion(
        "a term of a sum, or a score that the words behind it change",
        "ambiguous",
        conditions.is_a_term,
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
        conditions.begins_a_list,
        ("Scores: 7, 8", "Score: 7 and 8", "Score | 7 | 8"),
        ("Score: 7, good", "8/10, 2 things are good"),
        detail="{} and more numbers",
    ),
    Exclusion(
        "a bound",
        "ambiguous",
        conditions.is_a_bound,
        (
            "Score: 7 or higher",
            "Score: 7 at most",
            "Score: 8 or so",
            "Score: 7+",
            "Score: 7-",
        ),
        (
            "Score: 7 or 8",
            "Score: 7",
        ),
        detail="{} is a bound, or a guess",
    ),
    Exclusion(
        "a comma in square brackets",
        "ambiguous",
        conditions.has_a_comma_in_square_brackets,
        ("Scores: [7,5]",),
        ("Score: [7.5]", "Score: 7,5"),
        detail="[{}]: a decimal comma, or a list",
    ),
    Exclusion(
        "three digits behind a comma",
        "malformed",
        conditions.has_a_comma_before_three_digits,
        ("Score: 1,000",),
        ("Score: 1,25",),
        detail="{}: a decimal comma, or thousands",
    ),
    Exclusion(
        "a range that descends",
        "ambiguous",
        conditions.descends,
        ("Score: 8-7", "Score: 8-8"),
        ("Score: 7-8",),
        detail="{} is no range",
    ),
    Exclusion(
        "a number of things, or a part of a word",
        "dropped",
        conditions.counts_things,
        ("The musical score of 12 bars in the foreground", "7 out of 10 viewers", "rated 3 of the figures"),
        ("It scores 12 points.", "rated 3 of 10", "The average of 5.4 shows"),
        readers=("description",),
    ),
)


def exclusions_for(reader: Reader, *effects: Effect) -> tuple[Exclusion, ...]:
    """The exclusions with one of some effects that hold for one kind of text, in the order of the table."""
    return tuple(each for each in EXCLUSIONS if reader in each.readers and each.effect in effects)
