"""README.md and docs/: links lead somewhere, shown commands exist, tables and versions are those of their source."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from artquant_plugin.cli import build_parser
from tests.paths import ROOT
from tests.test_architecture import ALLOWED

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} is no file"
        assert not anchor or anchor in anchors(there), f"{target} is no heading"


def test_every_page_of_the_manual_is_linked_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[^)#]+\.md)\)", PAGES[0].read_text(encoding="utf-8")))
    assert linked == set(NAMES[1:])


def shown_commands(page: Path) -> list[str]:
    """The lines of a page's indented blocks that call `artquant`, without prompts and comments."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^    (?:\[\d/\d\] )?(?:\$ )?artquant (.+)$", text, re.MULTILINE)
    return [re.sub(r"  +#.*", "", line) for line in lines if "[--" not in line]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_command_line_takes_the_commands_that_are_shown(page):
    parser = build_parser()
    for line in shown_commands(page):
        parser.parse_args(shlex.split(line))  # what it does not know ends the process


def test_the_table_of_rooms_is_that_of_the_architecture_test():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/]+)` \| .+ \| (.+) \|$", page, re.MULTILINE)
    table = {name.replace("/", "."): set(re.findall(r"`([\w/]+)`", imported)) for name, imported in rows}
    assert {name: {room.replace("/", ".") for room in rooms} for name, rooms in table.items()} == ALLOWED


def test_the_versions_of_the_recipe_without_cuda_are_the_tested_ones():
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    named = re.findall(r"\S+==\S+", page)
    assert named and set(named) <= set((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())


def test_the_lines_about_levels_print_what_the_manual_shows():
    assert doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False) == (0, 5)
