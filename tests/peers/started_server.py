"""Starts a real server in a process of its own, waits until it answers, and ends it."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

STARTS_WITHIN = 120  # seconds


@contextlib.contextmanager
def started_server(
    command: Sequence[str], *, ready: str, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The address of a server with the OpenAI protocol, which listens on a free port of this machine.

    Args:
        command: what this Python is given, in which ``{port}`` stands for the port.
        ready: the path that answers once the server has started.
        log: file for what the server writes, which may be more than a pipe holds.
        environment: variables beside those of this process.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *(part.replace("{port}", str(port)) for part in command)],
            env=os.environ | {"OMP_NUM_THREADS": "1"} | dict(environment or {}),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, "the server did not start within two minutes"
            with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(f"http://localhost:{port}{ready}"):
                break
            time.sleep(0.2)
        yield f"http://localhost:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)
