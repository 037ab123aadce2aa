"""Worker processes when the process that made them is killed, and when one of them is."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from artquant_plugin.common.errors import MachineError
from artquant_plugin.common.workers import process_pool
from tests.paths import ROOT

# Each line is one write: of two processes that print at once, an unbuffered Python mixes the parts of their lines.
POOL = r"""
import os, sys, time
from artquant_plugin.common.workers import process_pool

def work(number):
    os.write(1, b"%d\n" % os.getpid())
    time.sleep(600)

with process_pool(3) as pool:
    list(pool.map(work, range(3)))
"""

LOADER = r"""
import os, time
from PIL import Image
from artquant_plugin.scoring.batching import Batch
from artquant_plugin.scoring.prepare import Preparer, prepare_ahead

def inputs(images):
    os.write(1, b"%d\n" % os.getpid())
    time.sleep(600)
    return {}

image = Image.new("RGB", (8, 8))
batches = [Batch([number], [image]) for number in range(9)]
list(prepare_ahead(batches, Preparer(inputs), workers=3))
"""

BESIDE_ANOTHER = r"""
import os, time
from artquant_plugin.common.workers import process_pool

def work(number):
    os.write(1, b"%d\n" % os.getpid())
    time.sleep(600)

with process_pool(3) as pool:
    waiting = [pool.submit(work, number) for number in range(3)]
    if os.fork() == 0:  # a process of the application's own, which inherits what its parent has open
        os.write(1, b"other %d\n" % os.getpid())
        time.sleep(600)
    waiting[0].result()
"""


def runs(process: int) -> bool:
    """Whether a process runs; one that ended and that nobody waits for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ended while the file was open
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
@pytest.mark.parametrize("script", [POOL, LOADER, BESIDE_ANOTHER], ids=["pool", "loader", "beside-another-process"])
def test_workers_end_with_a_parent_that_is_killed(script):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script]
    others = int(script is BESIDE_ANOTHER)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            lines = [parent.stdout.readline().split() for _ in range(3 + others)]
        finally:
            parent.kill()
        parent.wait()
        workers = {int(line[0]) for line in lines if len(line) == 1}
        other = [int(line[1]) for line in lines if len(line) == 2]
        assert len(workers) == 3 and parent.pid not in workers and len(other) == others
        deadline = time.monotonic() + 60
        while any(map(runs, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        left = [worker for worker in workers if runs(worker)]
        assert all(map(runs, other))
        for process in [*left, *other]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    assert not left


def _die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_one_line():
    with pytest.raises(MachineError, match="a worker process was ended from outside"), process_pool(2) as pool:
        list(pool.map(_die, range(4)))
