"""Programs of ours that import large packages in a process of their own."""

import subprocess
import sys
from pathlib import Path

TIMEOUT = 180  # seconds; a first import after installing reads gigabytes from a slow disk


class ProbeError(Exception):
    """A probe ended without an answer; the message is its last line on stderr, or how it ended."""


def probe(program: str, *arguments: str) -> list[str]:
    """Run one of the programs beside this file.

    Args:
        program: its name without ``.py``.
        arguments: for it.

    Returns:
        The lines that it printed.

    Raises:
        ProbeError: it failed, crashed, or did not end within `TIMEOUT` seconds.
    """
    path = Path(__file__).with_name(f"{program}.py")
    # -P: the folder of the program, which is full of our modules' names, is no place to import from.
    command = [sys.executable, "-P", "-W", "ignore", str(path), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise ProbeError(f"no answer within {TIMEOUT} seconds") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ProbeError(lines[-1] if lines else f"the process ended with {done.returncode}")
    return done.stdout.splitlines()
