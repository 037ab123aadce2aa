"""The questions that training and scoring put to a model; the form of the answer is in `levels.py`."""

from collections.abc import Sequence

SCORE_QUESTION = "How would you rate the quality of this painting?"
DESCRIBE_QUESTION = "Describe the aesthetics of this painting on three levels: perception, cognition and emotion."
DESCRIPTION_LEVELS = ("perception", "cognition", "emotion")
WHOLE_TEXT = "text"  # the key of a description whose levels cannot be told apart


def join_description(description: dict[str, str]) -> str:
    """The three levels as the one text that a model learns to write.

    Args:
        description: a text for each of perception, cognition and emotion; or the whole one under ``text``.

    Returns:
        One line per level, "Perception: …"; a whole text as it is.

    Example:
        >>> print(join_description({"perception": "Warm reds.", "cognition": "A harbour.", "emotion": "Calm."}))
        Perception: Warm reds.
        Cognition: A harbour.
        Emotion: Calm.
    """
    if WHOLE_TEXT in description:
        return description[WHOLE_TEXT]
    return "\n".join(f"{level.capitalize()}: {description[level]}" for level in DESCRIPTION_LEVELS)


def one_level(names: Sequence[str]) -> str:
    """The request for one of the level words.

    Args:
        names: level words, best first.

    Example:
        >>> one_level(["good", "fair", "bad"])
        'Answer with one word: good, fair or bad.'
    """
    return f"Answer with one word: {', '.join(names[:-1])} or {names[-1]}."
