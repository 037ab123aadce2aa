"""RAD on the Hub: one repository, a configuration per source, loaded by `datasets` and trained on."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml

from artquant_plugin.data.dataset import Dataset
from artquant_plugin.train.rad.export import export_run
from artquant_plugin.train.rad.table import RadRun
from tests.publish.client import environment
from tests.publish.conftest import TOKEN
from tests.train.rad.finished_runs import levels, write_data, write_run
from tests.train.runs import TINY, write_config

LICENSE = "CC BY-NC-ND 4.0"
LOAD = """
import json, sys
from datasets import load_dataset
found = {}
for name in json.loads(sys.argv[1]):
    data = load_dataset(*name.split(":"))
    columns = {split: sorted(rows.features) for split, rows in data.items()}
    rows = {split: [[row["id"], row["score"], row["perception"]] for row in rows.select_columns(
        ["id", "score", "perception"])] for split, rows in data.items()}
    found[name] = [columns, rows]
print("found", json.dumps(found))
"""


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Exports of three sources, one of them with pictures; the sources lie where imports lie."""
    root = tmp_path_factory.mktemp("rad")
    for name, pictures in (("apdd", False), ("baid", False), ("vaps", True)):
        data = write_data(root / "data" / name, name=name, license=LICENSE)
        with RadRun.open(write_run(root / f"run-{name}", data)) as run:
            export_run(run, root / f"rad-{name}", with_images=pictures, license=LICENSE)
    return root


@pytest.fixture
def client(desk, exports, tmp_path):
    """A user who has imported the sources."""
    return desk.client.somebody(TOKEN, tmp_path, ARTQUANT_DATA=str(exports / "data"))


def publish(desk, folder, repo, *options):
    return desk.client.run("publish", "rad", folder, "--repo", repo, *options)


def header(desk, repo):
    return yaml.safe_load(desk.files(repo, "datasets")["README.md"].decode().split("---")[1])


def load(desk, home, *names):
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(names)],
        env=environment(desk.hub.url, home, TOKEN),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.rpartition("found ")[2])


def test_sources_share_a_repository_and_load_by_name(desk, exports, tmp_path):
    for name in ("baid", "apdd"):
        assert publish(desk, exports / f"rad-{name}", "me/RAD", "--revision", name).code == 0
    configs = header(desk, "me/RAD")["configs"]
    assert [config["config_name"] for config in configs] == ["apdd", "baid"]
    assert configs[0]["data_files"][0] == {"split": "train", "path": "apdd/data/train-*.parquet"}
    found = load(desk, tmp_path / "home", "me/RAD:apdd", "me/RAD:baid")
    own = Dataset.load(exports / "rad-apdd")
    columns, rows = found["me/RAD:apdd"]
    assert set(rows) == {"train", "validation", "test"} and "image" not in columns["train"]
    assert {"file_name", "sha256", "description", "judge_score"} <= set(columns["train"])
    position = 0
    for split in ("train", "validation", "test"):
        for row, painting in zip(rows[split], own.each(split), strict=True):
            text = None if position % 5 == 4 else levels(position)["perception"]
            assert row == [painting.id, painting.score, text]
            position += 1


def test_a_second_publication_is_no_commit_whatever_else_lies_there(desk, exports):
    for name in ("apdd", "baid", "apdd", "baid"):
        outcome = publish(desk, exports / f"rad-{name}", "me/RAD-twice")
        assert outcome.code == 0, outcome.err
    assert "nothing to do" in outcome.out
    assert desk.commits("me/RAD-twice", "datasets") == 3
    files = desk.files("me/RAD-twice", "datasets")
    assert {"apdd/rad.json", "baid/rad.json", "apdd/data/train-00000-of-00001.parquet"} <= set(files)


def test_the_card_tells_how_each_source_was_made_and_names_no_place_of_this_machine(desk, exports):
    assert publish(desk, exports / "rad-apdd", "me/RAD-card").code == 0
    files = desk.files("me/RAD-card", "datasets")
    card = files["README.md"].decode()
    data = header(desk, "me/RAD-card")
    assert (data["license"], data["size_categories"]) == ("cc-by-nc-nd-4.0", ["n<1K"])
    assert data["configs"][0]["default"] is True
    for told in (
        "`writer-1`",
        "`critic-1`",
        "| train | 6 | 5 |",
        "| round | accepted | failed |",
        "Prompts: ",
        LICENSE,
    ):
        assert told in card, told
    assert "Pictures are not part of it." in card and 'load_dataset("me/RAD-card", "apdd")' in card
    assert not [name for name, content in files.items() if str(exports).encode() in content]
    assert json.loads(files["apdd/dataset.json"])["image_root"] == "pictures"


def test_pictures_are_published_on_the_users_word_alone(desk, exports):
    error = publish(desk, exports / "rad-vaps", "me/RAD-pictures").error
    assert f"pass --with-images --confirm-license '{LICENSE}' if you may publish copies" in error
    asked = ("--with-images", "--confirm-license", "CC0")
    assert "which are under" in publish(desk, exports / "rad-vaps", "me/RAD-pictures", *asked).error
    assert "holds no pictures; export it again" in publish(desk, exports / "rad-apdd", "me/x", "--with-images").error
    assert "belongs to --with-images" in publish(desk, exports / "rad-apdd", "me/x", "--confirm-license", "a").error
    assert not desk.hub.store.path("datasets", "me/RAD-pictures").exists()
    asked = ("--with-images", "--confirm-license", LICENSE)
    assert publish(desk, exports / "rad-vaps", "me/RAD-pictures", *asked).code == 0
    assert "The rows hold the pictures." in desk.files("me/RAD-pictures", "datasets")["README.md"].decode()


@pytest.mark.parametrize(
    ("folder", "options", "message"),
    [
        ("none", (), "is no export of RAD"),
        ("data/apdd", (), "is no export of RAD"),
        ("rad-apdd", ("--config", "A b"), "configuration 'A b' is not of small letters"),
        ("rad-apdd", ("--repo", "x"), "--repo 'x' has no namespace"),
    ],
)
def test_wrong_usage_is_one_line(folder, options, message, desk, exports):
    assert message in publish(desk, exports / folder, "me/x", *options).error


def test_what_does_not_belong_is_refused(desk, exports, tmp_path):
    folder = shutil.copytree(exports / "rad-apdd", tmp_path / "x")
    (folder / "loader.py").write_text("import os")
    assert "holds loader.py, which does not belong to an export of RAD" in publish(desk, folder, "me/x").error


def test_training_takes_it_from_the_hub_with_the_users_own_pictures(desk, exports, client, tmp_path):
    assert publish(desk, exports / "rad-apdd", "me/RAD-train", "--revision", "v1").code == 0
    stages = [{"name": "mat", "samples": ["describe", "score"], "epochs": 1}]
    config = write_config(tmp_path, tmp_path, data=["me/RAD-train@v1:apdd"], model=TINY, stages=stages)
    outcome = client.run("train", config)
    assert outcome.code == 0, (outcome.code, outcome.err[-3000:])
    assert "5 describe, 6 score samples, 2 paintings for validation" in outcome.out
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert list(record["data"]) == ["rad-apdd"]


def test_training_takes_published_pictures_as_they_are(desk, exports, tmp_path):
    asked = ("--with-images", "--confirm-license", LICENSE)
    assert publish(desk, exports / "rad-vaps", "me/RAD-own", *asked).code == 0
    stranger = desk.client.somebody(TOKEN, tmp_path, ARTQUANT_DATA=str(tmp_path / "data"))
    config = write_config(tmp_path, tmp_path, data=["me/RAD-own:vaps"], model=TINY)
    outcome = stranger.run("train", config, "--dry-run")
    assert outcome.code == 0, (outcome.code, outcome.err[-3000:])
    assert "5 describe, 6 score samples" in outcome.out
    assert "has no configuration 'apdd' of RAD" in stranger.run("data", "show", "me/RAD-own:apdd").error
    assert "that you may read" in stranger.run("data", "show", "me/RAD-none:apdd").error


def test_pictures_that_the_user_lacks_are_named_with_the_remedy(desk, exports, tmp_path):
    assert publish(desk, exports / "rad-apdd", "me/RAD-lacking").code == 0
    stranger = desk.client.somebody(TOKEN, tmp_path, ARTQUANT_DATA=str(tmp_path / "data"))
    name = "me/RAD-lacking:apdd"
    error = stranger.run("data", "show", name).error
    assert "'apdd' is not imported; its pictures are those of `artquant data import apdd" in error
    own = write_data(tmp_path / "data" / "apdd", name="apdd")
    lines = (own.folder / "test.jsonl").read_text()
    (own.folder / "test.jsonl").write_text(lines.replace(own.split("test")[1].sha256, "0" * 64))
    assert "picture '9.png' in" in (error := stranger.run("data", "show", name).error)
    assert error.endswith(
        "is another than the one that 'me/RAD-lacking:apdd' describes; import 'apdd' from its authors' files"
    )
    (own.folder / "test.jsonl").write_text(lines.replace("9.png", "other.png"))
    assert "picture '9.png' of 'me/RAD-lacking:apdd' is not in" in stranger.run("data", "show", name).error
    (own.folder / "test.jsonl").write_text(lines)
    assert stranger.run("data", "show", name).code == 0
