"""Attributes of a painting that are scored by questions of their own, such as its colour or its mood."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import did_you_mean
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.texts import LONGEST_PREFIX, LONGEST_QUESTION, LONGEST_WORD, check_text

# What an attribute is called in a sentence, where that is not its name in small letters without "the".
_IN_A_SENTENCE = {"the overall": "overall impression"}


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """How one attribute is asked for and how the answer is read; part of a checkpoint's scoring file.

    Args:
        name: what the dataset calls the attribute, such as ``Light and shadow``; results have a column of this name.
            One line of at most 100 characters, without a comma.
        question: the user's words behind the image; at most 20,000 characters, line breaks are allowed.
        answer_prefix: the assistant's words before the level word; one line of at most 1,000 characters.
        values: the score that each level word of the checkpoint stands for in an answer about this attribute, best
            level first, strictly descending.

    Raises:
        ArtQuantError: a text is no text, is empty or too long, or holds control characters or, in a name, a comma.
    """

    name: str
    question: str
    answer_prefix: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        check_text(self.name, "the attribute's name", LONGEST_WORD)
        if "," in self.name or self.name != self.name.strip():
            raise ArtQuantError(
                f"the attribute's name {self.name!r} has a comma, or white space at an end; leave that out, since "
                "names are listed between commas"
            )
        check_text(self.question, f"the question of attribute {self.name!r}", LONGEST_QUESTION, line_breaks=True)
        check_text(self.answer_prefix, f"the answer prefix of attribute {self.name!r}", LONGEST_PREFIX)

    def scale(self, names: tuple[str, ...]) -> LevelScale:
        """The level words with their values for this attribute.

        Args:
            names: the level words of the checkpoint, best first.

        Raises:
            ArtQuantError: the values are not as many as the words, or do not descend.
        """
        try:
            return LevelScale(names, tuple(self.values))
        except (ArtQuantError, TypeError) as error:
            raise ArtQuantError(f"attribute {self.name!r}: {error}") from error


def in_a_sentence(name: str) -> str:
    """What an attribute is called in a question about it.

    Args:
        name: the attribute's name in its dataset.

    Example:
        >>> in_a_sentence("The sense of order"), in_a_sentence("Color")
        ('sense of order', 'color')
    """
    small = name.lower()
    return _IN_A_SENTENCE.get(small, small.removeprefix("the "))


def attribute_spec(name: str, values: Sequence[float], question: str | None = None) -> AttributeSpec:
    """An attribute that is asked for in the words of this package.

    Args:
        name: the attribute's name in its dataset.
        values: the score that each level word stands for, best level first.
        question: the user's words; None for "How would you rate the … of this painting?".

    Example:
        >>> attribute_spec("Color", (10, 5, 0)).answer_prefix
        'The color of the painting is'
    """
    called = in_a_sentence(name)
    asked = f"How would you rate the {called} of this painting?" if question is None else question
    return AttributeSpec(name, asked, f"The {called} of the painting is", tuple(values))


def chosen_attributes(
    wanted: bool | Iterable[str], known: Sequence[AttributeSpec], checkpoint: str
) -> tuple[AttributeSpec, ...]:
    """The attributes of a checkpoint that somebody asks for.

    Args:
        wanted: True for all of them, False for none; or the names of some, in the order that is wanted.
        known: the attributes that the checkpoint has.
        checkpoint: what messages call the checkpoint.

    Raises:
        ArtQuantError: the checkpoint has no attributes, or none of a name, or a name stands twice.
    """
    if wanted is False:
        return ()
    if not known:
        raise ArtQuantError(
            f"checkpoint {checkpoint!r} has no attributes, since it was trained on total scores alone; train one with "
            "the key `attributes`, or leave attributes out"
        )
    if wanted is True:
        return tuple(known)
    by_name = {each.name: each for each in known}
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name not in by_name:
            hint = did_you_mean(name, list(by_name)) or f"it has {', '.join(by_name)}"
            raise ArtQuantError(f"checkpoint {checkpoint!r} has no attribute {name!r}; {hint}")
        if names.count(name) > 1:
            raise ArtQuantError(f"attribute {name!r} is asked for twice; name it once")
    return tuple(by_name[name] for name in names)
