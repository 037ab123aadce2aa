"""Documented arguments say something: five words at least, and no reference that names nothing.

An argument is an entry of the section `Args:` of a docstring in Google style, on a function, a class or a module.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.paths import ROOT

FEWEST_WORDS = 5
POINTS_NOWHERE = re.compile(r"\b(see there|likewise|as above|as before|as the others?|ditto)\b", re.IGNORECASE)

ROOMS = ("artquant_plugin", "benchmarks", "tasks", "train")


class Argument(NamedTuple):
    """A documented argument: the name of the function or class, the argument's own name, and its description."""

    owner: str
    name: str
    text: str


def documented_arguments(source: str) -> Iterator[Argument]:
    """The entries of every `Args:` section in a module's source, continuation lines joined to one text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            owner = getattr(node, "name", "the module")
            for name, text in entries(ast.get_docstring(node) or ""):
                yield Argument(owner, name, text)


def entries(docstring: str) -> list[tuple[str, str]]:
    """Names and descriptions in the section `Args:` of a docstring without its common indentation."""
    found: list[tuple[str, str]] = []
    inside = False
    for line in docstring.splitlines():
        if line and not line.startswith(" "):
            inside = line == "Args:"
        elif inside and (entry := re.match(r"    (\*{0,2}\w+)(?: \([^)]*\))?:(.*)$", line)):
            found.append((entry[1], entry[2].strip()))
        elif inside and line.strip() and found:
            name, text = found[-1]
            found[-1] = (name, f"{text} {line.strip()}".strip())
    return found


def says_little(text: str) -> bool:
    return len(text.split()) < FEWEST_WORDS or POINTS_NOWHERE.search(text) is not None


def files(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def test_entries_are_read_with_their_continuation_lines():
    source = '''
def score(images, size):
    """Score images.

    Args:
        images: paths,
            or pictures.
        size (int): of a batch; see there.

    Returns:
        image: not an argument.
    """
'''
    assert list(documented_arguments(source)) == [
        Argument("score", "images", "paths, or pictures."),
        Argument("score", "size", "of a batch; see there."),
    ]


@pytest.mark.parametrize(
    ("text", "little"),
    [
        ("of the model.", True),
        ("shape (n, K), float64.", True),
        ("scores of shape (n,), in [0, 10].", False),
        ("the number of images per batch; see there.", True),
        ("", True),
    ],
)
def test_four_words_or_a_reference_to_nowhere_say_little(text, little):
    assert says_little(text) is little


@pytest.mark.parametrize("place", ROOMS)
def test_documented_arguments_say_what_they_are(place):
    paths = files(place)
    assert paths, f"{place} is no folder and no file"
    little = [
        f"{path.relative_to(ROOT)}: {argument.owner}({argument.name}): {argument.text!r}"
        for path in paths
        for argument in documented_arguments(path.read_text(encoding="utf-8"))
        if says_little(argument.text)
    ]
    assert not little, "\n".join(little)
