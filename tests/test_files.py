import os

import pytest

from artquant_plugin.files import atomic_write


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
