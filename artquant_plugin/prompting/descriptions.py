"""Finding the three levels of a description (perception, cognition, emotion) in the text that a model wrote."""

import re
from dataclasses import dataclass

from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS

# A heading is a level's name at the beginning of a line, in the ways that models write it ("**Cognitive level** -",
# "3. Emotion"), or a capitalised name with a colon anywhere ("Warm reds. Cognition: a harbour.").
_HEADING = re.compile(
    r"^[\s>#*_\-•\d.)(]*(?P<line>percept|cognit|emoti)(?:ion|ive|ual|onal|on)(?:[ -](?:level|layer|aspect)s?)?"
    r"[\s*_]*(?:[:：—–-][\s*_]*|$)"
    r"|(?<!\w)(?-i:(?P<inside>Percept|Cognit|Emoti))(?:ion|ive|ual|onal|on)(?: level)?[*_]*[:：][\s*_]*",
    re.IGNORECASE | re.MULTILINE,
)
_LEVELS = dict(zip(("percept", "cognit", "emoti"), DESCRIPTION_LEVELS, strict=True))


@dataclass(frozen=True, slots=True)
class Description:
    """The description of one image.

    Args:
        text: the whole text as the model wrote it, headings included.
        levels: text by level, for those of ``perception``, ``cognition`` and ``emotion`` that have a heading and text;
            empty for a text without headings.
    """

    text: str
    levels: dict[str, str]

    @property
    def complete(self) -> bool:
        """Whether the description has text on all three levels."""
        return set(self.levels) == set(DESCRIPTION_LEVELS)


def read_description(text: str) -> Description:
    r"""Split a description at its headings.

    Args:
        text: a description in the form that `questions.join_description` writes. Headings in Markdown, with numbers
            or with adjectives ("Perceptual level") are found, too. Where a level occurs twice, its first text counts.

    Returns:
        The text with those levels for which it has one; text before the first heading belongs to no level.

    Example:
        >>> read_description("Perception: warm reds.\n\n**Emotional level**: calm.").levels
        {'perception': 'warm reds.', 'emotion': 'calm.'}
    """
    levels: dict[str, str] = {}
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    for heading, end in zip(headings, ends, strict=False):  # a text without headings has an end and no heading
        content = text[heading.end() : end].strip().strip("*_ ")
        if content:
            levels.setdefault(_LEVELS[(heading["line"] or heading["inside"]).lower()], content)
    return Description(text=text, levels=levels)
