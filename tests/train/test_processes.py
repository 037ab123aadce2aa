"""Two processes on the CPU, with every configuration that ships, against one with the same global batch."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.config import load_config
from artquant_plugin.train.run import train
from tests.tiny import pictures
from tests.train.launching import TORCHRUN, accelerate_launch, check_same, kill_when_there, launch, through
from tests.train.runs import LORA, same, write_config, write_small

pytestmark = pytest.mark.slow(seconds=45)
STAGES = [
    {"name": "mat", "samples": ["describe", "score"], "epochs": 2},
    {"name": "sot", "samples": ["score"], "epochs": 1},
]
PLAIN, FSDP_ON_CPU = "artquant_plugin.train", "tests.train.fsdp_on_cpu"
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the launcher's processes in /proc")
needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None or shutil.which(os.environ.get("CXX", "c++")) is None,
    reason="needs DeepSpeed and a C++ compiler: pip install 'artquant-plugin[deepspeed]'",
)


torchrun = pytest.param(TORCHRUN, PLAIN, id="torchrun")
ddp = pytest.param(accelerate_launch("ddp.yaml"), PLAIN, id="ddp")
fsdp = pytest.param(accelerate_launch("fsdp.yaml"), FSDP_ON_CPU, id="fsdp")
deepspeed = pytest.param(accelerate_launch("deepspeed.yaml"), PLAIN, id="deepspeed", marks=needs_deepspeed)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="module")
def base(data, tmp_path_factory) -> Path:
    stages = [{"name": "none", "samples": ["describe", "score"], "epochs": 0.25}]
    return train(load_config(write_config(tmp_path_factory.mktemp("base"), data, stages=stages))).output


@pytest.fixture(scope="module")
def one(data, base, tmp_path_factory) -> Path:
    """What one process trains, in batches of eight."""
    settings = changes(base, per_device_train_batch_size=8)
    return train(load_config(write_config(tmp_path_factory.mktemp("one"), data, **settings))).output


def changes(base: Path, **options) -> dict:
    no_dropout = LORA | {"lora": LORA["lora"] | {"dropout": 0.0}}
    return {"stages": STAGES, "model": {"pretrained": str(base)}, "trained": no_dropout, "train": options}


@pytest.mark.parametrize(("launcher", "module"), [torchrun, ddp, fsdp, deepspeed])
def test_two_processes_give_what_one_gives_with_the_same_batch(launcher, module, data, base, one, tmp_path):
    """Each adds two micro-batches of two; one process has them in one batch."""
    settings = changes(base, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    config = write_config(tmp_path, data, **settings)
    through(launch(launcher, str(config), module=module, DS_ACCELERATOR="cpu"))
    check_same(one, tmp_path / "run")
    score = ArtQuantScorer.from_pretrained(str(tmp_path / "run"), device="cpu").score(pictures(1))[0].score
    assert 1 <= score <= 10


@needs_proc
@pytest.mark.parametrize(("launcher", "module"), [torchrun, fsdp, deepspeed])
def test_two_processes_that_are_killed_go_on_bit_for_bit(launcher, module, data, base, tmp_path):
    """In the second epoch, whose order is another one than the first's; with dropout."""
    options = {"per_device_train_batch_size": 2, "save_steps": 1, "save_total_limit": 20}
    settings = changes(base, **options) | {"trained": LORA}
    uncut = write_config(tmp_path / "uncut", data, **settings)
    through(launch(launcher, str(uncut), module=module, DS_ACCELERATOR="cpu"))
    cut = write_config(tmp_path / "cut", data, **settings)
    process = launch(launcher, str(cut), module=module, DS_ACCELERATOR="cpu")
    kill_when_there(process, tmp_path / "cut" / "run" / "stages" / "mat" / "checkpoint-11" / "whole")
    assert not (tmp_path / "cut" / "run" / "artquant.json").exists()
    through(launch(launcher, str(cut), "--resume", module=module, DS_ACCELERATOR="cpu"))
    assert same(tmp_path / "cut" / "run", tmp_path / "uncut" / "run")
