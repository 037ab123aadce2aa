"""Text for messages: one line of bearable length, and the first few of many names."""

from collections.abc import Iterable

WIDTH = 300


def one_line(said: object, width: int = WIDTH) -> str:
    r"""What an error or a text says, with its white space folded into single spaces.

    Args:
        said: a text, or an exception; of an exception without a message the name of its type is returned.
        width: the largest number of characters; a longer text ends in ``…``.

    Example:
        >>> one_line("no such\n  file", 7)
        'no suc…'
        >>> one_line(KeyError())
        'KeyError'
    """
    text = " ".join(str(said).split())
    if not text and isinstance(said, BaseException):
        text = type(said).__name__
    return text if len(text) <= width else text[: width - 1] + "…"


def first_line(error: BaseException) -> str:
    r"""The first line of an error's message, for libraries that append explanations to it.

    Example:
        >>> first_line(OSError("404 Not Found\nCheck the spelling of the repository's name."))
        '404 Not Found'
    """
    lines = str(error).strip().splitlines()
    return one_line(lines[0] if lines else error)


def listed(names: Iterable[str], shown: int = 3, separator: str = ", ") -> str:
    """The first names, in their order, and how many more there are.

    Example:
        >>> listed(["a.png", "b.png", "c.png"], shown=2)
        'a.png, b.png and 1 more'
    """
    every = list(names)
    more = f" and {len(every) - shown:,} more" if len(every) > shown else ""
    return separator.join(every[:shown]) + more
