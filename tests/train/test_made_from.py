"""A run is resumed with the data and the model that it began with, by one process at a time, or not at all."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.train.config import load_config
from artquant_plugin.train.run import train
from artquant_plugin.train.stages import LOCK_FILE
from tests.kills import killed
from tests.locks import held_by_another_process
from tests.train.runs import LORA, write_config, write_small

STAGES = [{"name": "sot", "samples": ["score"], "epochs": 1}]
CHANGED = r"was made from something else: {}.*; resume with the configuration, data and model that the run began with"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run of one stage; its folder has the data beside it."""
    folder = tmp_path_factory.mktemp("finished")
    return train(load_config(write_config(folder, write_small(folder / "data"), stages=STAGES))).output


def unfinished(config: Path) -> None:
    """Kill a run when its first stage has begun."""
    run = load_config(config)
    killed(lambda: train(run), run.output / "stages" / "sot", 3, "after")


def change_a_score(data: Path) -> None:
    path = data / "train.jsonl"
    first, *others = path.read_text().splitlines()
    row = json.loads(first)
    path.write_text("\n".join([json.dumps(row | {"score": row["score"] + 1}), *others]) + "\n")


def change_a_picture(data: Path) -> None:
    with Image.open(data / "3.png") as image:
        turned = image.rotate(180)
    turned.save(data / "3.png")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (change_a_score, r"datasets\[0\].files.train.jsonl \w+ -> \w+"),
        (change_a_picture, r"datasets\[0\].images \w+ -> \w+"),
    ],
)
def test_a_run_whose_data_changed_is_not_resumed(change, named, tmp_path):
    data = write_small(tmp_path / "data")
    config = write_config(tmp_path, data, stages=STAGES)
    unfinished(config)
    change(data)
    with pytest.raises(ArtQuantError, match=CHANGED.format(named)):
        train(load_config(config), resume=True)
    assert not (tmp_path / "run" / "training.json").exists()
    train(load_config(config), overwrite=True)
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert record["made_from"]["datasets"][0]["files"] == record["data"]["small"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_run_whose_base_changed_in_its_folder_is_not_resumed(name, finished, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(finished, base)
    data = write_small(tmp_path / "data")
    config = write_config(tmp_path, data, stages=STAGES, model={"pretrained": str(base)}, trained=LORA)
    unfinished(config)
    content = (base / name).read_bytes()
    (base / name).write_bytes(content[:-8] + bytes(8) if name == "model.safetensors" else content + b"\n")
    with pytest.raises(ArtQuantError, match=CHANGED.format(rf"weights\[0\].files.{name} \w+ -> \w+")):
        train(load_config(config), resume=True)


def test_a_finished_run_is_left_as_it_is_or_named_as_another(finished, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(finished, folder / "run")
    data = finished.parent / "data"
    config = write_config(folder, data, stages=STAGES)
    assert train(load_config(config), resume=True).stages[0][0] == "sot"
    other = load_config(config, ["seed=1"])
    with pytest.raises(ArtQuantError, match="was made from something else: seed 0 -> 1; pass --overwrite to begin"):
        train(other, resume=True)
    aside = data.with_name("aside")
    data.rename(aside)
    try:  # a finished run needs its data no longer
        assert train(load_config(config), resume=True).output == folder / "run"
        write_small(data, count=23)
        with pytest.raises(ArtQuantError, match=r"else: datasets\[0\].files.dataset.json"):
            train(load_config(config), resume=True)
    finally:
        shutil.rmtree(data)
        aside.rename(data)


def test_a_checkpoint_without_a_record_is_no_run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "training.json").unlink()
    config = load_config(write_config(tmp_path, finished.parent / "data", stages=STAGES))
    with pytest.raises(ArtQuantError, match="holds a checkpoint without training.json, so that no run is there"):
        train(config, resume=True)
    with pytest.raises(ArtQuantError, match="holds a finished checkpoint; pass --overwrite"):
        train(config)


def test_an_unfinished_run_of_an_earlier_release_is_not_thrown_away(finished, tmp_path):
    kept = tmp_path / "run" / "stages" / "sot" / "checkpoint-1"
    kept.mkdir(parents=True)
    (tmp_path / "run" / "stages" / "config.yaml").write_text("seed: 0\n")
    config = load_config(write_config(tmp_path, finished.parent / "data", stages=STAGES))
    with pytest.raises(ArtQuantError, match="an unfinished run of an earlier release; finish it there, or begin anew"):
        train(config, resume=True)
    assert kept.is_dir()


def test_training_does_not_replace_the_model_that_it_starts_from(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    model = {"pretrained": str(tmp_path / "run")}
    config = write_config(tmp_path, finished.parent / "data", stages=STAGES, model=model, trained=LORA)
    with pytest.raises(ArtQuantError, match="is the folder of model .*, from which training starts"):
        train(load_config(config), overwrite=True)


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_a_second_training_into_one_folder_is_refused_before_anything_is_written(options, finished, tmp_path):
    config = load_config(write_config(tmp_path, finished.parent / "data", stages=STAGES))
    lock = tmp_path / "run" / LOCK_FILE
    with held_by_another_process(lock):
        with pytest.raises(ArtQuantError, match="another process is writing '.*'; wait for it.* --set output=FOLDER"):
            train(config, **options)
        assert list((tmp_path / "run").iterdir()) == [lock]
    train(config, **options)
    assert not lock.exists()


TRAINS_UNTIL_TOLD = """
import sys
from artquant_plugin.cli import main
from artquant_plugin.train.trainer import ArtQuantTrainer

step = ArtQuantTrainer.training_step

def waiting(self, *args, **options):
    print("stepping", flush=True)
    sys.stdin.read()
    return step(self, *args, **options)

ArtQuantTrainer.training_step = waiting
sys.exit(main(["train", sys.argv[1]]))
"""


@pytest.mark.slow
def test_a_killed_training_holds_no_lock_although_its_workers_live(finished, tmp_path):
    options = {"dataloader_num_workers": 1}
    config = write_config(tmp_path, finished.parent / "data", stages=STAGES, train=options)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    first = subprocess.Popen(
        [sys.executable, "-c", TRAINS_UNTIL_TOLD, str(config)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    for line in first.stdout:
        if line == "stepping\n":
            break
    with pytest.raises(ArtQuantError, match=rf"\(process {first.pid} on {socket.gethostname()}\)"):
        train(load_config(config), resume=True)
    first.kill()
    first.wait()
    train(load_config(config, ["train.dataloader_num_workers=0"]), resume=True)
    assert (tmp_path / "run" / "training.json").is_file()
    first.communicate()
