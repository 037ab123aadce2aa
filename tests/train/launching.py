"""Runs of several processes on the CPU, through the launchers that users have."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.train.runs import weights

TORCHRUN = ["torch.distributed.run", "--nproc_per_node", "2"]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accelerate_launch(config: str) -> list[str]:
    """`accelerate launch` with a configuration that ships, of two processes, in float32."""
    command = ["accelerate.commands.launch", "--config_file", str(ROOT / "configs" / "accelerate" / config)]
    return [*command, "--num_processes", "2", "--mixed_precision", "no"]


def launch(
    launcher: list[str], *arguments: str, module: str = "artquant_plugin.train", **environment: str
) -> subprocess.Popen:
    """Start `python -m LAUNCHER -m MODULE ARGUMENTS`."""
    own = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    port = ["--master_port" if launcher is TORCHRUN else "--main_process_port", str(free_port())]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, *port, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | own | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def through(process: subprocess.Popen) -> str:
    """What a run printed that ended as it should."""
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err[-4000:]
    assert out.count("evaluate it with") == 1  # one process speaks
    return out


def kill_when_there(process: subprocess.Popen, file: Path) -> None:
    """Kill the launcher and its processes as soon as a file is there."""
    until = time.monotonic() + 300
    while not file.exists():
        assert process.poll() is None, process.communicate()[1][-4000:]
        assert time.monotonic() < until
        time.sleep(0.01)
    for worker in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(worker), signal.SIGKILL)
    process.kill()
    process.communicate()


def curves(output: Path) -> list[dict[str, str]]:
    """The lines of a run's curves."""
    with (output / "training-curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def check_same(one: Path, other: Path) -> None:
    """Two runs had the same losses and metrics at every step, and ended with the same weights, up to rounding."""
    for before, after in zip(curves(one), curves(other), strict=True):
        assert (before["stage"], before["step"]) == (after["stage"], after["step"])
        for key in ("loss", "ce_description", "ce_answer", "kl", "eval_srocc", "eval_plcc"):
            assert bool(before[key]) == bool(after[key])
            if before[key]:
                assert float(after[key]) == pytest.approx(float(before[key]), abs=2e-5)
    first, second = weights(one), weights(other)
    assert first and first.keys() == second.keys()
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 5e-5
