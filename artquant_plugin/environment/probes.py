"""Running our small programs that import large packages in a process of their own."""

import subprocess
import sys
from pathlib import Path

TIMEOUT = 180  # seconds; the first import after an installation may read gigabytes from a slow disk


class ProbeError(Exception):
    """A program ended without an answer; the message is its last line on stderr, or how it ended."""


def probe(program: str, *arguments: str) -> list[str]:
    """Run one of the programs beside this file.

    Args:
        program: the name of the program's file without ``.py``.
        arguments: the arguments that the program gets on its command line.

    Returns:
        The lines that the program printed on stdout.

    Raises:
        ProbeError: the program failed, crashed, or did not end within `TIMEOUT` seconds.
    """
    path = Path(__file__).with_name(f"{program}.py")
    # -P keeps the program's own folder out of the import path, where our modules' names would hide others.
    command = [sys.executable, "-P", "-W", "ignore", str(path), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise ProbeError(f"no answer within {TIMEOUT} seconds") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ProbeError(lines[-1] if lines else f"the process ended with {done.returncode}")
    return done.stdout.splitlines()
