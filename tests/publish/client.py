"""Running the `artquant` command in another process, since the Hub's client reads its address when it is imported."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.kills import Operation, Side
from tests.paths import ROOT

# One process runs many commands, since importing torch takes longer than any of them. A command that is to be killed
# or interrupted runs in a fork of this process, which has imported everything already.
SERVE = """
import contextlib, io, json, os, sys
from pathlib import Path
from huggingface_hub.utils import get_session
from artquant_plugin.cli import main
from tests.kills import REQUEST, leftovers

def outcome(argv, env, folder):
    inherited = dict(os.environ)
    os.environ.update(env)
    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(argv)
        except SystemExit as stopped:
            code = stopped.code
        except Exception as error:
            code = f"{type(error).__name__}: {error}"
    os.environ.clear()
    os.environ.update(inherited)
    return json.dumps([code, out.getvalue(), err.getvalue()])

def whole(argv, env, folder):
    # The hooks are those of a forked process, in which this runs.
    for kind, side in (("request", lambda request: request), ("response", lambda answer: answer.request)):
        def told(event, kind=kind, side=side):
            sys.audit(REQUEST, f"{kind} {side(event).method} {side(event).url.path}")
        get_session().event_hooks[kind].append(told)
    said = json.loads(outcome(argv, env, folder))
    assert said[0] == 0, said

for line in sys.stdin:
    argv, env, folder, fork, watched = json.loads(line)
    if watched:
        action = lambda: whole(argv, env, folder)
        found = leftovers(action, *map(Path, watched))
        rows = [[each.number, each.name, each.paths, side, str(copy)] for each, side, copy in found]
        print(json.dumps(rows), flush=True)
    elif not fork:
        print(outcome(argv, env, folder), flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        said = outcome(argv, env, folder)
        with open(fork + ".part", "w") as file:
            file.write(said)
        os.replace(fork + ".part", fork)
        os._exit(0)
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
    """The environment of a process whose Hub is the one at an address; a token of None is that of nobody."""
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
    """Runs commands one after the other.

    Args:
        env: the environment of the process.
        folder: where commands run.
    """

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self._folder = folder
        self._env: dict[str, str] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def somebody(self, token: str | None, folder: Path | None = None, **env: str) -> Self:
        """Another user at the same Hub, whose commands run in the same process.

        Args:
            token: of this user; None for somebody who is not logged in.
            folder: where this user's commands run; where this client's do when None.
            env: further variables of this user's environment, which are read when a command runs.
        """
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__
        other._env = env | {"HF_TOKEN": token or ""}
        other._folder = folder or self._folder
        return other

    def run(self, *argv: Any) -> Outcome:
        return Outcome(*json.loads(self._ask(argv)))

    def fork(self, result: Path, *argv: Any) -> "Running":
        """Give a command without waiting for it; it runs in a process of its own, whose outcome `result` gets."""
        return Running(int(self._ask(argv, str(result))), result)

    def leftovers(self, watched: Path, copies: Path, *argv: Any) -> list[tuple[Operation, Side, Path]]:
        """What kills of a command leave, as `tests.kills.leftovers` returns it; requests to the Hub are operations.

        Args:
            watched: the watched folder, with the Hub's store in it.
            copies: an empty folder for the copies.
            argv: the command, which succeeds.
        """
        found = json.loads(self._ask(argv, watched=[str(watched), str(copies)]))
        return [(Operation(number, name, tuple(paths)), side, Path(copy)) for number, name, paths, side, copy in found]

    def _ask(self, argv: Any, result: str = "", watched: Sequence[str] = ()) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        request = [[str(arg) for arg in argv], self._env, str(self._folder), result, watched]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=30)


@dataclass(frozen=True, slots=True)
class Running:
    """A command in a process of its own."""

    pid: int
    result: Path

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        os.kill(self.pid, signal.SIGINT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> Outcome:
        """Wait for the command to end; the test's own time limit ends a wait for ever."""
        while not self.result.is_file():
            time.sleep(0.01)
        return Outcome(*json.loads(self.result.read_text()))
