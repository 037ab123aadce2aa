"""What goes wrong between here and the Hub, and what a second try finds."""

import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.publish.client import Client, Running, environment
from tests.publish.conftest import OTHER_TOKEN, TOKEN


@pytest.fixture
def model(desk, tmp_path) -> Path:
    """A checkpoint with weights that the Hub has not seen, since it knows contents by their hash."""
    folder = shutil.copytree(desk.root / "base", tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["multi_modal_projector.linear_1.bias"] = torch.randn(weights["multi_modal_projector.linear_1.bias"].shape)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def begin(desk, model: Path, repo: str, folder: Path) -> Running:
    """Start a publication in a process of its own."""
    return desk.client.fork(folder / "outcome", "publish", "model", model, "--repo", repo, "--license", "mit")


def since(desk, start: int, method: str, part: str) -> list:
    return [request[2] for request in desk.hub.requests[start:] if request[0] == method and part in request[1]]


def test_a_503_on_the_commit_is_tried_again(desk, model):
    desk.hub.faults.append(["POST /api/models/me/busy/commit", 503, 1])
    start = len(desk.hub.requests)
    out = desk.done(model, "me/busy", "--license", "mit")
    assert "the Hub does not take the commit now (503); trying again in 1 s" in out
    assert since(desk, start, "POST", "/commit/") == [503, 200]
    assert since(desk, start, "PUT", "/lfs/") == [200]  # the weights went once
    assert desk.commits("me/busy") == 2


def test_a_lost_answer_makes_no_second_commit(desk, model):
    desk.hub.faults.append(["POST /api/models/me/lost/commit", "lost", 1])
    start = len(desk.hub.requests)
    desk.done(model, "me/lost", "--license", "mit", "--revision", "v1")
    assert since(desk, start, "POST", "/commit/") == ["lost"]
    assert desk.commits("me/lost") == 2 and "v1" in desk.repo("me/lost")["tags"]


def test_a_connection_that_is_cut_within_the_weights_is_tried_again(desk, model):
    desk.hub.faults.append(["PUT /lfs/", "cut", 1])
    start = len(desk.hub.requests)
    desk.done(model, "me/cut", "--license", "mit")
    assert since(desk, start, "PUT", "/lfs/") == ["cut", 200]
    assert desk.files("me/cut")["model.safetensors"] == (model / "model.safetensors").read_bytes()


def test_an_upload_that_is_refused_can_be_run_again(desk, model):
    desk.hub.faults.append(["PUT /lfs/", 400, 1])
    error = desk.publish(model, "me/again", "--license", "mit").error
    assert "run the same command again: what has arrived is not sent twice" in error
    assert desk.commits("me/again") == 1  # the Hub's own
    desk.done(model, "me/again", "--license", "mit")
    assert desk.commits("me/again") == 2


def test_a_process_killed_within_the_weights_can_be_started_again(desk, model, tmp_path):
    desk.hub.faults.append(["PUT /lfs/", "hang", 1])
    desk.hub.hanging.clear()
    running = desk.client.fork(
        tmp_path / "outcome", "publish", "model", model, "--repo", "me/killed", "--license", "mit"
    )
    assert desk.hub.hanging.wait(180)
    running.kill()
    assert desk.commits("me/killed") == 1
    desk.done(model, "me/killed", "--license", "mit")
    assert desk.commits("me/killed") == 2
    assert desk.files("me/killed")["model.safetensors"] == (model / "model.safetensors").read_bytes()


def test_a_process_killed_behind_the_weights_does_not_send_them_twice(desk, model, tmp_path):
    desk.hub.faults.append(["POST /api/models/me/killed-later/commit", "hang", 1])
    desk.hub.hanging.clear()
    running = desk.client.fork(
        tmp_path / "outcome", "publish", "model", model, "--repo", "me/killed-later", "--license", "mit"
    )
    assert desk.hub.hanging.wait(180)
    running.kill()
    start = len(desk.hub.requests)
    desk.done(model, "me/killed-later", "--license", "mit")
    assert since(desk, start, "PUT", "/lfs/") == [] and desk.commits("me/killed-later") == 2


def test_an_interrupted_upload_ends_quietly_and_can_be_run_again(desk, model, tmp_path):
    desk.hub.faults.append(["PUT /lfs/", "hang", 1])
    desk.hub.hanging.clear()
    running = desk.client.fork(
        tmp_path / "outcome", "publish", "model", model, "--repo", "me/interrupted", "--license", "mit"
    )
    assert desk.hub.hanging.wait(180)
    running.interrupt()
    outcome = running.end()
    assert outcome.code == 130 and outcome.err.endswith("artquant: interrupted\n")
    desk.done(model, "me/interrupted", "--license", "mit")
    assert desk.commits("me/interrupted") == 2


def test_no_token_and_a_wrong_one_are_one_line(desk, model):
    stranger = desk.client.somebody(None)
    error = stranger.run("publish", "model", model, "--repo", "me/stranger", "--license", "mit").error
    assert error == (
        "the Hub asks for a token for model 'me/stranger' (401); log in with `hf auth login`, or set HF_TOKEN"
    )
    wrong = desk.client.somebody("hf_wrong-token")
    outcome = wrong.run("publish", "model", model, "--repo", "me/stranger", "--license", "mit")
    assert outcome.error.startswith("the Hub does not take the token for model 'me/stranger' (401)")
    assert "hf_wrong-token" not in outcome.out + outcome.err


def test_what_belongs_to_somebody_else_is_not_written(desk, model):
    you = desk.client.somebody(OTHER_TOKEN)
    options = ("--license", "mit")
    assert you.run("publish", "model", model, "--repo", "you/private", "--private", *options).code == 0
    assert desk.repo("you/private")["private"]
    assert you.run("publish", "model", model, "--repo", "you/public", *options).code == 0
    error = desk.publish(model, "you/private", *options).error
    assert error.startswith("you may not write to model 'you/private' (403: ")
    assert error.endswith("name a repository of your own, or use a token that may write")
    changed = ("--license", "apache-2.0")
    assert desk.publish(model, "you/public", *changed).error.startswith("you may not write to model 'you/public' (403")
    # Neither can it be loaded, and the message does not tell that it is there.
    error = desk.client.run("score", desk.root / "painting.jpg", "--model", "you/private").error
    assert error == "the Hub has no model 'you/private' that you may read; mend the id or log in"
    assert desk.commits("you/private") == desk.commits("you/public") == 2


def test_a_revision_that_is_not_there_is_one_line(desk):
    error = desk.client.run("score", desk.root / "painting.jpg", "--model", "me/base@v9").error
    assert error == "model 'me/base' has no revision 'v9'; name a branch, tag or commit"


def test_files_of_others_are_kept_and_not_replaced_unasked(desk, model):
    desk.put(
        "me/foreign",
        {"README.md": b"my own words", "notes.txt": b"mine", ".gitattributes": b"*.safetensors filter=lfs\n"},
    )
    error = desk.publish(model, "me/foreign", "--license", "mit").error
    assert error.startswith("model 'me/foreign' holds README.md that artquant did not write or that was changed there")
    assert desk.files("me/foreign")["README.md"] == b"my own words"
    out = desk.done(model, "me/foreign", "--license", "mit", "--overwrite")
    assert "1 files of others stay: notes.txt" in out
    files = desk.files("me/foreign")
    assert files["notes.txt"] == b"mine" and files["README.md"] != b"my own words"


def test_a_card_that_was_edited_on_the_hub_is_not_replaced_unasked(desk, model):
    desk.done(model, "me/edited", "--license", "mit")
    desk.put("me/edited", {"README.md": b"edited"})
    assert "holds README.md that artquant did not write" in desk.publish(model, "me/edited", "--license", "mit").error


@pytest.mark.parametrize("name", ["adapter_config.json", "pytorch_model.bin", "model-00001-of-00002.safetensors"])
def test_files_that_would_be_loaded_with_ours_are_refused_whatever_is_asked(name, desk, model):
    desk.put(f"me/mixed-{name[:7]}", {name: b"{}"})
    error = desk.publish(model, f"me/mixed-{name[:7]}", "--license", "mit", "--overwrite").error
    assert f"holds {name} of somebody else, which would be loaded with this; remove it on the Hub" in error


def test_a_list_of_hashes_that_is_not_ours_is_refused(desk, model):
    desk.put("me/list", {"published.json": b"[]"})
    error = desk.publish(model, "me/list", "--license", "mit").error
    assert "published.json of 'me/list' was not written by artquant" in error


def test_a_tag_stays_where_it_is(desk, model):
    desk.done(model, "me/tagged", "--license", "mit", "--revision", "v1")
    before = desk.repo("me/tagged")
    error = desk.publish(model, "me/tagged", "--license", "apache-2.0", "--revision", "v1").error
    assert error.startswith("model 'me/tagged' has a tag 'v1' already, on commit ")
    assert desk.repo("me/tagged") == before
    desk.done(model, "me/tagged", "--license", "apache-2.0", "--revision", "v2")
    assert desk.repo("me/tagged")["refs"]["v1"] == before["refs"]["v1"]


def test_a_public_repository_does_not_become_private_unseen(desk, model):
    desk.done(model, "me/seen", "--license", "mit")
    error = desk.publish(model, "me/seen", "--license", "mit", "--private").error
    assert error.startswith("model 'me/seen' exists and is public; make it private in its settings on the Hub, or")


def test_a_hub_that_cannot_be_reached_is_one_line(model, tmp_path, desk):
    client = Client(environment("http://127.0.0.1:9", tmp_path / "home", TOKEN), desk.root)
    try:
        error = client.run("publish", "model", model, "--repo", "me/x", "--license", "mit").error
        assert "me/x" in error and "run the same command again" in error
    finally:
        client.close()


@pytest.fixture
def xet(desk, tmp_path):
    """A client that transfers through Xet, in its own process: the Hub's client decides when it is imported."""
    client = Client(environment(desk.hub.url, tmp_path / "home", TOKEN, HF_HUB_DISABLE_XET="0"), desk.root)
    yield client
    client.close()


@pytest.mark.slow
def test_with_xet_the_same_arrives_once(desk, model, xet):
    assert xet.run("publish", "model", model, "--repo", "me/xet", "--license", "mit", "--revision", "v1").code == 0
    assert desk.hub.store.has(
        desk.repo("me/xet")["commits"][desk.repo("me/xet")["refs"]["v1"]]["files"]["model.safetensors"]["sha256"]
    )
    assert desk.files("me/xet")["model.safetensors"] == (model / "model.safetensors").read_bytes()
    again = xet.run("publish", "model", model, "--repo", "me/xet", "--license", "mit", "--revision", "v1")
    assert "nothing to do" in again.out and desk.commits("me/xet") == 2
    scored = xet.run("score", desk.root / "painting.jpg", "--model", "me/xet@v1", "--device", "cpu")
    assert scored.code == 0, scored.err


SMALL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from artquant_plugin.cli import main
sys.exit(main(["score", sys.argv[1], "--model", "me/base"]))
"""


def on_a_full_disk(desk, home: Path, program: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", program, str(desk.root / "painting.jpg")],
        env=environment(desk.hub.url, home, TOKEN),
        cwd=desk.root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = [line for line in finished.stderr.splitlines() if line.startswith("artquant: error: ")]
    assert finished.returncode == 2 and len(lines) == 1 and "Traceback" not in finished.stderr, finished.stderr[-3000:]
    return lines[0]


def test_no_room_for_a_download_is_one_line(desk, tmp_path):
    """A limit of file sizes stands for a full disk where none can be had."""
    assert "make room" in on_a_full_disk(desk, tmp_path / "home", SMALL)


def test_a_full_disk_while_downloading_is_one_line(desk, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(home)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs more rights than these")
    try:
        error = on_a_full_disk(desk, home, SMALL.replace("100_000, 100_000", "-1, -1"))
        assert "No space left on device" in error and "make room" in error
    finally:
        subprocess.run(["umount", str(home)], check=True)


@pytest.mark.slow
def test_a_server_that_answers_with_a_list_is_one_line(desk, model, tmp_path):
    class Lists(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Lists) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        finished = subprocess.run(
            [
                sys.executable,
                "-m",
                "artquant_plugin",
                "publish",
                "model",
                str(model),
                "--repo",
                "me/x",
                "--license",
                "mit",
            ],
            env=environment(f"http://127.0.0.1:{server.server_port}", tmp_path / "home", TOKEN),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        server.shutdown()
    assert finished.returncode == 2 and "Traceback" not in finished.stderr
    assert "does not answer for model 'me/x' as the Hub does" in finished.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"HF_HUB_OFFLINE": "1"},
            "model 'me/offline' cannot be looked up while HF_HUB_OFFLINE is set; unset it, and run the same command "
            "again",
        ),
        (
            {"HF_ENDPOINT": "http://127.0.0.1:9"},
            "the Hub at http://127.0.0.1:9 cannot be reached for model 'me/offline'",
        ),
    ],
)
def test_a_hub_that_cannot_be_reached_is_no_upload_that_broke_off(desk, model, tmp_path, settings, message):
    command = ["publish", "model", str(model), "--repo", "me/offline", "--license", "mit", "--dry-run"]
    finished = subprocess.run(
        [sys.executable, "-m", "artquant_plugin", *command],
        env=environment(desk.hub.url, tmp_path / "home", TOKEN, **settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 2
    line = finished.stderr.splitlines()[-1]
    assert line.startswith(f"artquant: error: {message}") and "upload" not in line
