"""Kills at every file operation of an action, so that a test can see what each of them leaves on the disk.

An action runs in a forked process, where Python's audit events report each operation that changes a file or folder
below the watched one: opening for writing, renaming, removing, linking, making and removing of folders. At the chosen
operation the process ends at once, as ``kill -9`` ends it: no ``finally`` runs, and what was not flushed is lost.
Libraries that write without Python (safetensors, pyarrow, SQLite) raise no events of their own. What they wrote counts
as done at the next event, and as not begun right after the event before it. A client that talks to a server can raise
the event `REQUEST` where it sends a request and where it gets the answer.
"""

import os
import pickle
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

KILLED = 137
"""Exit status of a process that was ended at the chosen operation."""

REQUEST = "tests.request"
"""Audit event of a client, with one text that says which request it sends or which answer it has got."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")

Side = Literal["before", "after"]
_TEMPORARY = re.compile(r"\.part-[^/]*|[^/]*\.tmp(?=/|$)")


@dataclass(frozen=True)
class Operation:
    """One operation that changes the file system.

    Attributes:
        number: its place among the operations of the action, from 0.
        name: the audit event, for example ``os.rename``.
        paths: the files or folders that it names, relative to the watched folder where they lie in it; of a request,
            the text that it is described by.
    """

    number: int
    name: str
    paths: tuple[str, ...]


def operations(action: Callable[[], Any], folder: Path) -> list[Operation]:
    """Run an action to its end in a forked process and list the operations by which it changed a folder.

    Args:
        action: what is run; whatever it changes in memory is lost, what it writes stays.
        folder: operations that name no path below this folder are not listed.

    Returns:
        The operations, in the order in which they happened.

    Raises:
        AssertionError: the action raised an exception; its traceback is in the message.
    """
    status, report = _fork(action, folder, None)
    assert status == 0, f"the action failed by itself:\n{report}"
    return pickle.loads(report)


def killed(action: Callable[[], Any], folder: Path, number: int, side: Side) -> Operation:
    """Run an action in a forked process that ends at one operation.

    Args:
        action: what is run.
        folder: the watched folder, as in `operations`.
        number: which operation, as `operations` counts them.
        side: ``before`` ends the process before the operation takes place, ``after`` right after it.

    Returns:
        The operation at which the process ended.

    Raises:
        AssertionError: the action ended before this operation was reached.
    """
    status, report = _fork(action, folder, (number, side))
    assert status == KILLED, f"the action ended with {status} before operation {number}:\n{report}"
    return pickle.loads(report)[-1]


def kills(action: Callable[[], Any], folder: Path, renew: Callable[[], None]) -> Iterator[tuple[Operation, Side]]:
    """Kill an action before and after each of its operations; after each kill the test looks at what is left.

    Args:
        action: what is run.
        folder: the watched folder, as in `operations`.
        renew: brings the folder back to the state from which the action starts; called before every run.

    Yields:
        The operation of each kill and its side, with the folder as the kill left it.
    """
    renew()
    count = len(operations(action, folder))
    assert count, "the action changes nothing below the watched folder"
    for number in range(count):
        sides: tuple[Side, Side] = ("before", "after")
        for side in sides:
            renew()
            yield killed(action, folder, number, side), side


def leftovers(action: Callable[[], Any], folder: Path, copies: Path) -> Iterator[tuple[Operation, Side, Path]]:
    """What kills of one action leave: a copy of the folder for each state in which a kill can leave it.

    The action runs once, in a forked process, and the folder is copied before and after each of its operations. A copy
    holds what a kill at this place leaves: what was flushed, and nothing of the buffers. This takes one run for all
    kills, where `kills` takes one run for each. States that differ in nothing but the content of temporary files
    (``.part-*``, ``*.tmp``), which no later process may read, count as one, of which the last one is kept.

    Args:
        action: what is run; whatever it changes in memory is lost.
        folder: the watched folder, as in `operations`, in the state from which the action starts.
        copies: an empty folder for the copies.

    Yields:
        The operation and the side of each kill, and the copy of the folder that it leaves.
    """
    status, report = _fork(action, folder, None, copies)
    assert status == 0, f"the action failed by itself:\n{report}"
    every = pickle.loads(report)
    assert every, "the action changes nothing below the watched folder"
    for copy in sorted(copies.iterdir(), key=lambda path: int(path.name.partition("-")[0])):
        number, side = copy.name.split("-")
        assert side in ("before", "after")
        yield every[int(number) // 2], side, copy  # type: ignore[misc]


def _fork(
    action: Callable[[], Any], folder: Path, kill: tuple[int, Side] | None, copies: Path | None = None
) -> tuple[int, Any]:
    """Run in a child process; returns its exit status and what it reported (bytes of a pickle, or a traceback)."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            signal.alarm(0)  # a time limit of the test suite is the parent's
            watch = _Watch(folder, writer, kill, copies)
            sys.addaudithook(watch)
            action()
            watch.report()
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode()[-4000:])
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        report = pipe.read()
    _, waited = os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(waited)
    return status, report if status in (0, KILLED) else report.decode(errors="replace")


class _Watch:
    """The audit hook of the child process."""

    def __init__(self, folder: Path, writer: int, kill: tuple[int, Side] | None, copies: Path | None = None) -> None:
        self.folder = os.path.abspath(folder)
        self.writer = writer
        self.kill = kill
        self.copies = copies
        self.copied: tuple[frozenset[Any], Path] | None = None
        self.copying = False
        self.seen: list[Operation] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.copying:
            return
        if event == REQUEST:
            self._meet(event, tuple(arguments))
            return
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & _WRITES:
                return
            paths: list[tuple[Any, Any]] = [(path, -1)]
        elif event in ("os.rename", "os.link"):
            source, target, source_folder, target_folder = arguments
            paths = [(source, source_folder), (target, target_folder)]
        elif event == "os.symlink":
            paths = [(arguments[1], arguments[2])]
        elif event in _CHANGES:
            paths = [(arguments[0], arguments[-1] if event != "os.truncate" else -1)]
        else:
            return
        named = [self._relative(path, at) for path, at in paths]
        if all(name is None for name in named):
            return
        self._meet(event, tuple(name or "elsewhere" for name in named))

    def _meet(self, event: str, names: tuple[str, ...]) -> None:
        """Note an operation; copy the folder around it, or end the process on the chosen side of it."""
        operation = Operation(len(self.seen), event, names)
        self.seen.append(operation)
        if self.copies is not None:
            self._copy(2 * operation.number, "before")
            sys.setprofile(self._copy_after)
        if self.kill is None or operation.number != self.kill[0]:
            return
        if self.kill[1] == "before":
            self._end()
        # The hook runs before the operation. The next event of the interpreter, whichever it is, comes after it.
        sys.setprofile(self._ended)

    def _copy_after(self, frame: Any, event: str, argument: Any) -> None:
        if frame.f_code not in _HOOK and not self.copying:
            sys.setprofile(None)
            self._copy(2 * len(self.seen) - 1, "after")

    def _copy(self, number: int, side: Side) -> None:
        """Copy the folder, unless it is as it was at the last copy; temporary files are no difference."""
        assert self.copies is not None
        self.copying = True
        state = frozenset(self._entries(self.folder))
        copy = self.copies / f"{number}-{side}"
        if os.path.isdir(self.folder):
            if self.copied is not None and self.copied[0] == state:
                shutil.rmtree(self.copied[1])
            shutil.copytree(self.folder, copy, symlinks=True)
            self.copied = state, copy
        self.copying = False

    def _entries(self, folder: str) -> Iterator[tuple[Any, ...]]:
        """What is in a folder, at any depth: names, and the identity and age of files that are not temporary."""
        for entry in os.scandir(folder):
            name = os.path.relpath(entry.path, self.folder)
            if _TEMPORARY.search(name):
                yield (_TEMPORARY.sub("*", name).partition("*")[0], "temporary")
            elif entry.is_dir(follow_symlinks=False):
                yield (name,)
                yield from self._entries(entry.path)
            else:
                found = entry.stat(follow_symlinks=False)
                yield (name, found.st_ino, found.st_size, found.st_mtime_ns)

    def report(self) -> None:
        """Send the operations to the parent process."""
        data = pickle.dumps(self.seen)
        while data:
            data = data[os.write(self.writer, data) :]

    def _ended(self, frame: Any, event: str, argument: Any) -> None:
        if frame.f_code not in _HOOK:
            self._end()

    def _end(self) -> None:
        self.report()
        os._exit(KILLED)

    def _relative(self, path: Any, folder: int) -> str | None:
        """A path below the watched folder, or None; `folder` is the descriptor to which it is relative, or -1."""
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        name = os.fsdecode(path)
        if folder != -1 and not os.path.isabs(name):
            name = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
        name = os.path.abspath(name)
        return os.path.relpath(name, self.folder) if name.startswith(self.folder + os.sep) else None


_HOOK = (_Watch.__call__.__code__, _Watch._meet.__code__)  # which run before the operation takes place
