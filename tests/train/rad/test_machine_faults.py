"""A full disk, too few open files, planted links and a second export: one line each, and a rerun that goes on."""

import os
import subprocess
import sys

import pytest

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.train.rad.export import export_run
from artquant_plugin.train.rad.label_files import write_label_files
from artquant_plugin.train.rad.store import STORE_FILE, RunStore
from artquant_plugin.train.rad.table import RadRun
from tests.locks import held_by_another_process
from tests.paths import ROOT
from tests.peers.local_llm import LocalLLM
from tests.train.rad.finished_runs import write_data, write_run
from tests.train.rad.runs import dataset, rad, script

SMALLEST = 33_000  # bytes: SQLite makes a file of 32 KiB even for reading
LIMITED = """
import resource, sys
from artquant_plugin.cli import main
resource.setrlimit(getattr(resource, sys.argv[1]), (int(sys.argv[2]), int(sys.argv[2])))
sys.exit(main(sys.argv[3:]))
"""


def limited(limit, value, *arguments):
    """A command under a limit of the system; a file that may not grow stands for a full disk."""
    command = [sys.executable, "-c", LIMITED, limit, str(value), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, cwd=ROOT, text=True, capture_output=True, timeout=120)


def one_line(done, *said):
    assert done.returncode == 2, done.stderr
    *before, line = done.stderr.strip().splitlines()
    assert line.startswith("artquant: error: ") and all(told.startswith("batch ") for told in before), done.stderr
    assert all(words in line for words in said), line


@pytest.mark.parametrize("batch", [False, True])
def test_a_disk_that_is_full_in_the_middle_ends_the_run_in_one_line(tmp_path, batch):
    data = dataset(tmp_path / "data", 30)
    with LocalLLM(script()) as llm:
        options = [
            f"--set={s}.{o}" for s in ("generator", "judge") for o in (f"base_url={llm.url}", "api_key_env=null")
        ]
        options += ["--set=judge.batch=true", "--set=batch.poll_seconds=0.01", "--batch"] if batch else []
        command = ["rad", "generate", "--data", data, "--out", tmp_path / "run", *options]
        for size in (20_000, 60_000, 100_000):
            one_line(limited("RLIMIT_FSIZE", size, *command), "run again")
        overrides = ("judge.batch=true",) if batch else ()
        assert rad(data, tmp_path / "run", llm.url, *overrides, batch=batch).counts["accepted"] == 30


@pytest.mark.slow
def test_too_few_open_files_end_the_run_and_fail_no_painting(tmp_path):
    data = dataset(tmp_path / "data", 40)
    with LocalLLM(script(), delay=0.3) as llm:
        options = [
            f"--set={s}.{o}" for s in ("generator", "judge") for o in (f"base_url={llm.url}", "api_key_env=null")
        ]
        options += ["--set=generator.max_retries=0", "--set=judge.max_retries=0"]
        command = ["rad", "generate", "--data", data, "--out", tmp_path / "run", *options]
        one_line(limited("RLIMIT_NOFILE", 26, *command), "oo many open files", "ulimit -n")
        assert rad(data, tmp_path / "run", llm.url).counts == {
            "pending": 0,
            "refining": 0,
            "accepted": 40,
            "failed": 0,
        }


@pytest.mark.parametrize("form", ["dataset", "published"])
def test_an_export_onto_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, form):
    run = write_run(tmp_path / "run", write_data(tmp_path / "data", {"train": 400, "test": 4}))
    command = ["rad", "export", run, "--out", tmp_path / "exports" / "out", "--form", form]
    one_line(limited("RLIMIT_FSIZE", SMALLEST, *command), "out' cannot be written")
    assert not list((tmp_path / "exports").iterdir())


def test_a_report_onto_a_full_disk_is_one_line(tmp_path):
    run = write_run(tmp_path / "run", write_data(tmp_path / "data"))
    one_line(
        limited("RLIMIT_FSIZE", SMALLEST, "rad", "report", run, "--out", tmp_path / "r.html"),
        "r.html' cannot be written",
    )
    assert not list(tmp_path.glob("*r.html*"))


def test_two_exports_into_one_folder_are_refused(tmp_path):
    out = tmp_path / "out"
    with RadRun.open(write_run(tmp_path / "run", write_data(tmp_path / "data"))) as run:
        with held_by_another_process(tmp_path / ".out.lock"):
            for write in (export_run, write_label_files):
                with pytest.raises(ArtQuantError, match="another process is writing '.*out'"):
                    write(run, out)
        assert not out.exists()
        export_run(run, out)
        write_label_files(run, tmp_path / "labels")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "name", [STORE_FILE, f"{STORE_FILE}-wal", f"{STORE_FILE}-shm", f"{STORE_FILE}-journal", "lock"]
)
def test_a_link_in_the_place_of_a_runs_file_is_refused(tmp_path, name):
    data, mine = dataset(tmp_path / "data"), tmp_path / "mine"
    mine.write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(mine)
    with LocalLLM(script()) as llm, pytest.raises(ArtQuantError, match="is a symbolic link to"):
        rad(data, tmp_path / "run", llm.url)
    assert mine.read_text() == "precious" and not llm.requests


def test_a_link_in_the_place_of_the_batches_is_refused(tmp_path):
    data, mine = dataset(tmp_path / "data"), tmp_path / "mine"
    mine.mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "batches").symlink_to(mine)
    with LocalLLM(script()) as llm, pytest.raises(ArtQuantError, match="is a symbolic link to"):
        rad(data, tmp_path / "run", llm.url, "judge.batch=true", batch=True)
    assert not list(mine.iterdir())


def test_a_store_that_broke_is_one_line(tmp_path):
    run = write_run(tmp_path / "run", write_data(tmp_path / "data"))
    path = run / STORE_FILE
    with RunStore(path) as store:
        store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    with pytest.raises(ArtQuantError, match=r"store.sqlite' cannot be read \(database disk image is malformed\)"):
        with RunStore(path, readonly=True) as store:
            list(store.results())
            list(store.exchanges())
            store.counts()
