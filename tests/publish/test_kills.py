"""Publications that are killed at each file operation and at each request to the Hub, and run again.

The Hub's store lies in the watched folder, so that a copy of that folder holds both sides as a kill leaves them.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from artquant_plugin.checkpoint.identity import weights_hash
from artquant_plugin.train.rad.export import export_run
from artquant_plugin.train.rad.table import RadRun
from tests.peers.local_hub import LocalHub
from tests.publish.client import Client, environment
from tests.publish.conftest import TOKEN, Desk, write_adapter
from tests.publish.test_model_card import write_results
from tests.tiny import tiny_llava
from tests.train.rad.finished_runs import write_data, write_run

pytestmark = [pytest.mark.slow(seconds=200), pytest.mark.timeout(1200)]


@dataclass
class Place:
    """A folder with all that a publication reads and writes: the Hub's store, its cache, temporary files, sources."""

    desk: Desk
    folder: Path

    def done(self, *argv: Any) -> None:
        outcome = self.desk.client.run(*argv)
        assert outcome.code == 0, (outcome.out, outcome.err[-2000:])

    def content(self) -> dict[str, Any]:
        """Everything in the folder but the cache of the Hub's client, which keeps in it what it likes.

        Commits are counted and not named, because their names depend on the clock.
        """
        names: dict[str, Any] = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if name.startswith("hub/repos/") and path.is_file():
                found = json.loads(path.read_text())
                files = {ref: self.files_at(found, commit) for ref, commit in found["refs"].items()}
                names[name] = (found["private"], len(found["commits"]), sorted(found["tags"]), files)
            elif not name.startswith("home/"):
                names[name] = path.read_bytes() if path.is_file() else "folder"
        return names

    @staticmethod
    def files_at(repo: dict[str, Any], commit: str) -> dict[str, str]:
        return {path: entry["sha256"] for path, entry in repo["commits"][commit]["files"].items()}


@pytest.fixture
def place(tmp_path) -> Iterator[Place]:
    folder = tmp_path / "watched"
    for name in ("tmp", "home"):
        (folder / name).mkdir(parents=True)
    with LocalHub(folder / "hub", token=TOKEN, user="me") as hub:
        env = environment(hub.url, folder / "home", TOKEN, TMPDIR=str(folder / "tmp"))
        client = Client(env | {"MPLCONFIGDIR": str(tmp_path / "matplotlib")}, folder)
        yield Place(Desk(hub, client, folder), folder)
        client.close()


def check_every_kill(place: Place, tmp_path: Path, *argv: Any) -> list[str]:
    """Kill a command at each of its operations, run it again, and compare with one that was not disturbed.

    Args:
        place: where it runs, in the state from which it starts.
        tmp_path: a folder for copies.
        argv: the command.

    Returns:
        The names of the operations, such as ``tests.request request POST /api/…``.
    """
    start, copies = tmp_path / "start", tmp_path / "copies"
    shutil.copytree(place.folder, start, symlinks=True)

    def renew(state: Path) -> None:
        for entry in place.folder.iterdir():
            shutil.rmtree(entry)
        shutil.copytree(state, place.folder, symlinks=True, dirs_exist_ok=True)

    place.done(*argv)
    undisturbed = place.content()
    renew(start)
    copies.mkdir()
    seen = []
    for operation, side, copy in place.desk.client.leftovers(place.folder, copies, *argv):
        where = f"{side} {operation}"
        seen.append(f"{operation.name} {operation.paths[-1]}")
        renew(copy)
        place.done(*argv)
        now = place.content()
        assert now.keys() == undisturbed.keys(), (where, now.keys() ^ undisturbed.keys())
        assert now == undisturbed, (where, [name for name in now if now[name] != undisturbed[name]])
    return seen


def changes(seen: list[str]) -> list[str]:
    """The requests among the operations that change something on the Hub, without names of commits and contents."""
    found = [re.fullmatch(r"tests\.request request ((POST|PUT) .*?)(/[0-9a-f]{40,64})?", name) for name in seen]
    return list(dict.fromkeys(match[1] for match in found if match))


def test_a_new_repository_of_a_merged_adapter_with_its_results(place, tmp_path):
    root = place.folder
    save_checkpoint(root / "base", *tiny_llava(), ScoringSpec())
    place.done("publish", "model", root / "base", "--repo", "me/base", "--license", "apache-2.0")
    adapter = write_adapter(root / "base", root / "adapter", extra=True)
    results = write_results(root / "results", weights_hash(adapter))
    options = ("--base", "me/base", "--merge", "--results", results, "--revision", "v1", "--private")
    seen = check_every_kill(place, tmp_path, "publish", "model", adapter, "--repo", "me/merged", *options)
    commit, tag = "POST /api/models/me/merged/commit/main", "POST /api/models/me/merged/tag"
    assert changes(seen) == ["POST /api/repos/create", "PUT /lfs", commit, tag]


def test_another_checkpoint_over_an_earlier_one(place, tmp_path):
    """Files of the earlier publication go away in the commit that brings the new ones."""
    root = place.folder
    save_checkpoint(root / "base", *tiny_llava(), ScoringSpec())
    place.done("publish", "model", root / "base", "--repo", "me/base", "--license", "apache-2.0")
    place.done("publish", "model", root / "base", "--repo", "me/one", "--license", "mit", "--revision", "v1")
    adapter = write_adapter(root / "base", root / "adapter", extra=True)
    options = ("--base", "me/base", "--revision", "v2")
    seen = check_every_kill(place, tmp_path, "publish", "model", adapter, "--repo", "me/one", *options)
    assert changes(seen) == ["PUT /lfs", "POST /api/models/me/one/commit/main", "POST /api/models/me/one/tag"]
    assert "model.safetensors" not in place.desk.files("me/one")


def test_a_source_of_rad_beside_another(place, tmp_path):
    root = place.folder
    for name in ("apdd", "baid"):
        data = write_data(tmp_path / "data" / name, name=name)
        with RadRun.open(write_run(tmp_path / f"run-{name}", data)) as run:
            export_run(run, root / f"rad-{name}")
    place.done("publish", "rad", root / "rad-baid", "--repo", "me/RAD")
    argv = ("publish", "rad", root / "rad-apdd", "--repo", "me/RAD", "--revision", "v1")
    seen = check_every_kill(place, tmp_path, *argv)
    assert changes(seen) == ["PUT /lfs", "POST /api/datasets/me/RAD/commit/main", "POST /api/datasets/me/RAD/tag"]
