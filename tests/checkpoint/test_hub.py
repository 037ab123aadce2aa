"""Checkpoints by Hub id and revision, from a real Hub on loopback."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint, save_checkpoint
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.paths import ROOT
from tests.peers.local_hub import LocalHub
from tests.tiny import pictures, tiny_llava

# The client reads its endpoint when it is imported: a process of its own.
CLIENT = """
import json, sys
from huggingface_hub import HfApi
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.checkpoint import load_checkpoint, save_checkpoint
from artquant_plugin.scoring.scorer import ArtQuantScorer
from tests.tiny import pictures

api = HfApi()
for name, revision, folder in json.loads(sys.argv[1]):
    api.create_repo(name, exist_ok=True)
    api.upload_folder(repo_id=name, folder_path=folder)
    if revision:
        api.create_tag(name, tag=revision)
found = {}
for name in json.loads(sys.argv[2]):
    try:
        checkpoint = load_checkpoint(name)
        found[name] = [result.score for result in ArtQuantScorer(checkpoint).score(pictures(2))]
    except ArtQuantError as error:
        found[name] = str(error)
    if name == "tester/adapter@v1":
        from pathlib import Path
        save_checkpoint(Path(sys.argv[3]), checkpoint.model, checkpoint.processor, checkpoint.spec)
print("found", json.dumps(found))
"""


def scores(folder: Path) -> list[float]:
    return [result.score for result in ArtQuantScorer(load_checkpoint(str(folder))).score(pictures(2))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Two states of a model, and an adapter of the first one that names it by id and revision."""
    root = tmp_path_factory.mktemp("folders")
    save_checkpoint(root / "first", *tiny_llava(), ScoringSpec())
    shutil.copytree(root / "first", root / "second")
    weights = load_file(root / "second" / "model.safetensors")
    for name in weights:
        if "multi_modal_projector" in name:
            weights[name] += 0.3
    save_file(weights, root / "second" / "model.safetensors", metadata={"format": "pt"})
    torch.save(weights, root / "second" / "pytorch_model.bin")  # lies on the Hub, and is not fetched
    loaded = load_checkpoint(str(root / "first"))
    torch.manual_seed(0)
    model = get_peft_model(
        loaded.model, LoraConfig(target_modules=r".*language_model.*q_proj", init_lora_weights=False)
    )
    save_checkpoint(root / "adapter", model, loaded.processor, ScoringSpec())
    shutil.copytree(root / "adapter", root / "published")
    path = root / "published" / "adapter_config.json"
    config = {**json.loads(path.read_text()), "base_model_name_or_path": "tester/model", "revision": "v1"}
    path.write_text(json.dumps(config))
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="module")
def hub(folders, tmp_path_factory):
    """The Hub after the client was there, what the client found, and what it saved."""
    root = tmp_path_factory.mktemp("hub")
    uploads = [
        ("tester/model", "v1", str(folders["first"])),
        ("tester/model", None, str(folders["second"])),
        ("tester/adapter", "v1", str(folders["published"])),
    ]
    names = ["tester/model@v1", "tester/model", "tester/adapter@v1", "tester/model@v9", "tester/nothing", "a b/c"]
    with LocalHub(root / "store") as server:
        finished = subprocess.run(
            [sys.executable, "-c", CLIENT, json.dumps(uploads), json.dumps(names), str(root / "again")],
            env={
                **os.environ,
                "HF_ENDPOINT": server.url,
                "HF_HOME": str(root / "home"),
                "HF_HUB_DISABLE_XET": "1",
                "HF_TOKEN": "local",
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(ROOT),
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert finished.returncode == 0, finished.stderr[-3000:]
    found = json.loads(finished.stdout.rpartition("found ")[2])
    return server, found, root


def test_a_revision_is_loaded_as_it_was(hub, folders):
    found = hub[1]
    assert found["tester/model@v1"] == scores(folders["first"])
    assert found["tester/model"] == scores(folders["second"])
    assert found["tester/model"] != found["tester/model@v1"]


def test_an_adapter_loads_its_base_at_the_revision_that_it_names(hub, folders):
    assert hub[1]["tester/adapter@v1"] == scores(folders["adapter"])


def test_an_adapter_that_is_saved_again_names_its_base_as_before(hub, folders):
    def content(folder):
        return json.loads((folder / "adapter_config.json").read_text())

    assert content(hub[2] / "again") == content(folders["published"])


def test_pickles_are_not_fetched(hub):
    server, _, root = hub
    assert not list((root / "home").rglob("*.bin"))
    assert not [path for method, path, _ in server.requests if method == "GET" and path.endswith(".bin")]


def test_what_the_hub_does_not_have_is_one_line(hub):
    found = hub[1]
    assert found["tester/model@v9"] == "model 'tester/model' has no revision 'v9'; name a branch, tag or commit"
    assert found["tester/nothing"].startswith("the Hub has no model 'tester/nothing' that you may read")
    assert found["a b/c"] == "'a b/c' is no folder and no Hub id; mend the path"
