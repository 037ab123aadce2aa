"""A description's three levels, found in the text that a model wrote."""

import re
from dataclasses import dataclass

from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS

# A level's name at the beginning of a line, as models set it ("**Cognitive level** -", "3. Emotion"), or with a
# capital and a colon anywhere ("Warm reds. Cognition: a harbour.").
_HEADING = re.compile(
    r"^[\s>#*_\-•\d.)(]*(?P<line>percept|cognit|emoti)(?:ion|ive|ual|onal|on)(?:[ -](?:level|layer|aspect)s?)?"
    r"[\s*_]*(?:[:：—–-][\s*_]*|$)"
    r"|(?<!\w)(?-i:(?P<inside>Percept|Cognit|Emoti))(?:ion|ive|ual|onal|on)(?: level)?[*_]*[:：][\s*_]*",
    re.IGNORECASE | re.MULTILINE,
)
_LEVELS = dict(zip(("percept", "cognit", "emoti"), DESCRIPTION_LEVELS, strict=True))


@dataclass(frozen=True, slots=True)
class Description:
    """One described image.

    Args:
        text: as the model wrote it.
        levels: the text of each of perception, cognition and emotion that it has.
    """

    text: str
    levels: dict[str, str]

    @property
    def complete(self) -> bool:
        """Whether all three levels are there."""
        return set(self.levels) == set(DESCRIPTION_LEVELS)


def read_description(text: str) -> Description:
    r"""Split a description at its headings.

    Args:
        text: a description as `questions.join_description` writes it; Markdown, numbers and the adjectives
            ("Perceptual level") are read too. Of a level that stands there twice, the first with text counts.

    Returns:
        The text and those levels that have one.

    Example:
        >>> read_description("Perception: warm reds.\n\n**Emotional level**: calm.").levels
        {'perception': 'warm reds.', 'emotion': 'calm.'}
    """
    levels: dict[str, str] = {}
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    for heading, end in zip(headings, ends, strict=False):  # a text without headings has one end all the same
        content = text[heading.end() : end].strip().strip("*_ ")
        if content:
            levels.setdefault(_LEVELS[(heading["line"] or heading["inside"]).lower()], content)
    return Description(text=text, levels=levels)
