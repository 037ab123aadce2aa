"""Patterns that the shell did not expand, and paths that come through standard input."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from artquant_plugin.bulk.inputs import find_inputs
from artquant_plugin.common.errors import ArtQuantError
from tests.paths import ROOT


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Six pictures, a text, the system's thumbnails and an empty folder, in the working folder."""
    monkeypatch.chdir(tmp_path)
    names = ("b.png", "a.png", "deep/c.png", "deep/er/d.jpg", "deep/no_ending", "e[1].png")
    for name in (*names, "@eaDir/t.png", ".hidden/h.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name, "PNG")
    (tmp_path / "deep/notes.txt").write_text("nothing")
    (tmp_path / "empty").mkdir()
    return tmp_path


def names(*patterns: str) -> list[str]:
    return [image.name for image in find_inputs(patterns).images()]


def test_a_pattern_is_its_pictures_in_order(here):
    assert names("*.png") == ["a.png", "b.png", "e[1].png"]
    assert names("[ab].png") == names("?.png") == ["a.png", "b.png"]
    assert names("**/*.png") == ["a.png", "b.png", "deep/c.png", "e[1].png"]
    assert names("**/*") == ["a.png", "b.png", "deep/c.png", "deep/er/d.jpg", "deep/no_ending", "e[1].png"]
    assert names(f"{here}/deep/*.png") == [f"{here}/deep/c.png"]
    assert names("b.png", "a*") == ["b.png", "a.png"]
    inputs = find_inputs(["deep/*"])
    assert inputs.passed_over() == "passed over 1: text files 1" and inputs.count() == 2
    assert names(".hidden/*") == [".hidden/h.png"]  # the folder was named


def test_a_file_whose_name_looks_like_a_pattern_wins(here):
    assert names("e[1].png") == ["e[1].png"]
    Image.new("RGB", (4, 4)).save(here / "e1.png")
    assert names("e[1].png") == ["e[1].png"]
    (here / "e[1].png").unlink()
    assert names("e[1].png") == ["e1.png"]


def test_a_picture_that_is_found_through_a_link_to_its_folder_is_one_row(here):
    (here / "deep/again").symlink_to(here / "deep")
    assert names("deep/**/*.png") == ["deep/c.png"]
    assert len(names("deep/**/*")) == 3


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*.webp", r"no file matches the pattern '\*.webp'; mend it"),
        ("emp*", r"folders alone match the pattern 'emp\*'; end it with /\*"),
        ("deep/*.txt", r"pattern 'deep/\*.txt' matches no picture, table or archive, only other files; mend it"),
        ("nowhere/**/*.png", "no file matches the pattern"),
    ],
)
def test_a_pattern_without_a_picture_is_one_line(here, pattern, message):
    with pytest.raises(ArtQuantError, match=message):
        find_inputs([pattern])


def test_tables_are_taken_where_a_pattern_matches_no_picture(here):
    for number in (1, 2):
        (here / f"t{number}.csv").write_text("image\na.png\n")
    inputs = find_inputs(["t*.csv"])
    assert [image.name for image in inputs.images()] == ["a.png", "a.png"]


def test_a_record_tells_when_a_pattern_matches_something_else(here):
    before = find_inputs(["*.png"]).identity()
    assert before == find_inputs(["*.png"]).identity()
    Image.new("RGB", (4, 4), "red").save(here / "z.png")
    assert before != find_inputs(["*.png"]).identity()


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_paths_come_through_standard_input(here, separator):
    given = separator.join([b"b.png", b"", b"deep/c.png", b"gone\xff.png", b""])
    program = (
        "import os; from artquant_plugin.bulk.inputs import find_inputs\n"
        "print(*(os.fsencode(image.name) for image in find_inputs(['-']).images()))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, env=environment)
    assert done.stdout.decode().strip() == r"b'b.png' b'deep/c.png' b'gone\xff.png'", done.stderr
    empty = subprocess.run([sys.executable, "-c", program], input=b"\n", capture_output=True, env=environment)
    assert b"no path came through standard input; write one per line" in empty.stderr
