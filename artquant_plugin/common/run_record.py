"""The record beside every result: what it was made from, so that a rerun goes on with it or refuses.

A record is one JSON file whose first field is `form_version`. `read_record` and `write_record` are the only code that
reads and writes such files, `refuse_changes` is the only comparison of an earlier record with a present one, and
`only_writer` is the only lock on a result (`one_at_a_time` is for steps that take an instant).
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write, refuse_link
from artquant_plugin.common.json_text import printable_json
from artquant_plugin.common.provenance import git_commit, versions
from artquant_plugin.common.text import listed, one_line

FORM_VERSION = 1
SHOWN = 3  # differences that a refusal names; it says how many others there are


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """What a bulk run is about to compute: the sections of its record that a rerun must share.

    Args:
        inputs: one object per table, folder, archive or file that is scored, with what identifies its content. All
            three fields hold JSON types only.
        model: name and hashes of the weights that score, or the name by which a server knows its model.
        options: every other setting on which scores or the layout of the files depend.
    """

    inputs: list[dict[str, Any]]
    model: dict[str, Any]
    options: dict[str, Any]


def read_record(
    path: Path,
    *,
    kind: str = "record of a run",
    remedy: str = "remove it or pass --overwrite",
    fields: tuple[str, ...] = (),
    form_version: int | None = FORM_VERSION,
) -> dict[str, Any] | None:
    """Read an earlier run's record.

    Args:
        path: place of the record's file.
        kind: what the file should hold, in words that complete "… is no".
        remedy: how the error about a file that is no such record ends, in the imperative.
        fields: names that the record must have beside `form_version`.
        form_version: the only version of the form that the caller reads; None for any version.

    Returns:
        The record's content, or None when there is no file.

    Raises:
        ArtQuantError: the file holds no JSON object, lacks one of the fields, or has another form version.
    """
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version = record["form_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtQuantError(f"'{path}' is no {kind} ({error!r}); {remedy}") from error
    if form_version is not None and version != form_version:
        raise ArtQuantError(
            f"'{path}' has form version {version}, this release reads {form_version}; update artquant-plugin"
        )
    missing = [repr(name) for name in fields if name not in record]
    if missing:
        raise ArtQuantError(f"'{path}' is no {kind} (it lacks {listed(missing, SHOWN)}); {remedy}")
    return record


def write_record(path: Path, content: MadeFrom | Mapping[str, Any], *, result: dict[str, Any] | None = None) -> None:
    """Write a record in one step, so that a reader finds the earlier file or the whole new one.

    Args:
        path: the record's file; it is replaced when it exists.
        content: the fields that follow `form_version`, in their order. A `MadeFrom` is written with the versions of
            the installed packages, the commit of this package's checkout, and `result`.
        result: counts of a finished run; None while a run is under way. It belongs to a `MadeFrom` alone.
    """
    if isinstance(content, MadeFrom):
        content = {**asdict(content), **made_with(), "result": result}
    with atomic_write(path) as file:
        record = {"form_version": FORM_VERSION, **content}
        file.write(printable_json(record, indent=1) + "\n")


def made_with() -> dict[str, Any]:
    """The versions of Python and of the packages, and the commit of this package's checkout (None outside of one)."""
    return {"versions": versions(), "git_commit": git_commit()}


def refuse_other(record: Mapping[str, Any], wanted: MadeFrom, out: Path) -> None:
    """Stop when the earlier results of a bulk run were made from something else.

    Args:
        record: the earlier run's record, from `read_record`.
        wanted: what the present run is about to compute.
        out: the file or folder with the earlier results.

    Raises:
        ArtQuantError: names what changed.
    """
    now = asdict(wanted)
    refuse_changes(out, {name: record.get(name) for name in now}, now, remedy="pass --overwrite or another --out")


def refuse_changes(out: Path, before: Any, now: Any, *, remedy: str) -> None:
    """Stop when a result was made from something else than a run would make it from now.

    Args:
        out: the file or folder that the records are of.
        before: what it was made from, as read from its record.
        now: what the present run has. Tuples count as lists, and numbers as keys count as text, since a record that
            was read from JSON has neither.
        remedy: how the message ends, in the imperative.

    Raises:
        ArtQuantError: names the first three fields that differ, with both values, and how many more there are.
    """
    changes = list(differences("", before, json.loads(json.dumps(now))))
    if changes:
        shown = listed(changes, SHOWN, separator="; ")
        raise ArtQuantError(f"'{out}' was made from something else: {shown}; {remedy}")


def differences(name: str, before: Any, now: Any) -> Iterator[str]:
    """Yield each place in which two records differ.

    Args:
        name: path of the compared values in their records, with dots; empty for whole records.
        before: the earlier value, of JSON's types.
        now: the present value, of JSON's types. A field that only one of two objects has counts as null in the other.

    Example:
        >>> list(differences("", {"model": {"name": "a"}, "files": [1, 2]}, {"model": {"name": "b"}, "files": [1]}))
        ['model.name a -> b', 'files 2 parts -> 1']
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from differences(f"{name}.{key}" if name else key, before.get(key), now.get(key))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from differences(f"{name}[{index}]", one, other)
    elif isinstance(before, list) and isinstance(now, list):
        yield f"{name} {len(before)} parts -> {len(now)}"
    elif before != now:
        yield f"{name} {before} -> {now}"


class _Lock(FileLock):
    """A lock that is nobody else's.

    lmms-eval 0.7.3 (evaluator.py, `_enable_reentrant_filelocks`) makes locks of the class `FileLock` itself one per
    path for the whole process. Such a lock would let a second writer of the same process in, and would be of no use in
    a process that was forked. A class of its own is left as it is.
    """


@contextmanager
def only_writer(path: Path, out: Path, *, elsewhere: str = "another --out") -> Iterator[None]:
    """Hold a lock while a result is written; the system releases it when the process ends, however it ends.

    The lock's file says which process holds it, on which host, so that the error of a second one can name it.

    Args:
        path: the lock's file; its folder is made when absent.
        out: the file or folder that the lock guards, named in the messages.
        elsewhere: what the user can pass to write elsewhere, for the messages.

    Raises:
        ArtQuantError: another process holds the lock, the lock's file cannot be made, or a symbolic link is in its
            place.
    """
    refuse_link(path)  # filelock itself refuses a link that is planted from here on
    lock = _Lock(path, timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        if not os.path.lexists(path):  # filelock tries again for ever where no file can be made, as below /proc
            message = f"'{out}' cannot be written: '{path.parent}' takes no files; pass {elsewhere}"
            raise ArtQuantError(message) from error
        raise ArtQuantError(
            f"another process is writing '{out}'{_holder(path)}; wait for it, or stop it, or pass {elsewhere}"
        ) from error
    except OSError as error:
        raise ArtQuantError(f"'{out}' cannot be written ({error}); pass {elsewhere}") from error
    try:
        _name_holder(path)
        yield
    finally:
        lock.release()


def _name_holder(path: Path) -> None:
    """Write into a lock's file which process holds it, or nothing where the system locks the file's content, too."""
    holder = f"process {os.getpid()} on {socket.gethostname()}".encode()
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "wb") as file:
            if os.fstat(descriptor).st_nlink == 1:  # a second name would be that of somebody else's file
                file.truncate()
                file.write(holder)


def _holder(path: Path) -> str:
    """Which process holds a lock, as its file says, in brackets; nothing where the file does not say it."""
    try:
        said = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    return f" ({one_line(said)})" if said.startswith("process ") else ""


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process holds a lock, then hold it while the block runs, which should take an instant.

    Args:
        path: the lock's file, in a folder that exists.

    Raises:
        ArtQuantError: a symbolic link is in its place.
    """
    refuse_link(path)
    with _Lock(path):
        yield


def has_writer(path: Path) -> bool:
    """Whether a process holds a lock of `only_writer` now.

    Args:
        path: the lock's file. Without one nobody holds the lock; where it cannot be opened, somebody is taken to.
    """
    if not path.is_file():
        return False
    lock = _Lock(path, timeout=0)
    try:
        lock.acquire()
    except OSError:  # filelock's Timeout is one of them
        return True
    lock.release()
    return False
