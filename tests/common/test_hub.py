"""What is fetched from the Hub is what the Hub lists; a real client and a real server on loopback."""

import json
import os
import subprocess
import sys

import pytest

from tests.paths import ROOT
from tests.peers.local_hub import LocalHub

# The client reads its endpoint when it is imported: a process of its own.
CLIENT = """
import json, sys
from pathlib import Path
from huggingface_hub import HfApi
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hub import fetch_snapshot

if sys.argv[1] == "upload":
    api = HfApi()
    api.create_repo("me/model", exist_ok=True)
    api.upload_folder(repo_id="me/model", folder_path=sys.argv[2])
else:
    try:
        folder = fetch_snapshot("me/model")
        print("outcome", json.dumps({path.name: path.read_text() for path in folder.iterdir() if path.is_file()}))
    except ArtQuantError as error:
        print("outcome", json.dumps(str(error)))
"""
FILES = {"config.json": '{"a": 1}', "model.safetensors": "weights " * 100}


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_text(content)
    with LocalHub(tmp_path / "store") as server:
        run(server, tmp_path / "uploader", "upload", str(folder))
        yield server


def run(server, home, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "local"}
    finished = subprocess.run(
        [sys.executable, "-c", CLIENT, *arguments],
        env=environment | {"PYTHONPATH": str(ROOT), "HF_HUB_DOWNLOAD_TIMEOUT": "5"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


def fetched(server, home):
    return json.loads(run(server, home, "fetch").rpartition("outcome ")[2])


@pytest.mark.parametrize("name", FILES)
def test_other_bytes_of_the_same_length_are_refused_and_fetched_again(hub, tmp_path, name):
    (sent,) = [path for path in (hub.store.root / "objects").iterdir() if path.read_text() == FILES[name]]
    sent.write_text(FILES[name][:-1] + "!")
    error = fetched(hub, tmp_path / "home")
    assert error == (
        f"'me/model': what arrived as {name} is not what the Hub lists by its hash; it was removed from the cache: "
        "run again, and if that does not help, look at what stands between here and the Hub (HF_ENDPOINT, a proxy)"
    )
    sent.write_text(FILES[name])
    found = fetched(hub, tmp_path / "home")
    assert {name: found[name] for name in FILES} == FILES


def test_bytes_that_changed_in_the_cache_are_refused(hub, tmp_path):
    assert fetched(hub, tmp_path / "home")["model.safetensors"] == FILES["model.safetensors"]
    (weights,) = (tmp_path / "home").rglob("model.safetensors")
    weights.resolve().write_text("WEIGHTS " * 100)
    assert "what arrived as model.safetensors is not what the Hub lists" in fetched(hub, tmp_path / "home")


@pytest.mark.slow
@pytest.mark.parametrize(
    "address", ["file:///etc/hostname", "ftp://127.0.0.1/x", "gopher:x", "http://[::1", "http://"]
)
def test_a_redirect_to_no_web_address_is_one_line(hub, tmp_path, address):
    hub.faults.append([r"GET .*/resolve/", address, 100])
    error = fetched(hub, tmp_path / "home")
    assert isinstance(error, str) and error.startswith(
        "'me/model' is no folder, and could not be fetched from the Hub"
    )
    assert "\n" not in error
