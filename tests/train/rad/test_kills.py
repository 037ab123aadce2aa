"""Runs and exports that are killed at every file operation and at both sides of every transaction.

SQLite writes without Python, so that its writes raise no audit events; a connection that raises one before and one
after each COMMIT makes the ends of transactions operations as well.
"""

import shutil
import sqlite3
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from artquant_plugin.train.rad.export import export_run
from artquant_plugin.train.rad.store import STORE_FILE
from artquant_plugin.train.rad.table import RadRun
from tests.kills import kills, operations
from tests.peers.local_llm import LocalLLM
from tests.train.rad.finished_runs import write_data, write_run
from tests.train.rad.runs import dataset, exchanges, is_generator, number, rad, results, script

SERIAL = ("generator.concurrency=1", "judge.concurrency=1", "generator.max_retries=0", "judge.max_retries=0")


class Audited(sqlite3.Connection):
    """A connection whose commits are operations on the store's file."""

    def execute(self, query, *values):
        if query != "COMMIT":
            return super().execute(query, *values)
        self._tell()
        try:
            return super().execute(query, *values)
        finally:
            self._tell()

    def _tell(self):
        sys.audit("os.truncate", super().execute("PRAGMA database_list").fetchone()[2], 0)


@pytest.fixture
def audited(monkeypatch):
    """Every store that is opened in this test tells of its commits."""
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Audited))


def content(run: Path) -> tuple:
    """What a store holds, without times and without the order of the replies."""
    rows = [replace(e, seconds=0.0, at=0.0) for e in exchanges(run)]
    return results(run), sorted(rows, key=lambda e: (e.position, e.side, e.round))


def stored(run: Path) -> Counter:
    """Replies that are in the store, by painting and side; none where there is no store yet."""
    if not (run / STORE_FILE).is_file():
        return Counter()
    try:
        return Counter((e.position, e.side) for e in exchanges(run))
    except Exception:  # a store whose tables were not made yet
        return Counter()


def test_commits_are_operations(tmp_path, audited):
    data = dataset(tmp_path / "data", 2)
    with LocalLLM(script()) as llm:
        found = operations(lambda: rad(data, tmp_path / "run", llm.url, *SERIAL), tmp_path / "run")
    commits = [each for each in found if each.paths == (STORE_FILE,) and each.name == "os.truncate"]
    assert len(commits) >= 2 * (1 + 4)  # the paintings and four replies, two events each


@pytest.mark.slow(seconds=120)
@pytest.mark.parametrize("way", ["live", "batch"])
def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path, audited, way):
    data, run = dataset(tmp_path / "data", 2), tmp_path / "run"
    options = (*SERIAL, *(("judge.batch=true",) if way == "batch" else ()))
    with LocalLLM(script()) as llm:
        rad(data, tmp_path / "whole", llm.url, *options, batch=way == "batch")
        whole = content(tmp_path / "whole")

        def renew():
            shutil.rmtree(run, ignore_errors=True)
            llm.requests.clear()
            llm.batch_lines.clear()
            llm.batches.clear()

        action = partial(rad, data, run, llm.url, *options, batch=way == "batch")
        for operation, side in kills(action, run, renew):
            place = f"{side} {operation}"
            before, seen = stored(run), len(llm.requests)
            assert action().counts["accepted"] == 2, place
            assert content(run) == whole, place
            again = Counter(
                (number(body), "generator" if is_generator(body) else "judge") for _, body in llm.requests[seen:]
            )
            assert not again & before, place  # no reply that is in the store is paid for again
            assert len(llm.batch_lines) == len(set(llm.batch_lines)) == (4 if way == "batch" else 0), place
            assert not [path for path in (run / "batches").glob("*")], place


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow(seconds=50)
@pytest.mark.parametrize("earlier", [False, True])
def test_a_killed_export_ends_as_an_undisturbed_one(tmp_path, earlier):
    data = write_data(tmp_path / "data")
    folder, place = write_run(tmp_path / "run", data), tmp_path / "exports"
    other = write_run(tmp_path / "other", data, {})
    out = place / "out"

    def export(run=folder, target=out, **options):
        with RadRun.open(run) as opened:
            return export_run(opened, target, **options)

    export(target=tmp_path / "whole")
    whole = files(tmp_path / "whole")

    def renew():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        if earlier:
            export(other, with_images=True, license=data.info.license)

    for operation, side in kills(partial(export, overwrite=True), place, renew):
        if out.exists():
            assert (out / "rad.json").is_file() and (out / "dataset.json").is_file(), f"{side} {operation}"
        export(overwrite=True)
        assert files(out) == whole, f"{side} {operation}"
        assert [path.name for path in place.iterdir()] == ["out"], f"{side} {operation}"
