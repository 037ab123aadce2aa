"""Text for messages: one line of limited length, the first few of many names, no hidden characters."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

WIDTH = 300  # characters
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories of control characters, and of halves of pairs
_HALVES = re.compile("[\ud800-\udfff]")


def one_line(message: object, width: int = WIDTH) -> str:
    r"""A text or an exception's message on one line, each run of white space as a single space.

    Args:
        message: a text, or an exception; for an exception without a message, the name of its type is returned.
        width: the largest number of characters of the result; a longer text is cut and ends in ``…``.

    Example:
        >>> one_line("no such\n  file", 7)
        'no suc…'
        >>> one_line(KeyError())
        'KeyError'
    """
    text = " ".join(str(message).split())
    if not text and isinstance(message, BaseException):
        text = type(message).__name__
    return text if len(text) <= width else text[: width - 1] + "…"


def first_line(error: BaseException) -> str:
    r"""The first line of an exception's message, for libraries that append explanations to it.

    An exception without a message gives the name of its type. A line of more than `WIDTH` characters is cut.

    Example:
        >>> first_line(OSError("404 Not Found\nCheck the spelling of the repository's name."))
        '404 Not Found'
    """
    lines = str(error).strip().splitlines()
    return one_line(lines[0] if lines else error)


def literal(value: object, width: int = 60) -> str:
    r"""A value that somebody else wrote, for a message: as Python writes it in ASCII, cut where it is long.

    Args:
        value: a text, a number, or any other value of JSON.
        width: the largest number of characters of the result; a longer one is cut and ends in ``…``.

    Example:
        >>> print(literal("a\u202eb"), literal([1, 2, 3], 6))
        'a\u202eb' [1, 2…
    """
    text = ascii(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def storable(text: str) -> str:
    r"""A text that every file can hold: U+FFFD, the replacement character, stands for each half of a surrogate pair.

    JSON can write half of a pair (an emoji that was cut in two), and UTF-8 cannot.

    Example:
        >>> storable("a\ud83d") == "a\ufffd"
        True
    """
    return _HALVES.sub("\ufffd", text)


def listed(names: Iterable[str], shown: int = 3, separator: str = ", ") -> str:
    """The first names, in their order, and how many more there are.

    Args:
        names: the names; an empty text is returned where there are none.
        shown: how many names are written out.
        separator: what stands between two names; a semicolon where a name may hold a comma.

    Example:
        >>> listed(["a.png", "b.png", "c.png"], shown=2)
        'a.png, b.png and 1 more'
    """
    every = list(names)
    more = f" and {len(every) - shown:,} more" if len(every) > shown else ""
    return separator.join(every[:shown]) + more


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The question that names the known word nearest to an unknown one; empty where none is near.

    Args:
        name: what the user wrote, a text or a key of any type.
        known: the words that the user may write.

    Example:
        >>> did_you_mean("sroc", ["srocc", "plcc"]), did_you_mean("x", ["srocc"])
        ("did you mean 'srocc'?", '')
    """
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def visible(text: str, keep: str = "") -> str:
    r"""A text for a terminal: control characters are shown as escapes, so that they control nothing.

    The names of files may hold any character, among them those that move the cursor, set the window's title or turn
    the direction of writing.

    Args:
        text: what is to be printed.
        keep: control characters that are printed as they are, such as ``"\n"`` in a text of several lines.

    Example:
        >>> print(visible("a\x1b[2Jb\u202egpj.exe"))
        a\x1b[2Jb\u202egpj.exe
    """
    if text.isprintable():
        return text
    shown = (
        sign if sign in keep or unicodedata.category(sign) not in HIDDEN else sign.encode("unicode_escape").decode()
        for sign in text
    )
    return "".join(shown)
