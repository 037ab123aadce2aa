"""Which texts may be level words, questions and beginnings of answers.

They come from files of other people (a checkpoint's scoring file, a configuration) and go into prompts, tables, model
cards and terminals, where a line break or a control character would become something else than a part of the text.
"""

import unicodedata

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import literal

LONGEST_WORD = 100  # characters of a level word
LONGEST_PREFIX = 1_000
LONGEST_QUESTION = 20_000

# Unicode's categories of characters that are no text: control characters (line breaks among them), halves of surrogate
# pairs, which no encoding can write, and the separators of lines and paragraphs.
_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")


def check_text(text: object, what: str, longest: int, *, line_breaks: bool = False, empty: bool = False) -> None:
    r"""Refuse what is no text, or no text that can be shown and sent as it is.

    Args:
        text: the value to check, of any type, as it came from a file.
        what: what the text is, as the subject of the message, such as "a level word".
        longest: the largest number of characters that is allowed.
        line_breaks: whether the text may have several lines; ``\n`` and ``\t`` are then allowed.
        empty: whether the empty text is allowed. A text of white space alone never is.

    Raises:
        ArtQuantError: the value is no string, is empty, is longer, or holds a character that is not allowed.
    """
    if not isinstance(text, str):
        raise ArtQuantError(f"{what} is {literal(text)}, which is no text; write it as text, in quotation marks")
    if not text.strip() and not (empty and not text):
        raise ArtQuantError(f"{what} is {literal(text)}; give it at least one character that can be seen")
    if len(text) > longest:
        raise ArtQuantError(f"{what} has {len(text):,} characters ({literal(text)}); use {longest:,} at most")
    for character in text:
        if unicodedata.category(character) in _NO_TEXT and not (line_breaks and character in "\n\t"):
            raise ArtQuantError(
                f"{what} {literal(text)} holds the character U+{ord(character):04X}; line breaks and control "
                "characters are not allowed here: leave it out"
            )


def comparable(text: str) -> str:
    """The text without what readers do not tell apart: upper and lower case, ways to write a letter, white space.

    Example:
        >>> comparable("Very  GOOD") == comparable("very good")
        True
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
