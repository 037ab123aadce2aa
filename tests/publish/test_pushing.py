"""`artquant train --push-to-hub`: checkpoints on the Hub as they are written."""

import json

import pytest

from artquant_plugin.checkpoint import load_checkpoint
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.publish.conftest import TOKEN
from tests.tiny import pictures
from tests.train.runs import LORA, write_config, write_small

STAGE = [{"name": "sot", "samples": ["score"], "epochs": 2}]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_small(tmp_path_factory.mktemp("small"), count=12, validation=4)


@pytest.fixture
def config(small, tmp_path):
    return write_config(tmp_path, small, stages=STAGE)


def messages(desk, name: str) -> list[str]:
    repo = desk.repo(name)
    oid, found = repo["refs"]["main"], []
    while oid:
        found.append(repo["commits"][oid]["title"])
        oid = repo["commits"][oid]["parent"]
    return found[::-1]


def test_each_checkpoint_arrives_whole_in_one_commit_and_the_last_one_at_the_end(desk, config, tmp_path):
    outcome = desk.client.run("train", config, "--push-to-hub", "me/pushed")
    assert outcome.code == 0, outcome.err[-3000:]
    assert desk.repo("me/pushed")["private"]
    told = messages(desk, "me/pushed")
    # 8 paintings in batches of 4: an epoch has two steps. The second epoch's end is the stage's own.
    assert told == ["initial commit", "Checkpoint: sot, step 2", "Checkpoint: the last one"]
    files = desk.files("me/pushed")
    assert files["model.safetensors"] == (tmp_path / "run" / "model.safetensors").read_bytes()
    assert {"artquant.json", "tokenizer.json", "config.train.yaml", "README.md"} <= set(files)
    for commit in desk.repo("me/pushed")["commits"].values():
        assert not [name for name in commit["files"] if name.endswith((".pt", ".bin", ".pth")) or name == "whole"]
    assert str(tmp_path).encode() not in b"".join(files.values())
    assert not list((tmp_path / "run").rglob(".push-*"))
    for name, content in files.items():
        (tmp_path / "from-hub").mkdir(exist_ok=True)
        (tmp_path / "from-hub" / name).write_bytes(content)
    scores = [
        [result.score for result in ArtQuantScorer(load_checkpoint(str(folder))).score(pictures(2))]
        for folder in (tmp_path / "run", tmp_path / "from-hub")
    ]
    assert scores[0] == scores[1]
    # The whole card goes in the place of the one that stood for it.
    desk.done(tmp_path / "run", "me/pushed", "--license", "mit")
    assert b"## Score an image" in desk.files("me/pushed")["README.md"]


def test_a_checkpoint_that_cannot_be_sent_stops_no_run(desk, config):
    desk.hub.faults.append(["POST /api/models/me/unlucky/commit", 400, 1])
    outcome = desk.client.run("train", config, "--push-to-hub", "me/unlucky")
    assert outcome.code == 0, outcome.err[-3000:]
    assert "warning: checkpoint sot, step 2 was not sent to the Hub: " in outcome.err
    assert messages(desk, "me/unlucky") == ["initial commit", "Checkpoint: the last one"]


def test_a_last_checkpoint_that_cannot_be_sent_is_told_with_what_sends_it(desk, config, tmp_path):
    desk.hub.faults.append(["POST /api/models/me/late/commit", 400, 2])
    error = desk.client.run("train", config, "--push-to-hub", "me/late").error
    assert error.startswith(f"{tmp_path / 'run'} is whole, but was not sent (")
    assert error.endswith(f"send it with `artquant publish model {tmp_path / 'run'} --repo me/late`")
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_an_adapter_is_sent_with_its_base(desk, small, tmp_path):
    config = write_config(tmp_path, small, stages=STAGE, model={"pretrained": "me/base"}, trained=LORA)
    outcome = desk.client.run("train", config, "--push-to-hub", "me/pushed-adapter")
    assert outcome.code == 0, outcome.err[-3000:]
    own = json.loads(desk.files("me/pushed-adapter")["adapter_config.json"])
    assert (own["base_model_name_or_path"], own["revision"]) == ("me/base", desk.repo("me/base")["refs"]["main"])
    assert "extra_weights.safetensors" in desk.files("me/pushed-adapter")


def test_what_cannot_work_is_refused_before_anything_is_loaded(desk, small, config, tmp_path):
    refused = desk.client.run("train", config, "--push-to-hub", "you/x").error
    assert refused == "train.push_to_hub 'you/x' is in a namespace of somebody else; yours: me"
    local = write_config(tmp_path / "l", small, model={"pretrained": str(desk.root / "base")}, trained=LORA)
    refused = desk.client.run("train", local, "--push-to-hub", "me/x").error
    assert "whose base" in refused and "is a folder of this machine; publish the base and name it by its id" in refused
    desk.put("me/taken", {"README.md": b"mine"})
    refused = desk.client.run("train", config, "--push-to-hub", "me/taken").error
    assert refused.startswith("model 'me/taken' holds README.md that artquant did not write")
    assert "NAMESPACE/NAME" in desk.client.run("train", config, "--push-to-hub", "x").error
    stranger = desk.client.somebody(None, tmp_path)
    assert "log in with `hf auth login`" in stranger.run("train", config, "--push-to-hub", "me/x").error
    assert TOKEN not in refused


def test_a_dry_run_makes_no_repository(desk, config):
    outcome = desk.client.run("train", config, "--push-to-hub", "me/dry-training", "--dry-run")
    assert outcome.code == 0, outcome.err[-3000:]
    assert not desk.hub.store.path("models", "me/dry-training").exists()
