"""A run that ends before it is through, in whatever way, and goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artquant_plugin.checkpoint import load_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.train.config import load_config
from artquant_plugin.train.run import train
from tests.paths import ROOT
from tests.train.runs import LORA, same, write_config, write_small

STAGES = [
    {"name": "mat", "samples": ["describe", "score"], "epochs": 2},
    {"name": "sot", "samples": ["score"], "epochs": 2},
]
OPTIONS = {
    "train": {"save_steps": 1, "gradient_accumulation_steps": 2, "group_by_length": True, "keep": "best"},
    "stages": STAGES,
}
# 32 samples a mat epoch, in steps of 8: 4 steps an epoch; 16 samples a sot epoch: 2 steps an epoch.
PAUSE = """
import sys, time
from pathlib import Path
import torch
from artquant_plugin.cli import main
from artquant_plugin.train.trainer import ArtQuantTrainer

torch.set_num_threads(1)
stage, step, ready = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
training_step = ArtQuantTrainer.training_step

def pausing(self, *args, **options):
    if Path(self.args.output_dir).name == stage and self.state.global_step == step and not ready.exists():
        ready.touch()
        while not ready.with_name("go").exists():
            time.sleep(0.05)
    return training_step(self, *args, **options)

ArtQuantTrainer.training_step = pausing
sys.exit(main(["train", *sys.argv[4:]]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="module")
def uninterrupted(data, base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return train(load_config(write_config(folder, data, **lora(base)))).output


@pytest.fixture(scope="module")
def base(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    stages = [{"name": "none", "samples": ["describe", "score"], "epochs": 0.25}]
    return train(load_config(write_config(folder, data, stages=stages))).output


def lora(base: Path) -> dict:
    return {**OPTIONS, "model": {"pretrained": str(base)}, "trained": LORA}


def begin(config: Path, tmp_path: Path, stage: str, step: int, *, devices: str = "") -> subprocess.Popen:
    """Start a run that pauses in the middle of a step until there is a file `go`, and wait until it pauses."""
    ready = tmp_path / "ready"
    command = [sys.executable, "-c", PAUSE, stage, str(step), str(ready), str(config)]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": devices}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 300
    while not ready.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "step"), [("mat", 5), ("sot", 1)])
def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_same_weights(
    stage, step, data, base, uninterrupted, tmp_path
):
    """LoRA with dropout, two learning rates, accumulation, grouping, across stages: bit for bit."""
    config = write_config(tmp_path, data, **lora(base))
    process = begin(config, tmp_path, stage, step)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    output = tmp_path / "run"
    assert not (output / "artquant.json").exists()
    last = output / "stages" / stage / f"checkpoint-{step}"
    assert (last / "whole").is_file()
    load_checkpoint(str(last))  # what can be gone on from can be scored with
    with pytest.raises(ArtQuantError, match="holds an unfinished run; pass --resume to continue it"):
        train(load_config(config))
    train(load_config(config), resume=True)
    assert same(output, uninterrupted)
    assert not (output / "stages").exists()


@pytest.mark.slow
def test_full_training_goes_on_bit_for_bit_too(data, tmp_path):
    through = train(load_config(write_config(tmp_path / "through", data, **OPTIONS))).output
    config = write_config(tmp_path / "cut", data, **OPTIONS)
    process = begin(config, tmp_path, "mat", 3)
    process.kill()
    process.communicate()
    train(load_config(config), resume=True)
    assert same(tmp_path / "cut" / "run", through)


@pytest.mark.slow
def test_sigterm_saves_exits_with_0_and_prints_the_command(data, base, uninterrupted, tmp_path):
    config = write_config(tmp_path, data, **(lora(base) | {"train": OPTIONS["train"] | {"save_steps": 100}}))
    process = begin(config, tmp_path, "mat", 1)
    process.send_signal(signal.SIGTERM)
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.splitlines()[-2:] == [
        f"stopped as asked, {tmp_path}/run/stages/mat/checkpoint-2 is written; go on with",
        f"  artquant train {config} --resume",
    ]
    train(load_config(config), resume=True)
    assert same(tmp_path / "run", uninterrupted)


@pytest.mark.slow
def test_a_run_goes_on_as_it_was_begun_or_not_at_all(data, tmp_path):
    config = write_config(tmp_path, data, **OPTIONS)
    process = begin(config, tmp_path, "mat", 1)
    process.kill()
    process.communicate()
    with pytest.raises(
        ArtQuantError,
        match=r"was made from something else: train.learning_rate 0.001 -> 0.0001; resume with the configuration",
    ):
        train(load_config(config, ["train.learning_rate=1e-4"]), resume=True)
    train(load_config(config, ["train.logging_steps=2"]), resume=True)  # decides nothing
    assert (tmp_path / "run" / "artquant.json").is_file()


def test_resuming_what_is_through_does_nothing(uninterrupted, data, base):
    config = write_config(uninterrupted.parent, data, **lora(base))
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
    summary = train(load_config(config), resume=True)
    assert {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")} == before
    assert summary.output == uninterrupted
    assert [name for name, _ in summary.stages] == ["mat", "sot"]


@pytest.mark.slow
def test_an_early_end_begins_anew_when_asked(data, tmp_path):
    config = write_config(tmp_path, data, **OPTIONS)
    process = begin(config, tmp_path, "mat", 2)
    process.kill()
    process.communicate()
    train(load_config(config), overwrite=True)
    through = train(load_config(write_config(tmp_path / "through", data, **OPTIONS))).output
    assert same(tmp_path / "run", through)
