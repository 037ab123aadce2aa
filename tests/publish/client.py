"""The `artquant` command in a process of its own: the Hub's client reads its address when it is imported."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.paths import ROOT

# One process runs many commands, since importing torch takes longer than any of them.
SERVE = """
import contextlib, io, json, sys
from artquant_plugin.cli import main
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(json.loads(line))
        except SystemExit as stopped:
            code = stopped.code
        except Exception as error:
            code = f"{type(error).__name__}: {error}"
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    code: Any
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of an error that a user can mend; a progress bar may stand before it."""
        assert self.code == 2, (self.code, self.out, self.err)
        before, mark, line = self.err.rpartition("artquant: error: ")
        assert mark and "error: " not in before and line.count("\n") == 1 and "Traceback" not in before, self.err
        return line.removesuffix("\n")


def environment(url: str, home: Path, token: str | None, **more: str) -> dict[str, str]:
    """Of a client of the Hub at an address."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    return inherited | {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        **({"HF_TOKEN": token} if token else {}),
        **more,
    }


class Client:
    """Runs commands one after the other."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            env=dict(env),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def begin(self, *argv: Any) -> None:
        """Give a command without waiting for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(arg) for arg in argv]) + "\n")
        self._process.stdin.flush()

    def end(self) -> Outcome:
        assert self._process.stdout is not None
        return Outcome(*json.loads(self._process.stdout.readline()))

    def run(self, *argv: Any) -> Outcome:
        self.begin(*argv)
        return self.end()

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=30)
