"""The tool of the kill tests: it finds every operation of a small action and ends it on both sides of each."""

import os
import shutil
from pathlib import Path

import pytest

from tests.kills import kills, operations


def replace_file(folder: Path) -> None:
    with open(folder / "new", "w") as file:
        file.write("new")
    os.replace(folder / "new", folder / "file")
    (folder / "room").mkdir()
    shutil.rmtree(folder / "room")


def test_operations_are_found_in_their_order(tmp_path):
    found = operations(lambda: replace_file(tmp_path), tmp_path)
    assert [(each.name, each.paths) for each in found] == [
        ("open", ("new",)),
        ("os.rename", ("new", "file")),
        ("os.mkdir", ("room",)),
        ("os.rmdir", ("room",)),
    ]


def test_a_kill_before_and_after_each_operation(tmp_path):
    folder = tmp_path / "watched"

    def renew() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "file").write_text("old")

    left = []
    for operation, side in kills(lambda: replace_file(folder), folder, renew):
        left.append((operation.name, side, sorted(os.listdir(folder)), (folder / "file").read_text()))
    assert left == [
        ("open", "before", ["file"], "old"),
        ("open", "after", ["file", "new"], "old"),
        ("os.rename", "before", ["file", "new"], "old"),
        ("os.rename", "after", ["file"], "new"),
        ("os.mkdir", "before", ["file"], "new"),
        ("os.mkdir", "after", ["file", "room"], "new"),
        ("os.rmdir", "before", ["file", "room"], "new"),
        ("os.rmdir", "after", ["file"], "new"),
    ]


def test_an_action_that_fails_by_itself_is_told(tmp_path):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        operations(lambda: 1 / 0, tmp_path)
