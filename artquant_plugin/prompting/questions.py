"""The questions that training and scoring put to a model; `levels.py` has the words of the answer to the first."""

from collections.abc import Collection, Sequence

SCORE_QUESTION = "How would you rate the quality of this painting?"
DESCRIBE_QUESTION = "Describe the aesthetics of this painting on three levels: perception, cognition and emotion."
DESCRIPTION_LEVELS = ("perception", "cognition", "emotion")
WHOLE_TEXT = "text"  # the key of a description that is one text without levels


def join_description(description: dict[str, str], levels: Collection[str] = DESCRIPTION_LEVELS) -> str:
    """Join a description's levels into the one text that a model learns to write.

    Args:
        description: texts under the keys ``perception``, ``cognition`` and ``emotion``, all three of them; or one text
            without levels under the key ``text``, which then counts alone.
        levels: the levels that are joined, in the order of `DESCRIPTION_LEVELS` however they are given.

    Returns:
        One line per level, such as "Perception: …"; a text without levels is returned as it is.

    Example:
        >>> print(join_description({"perception": "Warm reds.", "cognition": "A harbour.", "emotion": "Calm."}))
        Perception: Warm reds.
        Cognition: A harbour.
        Emotion: Calm.
    """
    if WHOLE_TEXT in description:
        return description[WHOLE_TEXT]
    joined = [level for level in DESCRIPTION_LEVELS if level in levels]
    return "\n".join(f"{level.capitalize()}: {description[level]}" for level in joined)


def one_level(names: Sequence[str]) -> str:
    """The sentence that asks for one of the level words.

    Args:
        names: the level words to choose from, at least two, best first.

    Example:
        >>> one_level(["good", "fair", "bad"])
        'Answer with one word: good, fair or bad.'
    """
    return f"Answer with one word: {', '.join(names[:-1])} or {names[-1]}."
