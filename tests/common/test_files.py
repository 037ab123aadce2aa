import os
import sys
import tempfile

import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_files, atomic_folder, atomic_write, link_files, private_folder


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as file:
        file.write("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_target_changes_only_at_the_end_and_folders_are_made(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    with atomic_write(target) as file:
        file.write("grüße\r\n")
        file.flush()
        assert not target.exists()
    assert target.read_bytes() == "grüße\r\n".encode()


def test_the_file_has_the_users_default_mode(tmp_path):
    old = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a", "wb") as file:
            file.write(b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_files_of_a_folder_come_together_or_not_at_all(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(RuntimeError), atomic_files(tmp_path, last="a") as part:
        (part / "a").write_text("new")
        raise RuntimeError
    assert sorted(os.listdir(tmp_path)) == ["a", "mine"]
    assert (tmp_path / "a").read_text() == "old"
    with atomic_files(tmp_path, last="a") as part:
        (part / "a").write_text("new")
        (part / "deep").mkdir()
        (part / "deep" / "b").write_text("b")
    assert sorted(os.listdir(tmp_path)) == ["a", "deep", "mine"]
    assert ((tmp_path / "a").read_text(), (tmp_path / "deep" / "b").read_text()) == ("new", "b")


def test_while_files_are_moved_the_last_one_is_absent(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").write_text("old")
    moved = []
    replace = os.replace

    def watched(source, target):
        moved.append((target.name, (tmp_path / "a").exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    with atomic_files(tmp_path, last="a") as part:
        for name in "abc":
            (part / name).write_text("new")
    assert moved[-1] == ("a", False)
    assert sorted(name for name, _ in moved[:-1]) == ["b", "c"]
    assert not any(there for _, there in moved)


def test_of_several_last_files_each_comes_after_the_one_named_before_it(tmp_path, monkeypatch):
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (moved.append(target.name), replace(source, target)))
    with atomic_files(tmp_path, last=("b", "a")) as part:
        for name in "abc":
            (part / name).write_text("new")
    assert moved == ["c", "b", "a"]


def test_what_a_killed_process_left_in_a_folder_of_files_goes(tmp_path):
    (tmp_path / ".part-abc").mkdir()
    (tmp_path / ".part-abc" / "a").write_text("half")
    with atomic_files(tmp_path, last="a") as part:
        (part / "a").write_text("new")
    assert os.listdir(tmp_path) == ["a"]


def test_files_in_deep_folders_get_a_second_name(tmp_path):
    (tmp_path / "one" / "deep").mkdir(parents=True)
    (tmp_path / "one" / "deep" / "a").write_text("a")
    (tmp_path / "other").mkdir()
    link_files(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "other" / "deep" / "a").read_text() == "a"


def test_a_folder_appears_whole_and_replaces_the_one_before(tmp_path):
    for content in ("first", "second"):
        with atomic_folder(tmp_path / "deep/out") as part:
            (part / content).write_text(content)
            assert not (tmp_path / "deep/out" / content).exists()
    assert [path.name for path in (tmp_path / "deep/out").iterdir()] == ["second"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_folder_that_fails_leaves_the_one_before_and_nothing_else(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/before").touch()
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "out") as part:
        (part / "half").touch()
        raise RuntimeError
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["before"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_left_of_a_folder_goes(tmp_path):
    (tmp_path / ".out.part-abc").mkdir()
    (tmp_path / ".other.part-abc").mkdir()
    with atomic_folder(tmp_path / "out"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.part-abc", "out"]


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows, each user has a folder for temporary files anyway")
def test_the_private_folder_is_the_users_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = private_folder()
    assert folder == private_folder() and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o770)
    with pytest.raises(ArtQuantError, match="is not a folder that you alone can read and write"):
        private_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)  # planted by somebody who can write to the folder of all users
    with pytest.raises(ArtQuantError, match="is a symbolic link"):
        private_folder()
