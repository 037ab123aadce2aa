"""Two processes on the CPU, through the launcher that users have."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artquant_plugin.scoring import ArtQuantScorer
from artquant_plugin.train.config_file import load_config
from artquant_plugin.train.run import train
from tests.paths import ROOT
from tests.tiny import pictures
from tests.train.runs import LORA, same, weights, write_config, write_small

pytestmark = pytest.mark.slow
STAGES = [
    {"name": "mat", "samples": ["describe", "score"], "epochs": 2},
    {"name": "sot", "samples": ["score"], "epochs": 1},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="module")
def base(data, tmp_path_factory) -> Path:
    stages = [{"name": "none", "samples": ["describe", "score"], "epochs": 0.25}]
    return train(load_config(write_config(tmp_path_factory.mktemp("base"), data, stages=stages))).output


def changes(base: Path, **options) -> dict:
    no_dropout = LORA | {"lora": LORA["lora"] | {"dropout": 0.0}}
    return {"stages": STAGES, "model": {"pretrained": str(base)}, "trained": no_dropout, "train": options}


def launch(*arguments: str) -> subprocess.Popen:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen(
        [sys.executable, "-m", *command, "-m", "artquant_plugin.train", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def curves(output: Path) -> list[dict[str, str]]:
    with (output / "training-curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_processes_give_what_one_gives_with_the_same_batch(data, base, tmp_path):
    one = train(
        load_config(write_config(tmp_path / "one", data, **changes(base, per_device_train_batch_size=8)))
    ).output
    config = write_config(tmp_path / "two", data, **changes(base, per_device_train_batch_size=4))
    out, err = (process := launch(str(config))).communicate(timeout=500)
    assert process.returncode == 0, err[-4000:]
    two = tmp_path / "two" / "run"
    assert out.count("evaluate it with") == 1  # one process speaks
    for before, after in zip(curves(one), curves(two), strict=True):
        assert (before["stage"], before["step"]) == (after["stage"], after["step"])
        for key in ("loss", "ce_description", "ce_answer", "kl", "eval_srocc", "eval_plcc"):
            assert bool(before[key]) == bool(after[key])
            if before[key]:
                assert float(after[key]) == pytest.approx(float(before[key]), abs=2e-5)
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 2e-5
    assert 1 <= ArtQuantScorer.from_pretrained(str(two), device="cpu").score(pictures(1))[0].score <= 10


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the launcher's processes in /proc")
def test_two_processes_that_are_killed_go_on_bit_for_bit(data, base, tmp_path):
    """In the second epoch, whose order is another one than the first's."""
    settings = changes(base, per_device_train_batch_size=2, save_steps=1, save_total_limit=20)
    through = write_config(tmp_path / "through", data, **settings)
    out, err = (process := launch(str(through))).communicate(timeout=500)
    assert process.returncode == 0, err[-4000:]
    cut = write_config(tmp_path / "cut", data, **settings)
    process = launch(str(cut))
    whole = tmp_path / "cut" / "run" / "stages" / "mat" / "checkpoint-11" / "whole"
    until = time.monotonic() + 300
    while not whole.exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    for worker in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(worker), signal.SIGKILL)
    process.kill()
    process.communicate()
    assert not (tmp_path / "cut" / "run" / "artquant.json").exists()
    out, err = (process := launch(str(cut), "--resume")).communicate(timeout=500)
    assert process.returncode == 0, err[-4000:]
    assert same(tmp_path / "cut" / "run", tmp_path / "through" / "run")
