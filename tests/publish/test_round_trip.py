"""Train, publish, load from the Hub, evaluate: the scores of the local checkpoint, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.data.dataset import Painting, write_dataset
from tests.publish.client import Client, environment
from tests.publish.conftest import TOKEN
from tests.tiny import pictures
from tests.train.runs import LORA, write_config, write_small


def write_test_split(root: Path) -> None:
    folder = root / "data" / "baid"
    folder.mkdir(parents=True)
    rows = []
    for index, image in enumerate(pictures(9, seed=5)):
        image.save(folder / f"{index}.png")
        rows.append(Painting(str(index), f"{index}.png", sha256_file(folder / f"{index}.png"), float(index)))
    write_dataset(
        folder, name="baid", score_range=(0, 10), splits={"test": rows}, image_root=".", source="-", license="CC0"
    )


def evaluate(root: Path, env: dict[str, str], pretrained: str, out: str) -> list[dict]:
    """Run lmms-eval's own command line, and return what it logged about each painting."""
    command = [sys.executable, "-m", "lmms_eval", "--model", "artquant", "--model_args", f"pretrained={pretrained}"]
    command += ["--tasks", "baid", "--batch_size", "4", "--log_samples", "--output_path", out]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=400)
    found = list((root / out).rglob("*_samples_baid.jsonl"))
    assert len(found) == 1, done.stderr[-3000:]
    return [json.loads(line)["scored"] for line in found[0].read_text().splitlines()]


@pytest.mark.slow
def test_the_hubs_checkpoint_scores_as_the_local_one(desk, tmp_path):
    """An adapter with trained weights beside it, whose base is on the Hub."""
    small = write_small(tmp_path / "small")
    write_test_split(tmp_path)
    config = write_config(
        tmp_path,
        small,
        model={"pretrained": "me/base"},
        trained=LORA,
        stages=[{"name": "sot", "samples": ["score"], "epochs": 1}],
    )
    env = environment(desk.hub.url, tmp_path / "home", TOKEN, ARTQUANT_DATA=str(tmp_path / "data"))
    client = Client(env, tmp_path)
    try:
        trained = client.run("train", config)
        assert trained.code == 0, trained.err[-3000:]
        own = json.loads((tmp_path / "run" / "adapter_config.json").read_text())
        head = desk.repo("me/base")["refs"]["main"]
        assert (own["base_model_name_or_path"], own["revision"]) == ("me/base", head)  # the commit that was fetched

        local = evaluate(tmp_path, env, "run", "run/results")
        published = client.run("publish", "model", "run", "--repo", "me/trip", "--revision", "v1")
        assert published.code == 0, published.err[-3000:]
        card = yaml.safe_load(desk.files("me/trip")["README.md"].decode().split("---")[1])
        assert card["model-index"][0]["results"][0]["dataset"]["type"] == "baid"
        # The main branch goes on; the tag stays.
        desk.put("me/trip", {"artquant.json": b"broken"})
        remote = evaluate(tmp_path, env, "me/trip@v1", "remote")
    finally:
        client.close()
    assert [row["prediction"] for row in remote] == [row["prediction"] for row in local]
    assert len({row["prediction"] for row in local}) == 9
    commit = desk.repo("me/trip")["refs"]["v1"]
    weights = local[0]["checkpoint"]["weights"]
    assert local[0]["checkpoint"] == {"name": "run", "revision": None, "weights": weights}
    assert remote[0]["checkpoint"] == {"name": "me/trip", "revision": commit, "weights": weights}
