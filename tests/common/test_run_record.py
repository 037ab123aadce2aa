"""Records of results: what a reader refuses, what a comparison names, who may write."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.run_record import has_writer, only_writer, read_record, refuse_changes, write_record
from tests.locks import held_by_another_process


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no record of a run .*remove it or pass --overwrite"),
        ("[1]", "is no record of a run"),
        ("7", "is no record of a run"),
        ('{"a": 1}', "is no record of a run .*form_version"),
        ('{"form_version": 2}', "has form version 2, this release reads 1"),
        ('{"form_version": 1, "a": 1}', "is no record of a run .it lacks 'b', 'c'.; remove"),
    ],
)
def test_a_file_that_is_no_record_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ArtQuantError, match=message) as refused:
        read_record(tmp_path / "r.json", fields=("a", "b", "c"))
    assert "\n" not in str(refused.value)


def test_what_is_written_is_read_with_its_form_version_first(tmp_path):
    assert read_record(tmp_path / "r.json") is None
    write_record(tmp_path / "r.json", {"b": [1], "a": "é"})
    assert list(json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))) == ["form_version", "b", "a"]
    assert read_record(tmp_path / "r.json") == {"form_version": 1, "b": [1], "a": "é"}


def test_another_version_is_read_where_the_caller_takes_any(tmp_path):
    (tmp_path / "r.json").write_text('{"form_version": 9}')
    assert read_record(tmp_path / "r.json", form_version=None) == {"form_version": 9}


def test_a_comparison_names_three_changes_and_counts_the_others(tmp_path):
    before = {"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": [1], "f": None}
    refuse_changes(tmp_path, before, before | {"e": (1,)}, remedy="mend it")
    with pytest.raises(ArtQuantError) as refused:
        refuse_changes(tmp_path, before, {"a": 2, "b": {"c": [1, 3]}, "e": [1, 2], "f": 0}, remedy="mend it")
    said = "a 1 -> 2; b.c[1] 2 -> 3; b.d x -> None and 2 more; mend it"
    assert str(refused.value) == f"'{tmp_path}' was made from something else: {said}"


def test_a_lock_has_one_holder(tmp_path):
    lock = tmp_path / "new" / "lock"
    assert not has_writer(lock)
    with held_by_another_process(lock):
        assert has_writer(lock)
        with pytest.raises(ArtQuantError, match="another process is writing"), only_writer(lock, tmp_path):
            pass
    assert not has_writer(lock)
    with only_writer(lock, tmp_path):
        pass


HOLDER = """
import sys
from pathlib import Path
from artquant_plugin.common.run_record import only_writer
with only_writer(Path(sys.argv[1]), Path("result")):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(lock: Path) -> subprocess.Popen:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


def test_a_second_writer_is_told_which_process_is_the_first_and_a_killed_one_holds_nothing(tmp_path):
    lock = tmp_path / ".lock"
    holder = start_holder(lock)
    try:
        with (
            pytest.raises(ArtQuantError) as raised,
            only_writer(lock, Path("result"), elsewhere="--set output=FOLDER"),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert str(raised.value) == (
        f"another process is writing 'result' (process {holder.pid} on {socket.gethostname()}); wait for it, or stop "
        "it, or pass --set output=FOLDER"
    )
    with only_writer(lock, Path("result")):
        assert lock.read_text() == f"process {os.getpid()} on {socket.gethostname()}"


def test_the_name_of_the_holder_is_written_into_no_file_of_somebody_else(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    os.link(mine, tmp_path / "lock")
    with only_writer(tmp_path / "lock", Path("result")):
        pass
    assert mine.read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder in which root can make no file either")
def test_a_folder_that_takes_no_files_is_not_called_another_process() -> None:
    with pytest.raises(ArtQuantError, match="'/proc/x' cannot be written: '/proc' takes no files; pass another --out"):
        with only_writer(Path("/proc/.x.lock"), Path("/proc/x")):
            pass


# A peer in a process of its own, since what lmms-eval changes stays changed.
BESIDE_LMMS_EVAL = """
import os, sys, threading
from pathlib import Path
from lmms_eval.evaluator import _enable_reentrant_filelocks
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.run_record import has_writer, only_writer

_enable_reentrant_filelocks()
lock = Path(sys.argv[1])

def attempt():
    try:
        with only_writer(lock, Path("result")):
            os.write(1, b"written\\n")
    except ArtQuantError:
        os.write(1, b"refused\\n")

with only_writer(lock, Path("result")):
    second = threading.Thread(target=attempt)
    second.start()
    second.join()
    print(has_writer(lock), flush=True)
attempt()
if os.fork() == 0:
    attempt()
    os._exit(0)
os.wait()
"""


@pytest.mark.slow
def test_beside_lmms_eval_each_writer_has_a_lock_of_its_own(tmp_path):
    """lmms-eval 0.7.3 makes locks of the class `FileLock` one per path for its whole process, and its forks."""
    command = [sys.executable, "-c", BESIDE_LMMS_EVAL, str(tmp_path / ".lock")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-4:] == ["refused", "True", "written", "written"]
