"""Checkpoints to publish, and a Hub that knows two users."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint, save_checkpoint
from artquant_plugin.prompting.levels import LevelScale
from tests.peers.local_hub import LocalHub
from tests.publish.client import Client, Outcome, environment
from tests.tiny import pictures, tiny_llava

TOKEN, OTHER_TOKEN = "hf_sesame-sesame-sesame", "hf_of-somebody-else"
SPEC = ScoringSpec(LevelScale(values=(5.0, 4.0, 3.0, 2.0, 1.0)))


def write_adapter(base: Path, folder: Path, *, extra: bool) -> Path:
    """Write an adapter of random weights; `extra` changes the projector and the vision tower beside it, too."""
    loaded = load_checkpoint(str(base))
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules=r".*language_model.*\.(q|v)_proj", init_lora_weights=False)
    model = get_peft_model(loaded.model, lora)
    for name, parameter in model.named_parameters():
        if extra and ("multi_modal_projector" in name or "vision_tower" in name):
            parameter.requires_grad_(True)
            parameter.data += 0.1 * torch.randn_like(parameter)
    save_checkpoint(folder, model.eval(), loaded.processor, SPEC)
    return folder


@dataclass
class Desk:
    """A Hub, a user's client, and the checkpoints that the user has; `me/base` is on the Hub."""

    hub: LocalHub
    client: Client
    root: Path
    folders: dict[str, Path] = field(default_factory=dict)

    def publish(self, folder: Any, repo: str, *options: Any) -> Outcome:
        return self.client.run("publish", "model", folder, "--repo", repo, *options)

    def done(self, folder: Any, repo: str, *options: Any) -> str:
        outcome = self.publish(folder, repo, *options)
        assert outcome.code == 0, (outcome.code, outcome.out, outcome.err[-2000:])
        return outcome.out

    def repo(self, name: str, kind: str = "models") -> dict[str, Any]:
        return self.hub.store.load(kind, name)

    def commits(self, name: str, kind: str = "models") -> int:
        return len(self.repo(name, kind)["commits"])

    def files(self, name: str, kind: str = "models") -> dict[str, bytes]:
        """The contents of the files on the main branch, by path."""
        repo = self.repo(name, kind)
        entries = repo["commits"][repo["refs"]["main"]]["files"]
        return {path: self.hub.store.object(entry["sha256"]).read_bytes() for path, entry in entries.items()}

    def put(self, name: str, files: dict[str, bytes], kind: str = "models", private: bool = False) -> None:
        """Commit files on the Hub as somebody does who does not use artquant."""
        store = self.hub.store
        if store.path(kind, name).is_file():
            repo = store.load(kind, name)
        else:
            repo = {"private": private, "refs": {}, "tags": {}, "commits": {}}
        head = repo["refs"].get("main")
        before = repo["commits"][head]["files"] if head else {}
        entries = {path: store.entry(content) for path, content in files.items()}
        store.commit(repo, "main", before | entries, "by hand")
        store.save(kind, name, repo)


@pytest.fixture(scope="package")
def desk(tmp_path_factory):
    root = tmp_path_factory.mktemp("desk")
    with LocalHub(root / "store", token=TOKEN, user="me", others={OTHER_TOKEN: "you"}) as hub:
        desk = Desk(hub, Client(environment(hub.url, root / "home", TOKEN), root), root)
        save_checkpoint(root / "base", *tiny_llava(), ScoringSpec())
        desk.done("base", "me/base", "--license", "apache-2.0", "--revision", "v1")
        desk.folders = {
            "base": root / "base",
            "adapter": write_adapter(root / "base", root / "adapter", extra=False),
            "extra": write_adapter(root / "base", root / "extra", extra=True),
        }
        pictures(1)[0].save(root / "painting.jpg")
        yield desk
        desk.client.close()


@pytest.fixture(autouse=True)
def no_faults(request):
    """A fault that a test did not use up must not meet the next one."""
    yield
    if "desk" in request.fixturenames:
        request.getfixturevalue("desk").hub.faults.clear()


@pytest.fixture
def copy(desk, tmp_path):
    """A copy of a checkpoint that a test may change."""

    def make(name: str) -> Path:
        return shutil.copytree(desk.folders[name], tmp_path / name)

    return make
