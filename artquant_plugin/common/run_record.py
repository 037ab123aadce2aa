"""The record beside every result: what it was made from, so that a rerun goes on with it or refuses."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.provenance import git_commit, versions
from artquant_plugin.common.text import listed

FORM_VERSION = 1
SECTIONS = ("inputs", "model", "options")  # what a rerun must share
SHOWN = 3  # differences named in a refusal


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is about to compute.

    Args:
        inputs: identity of the source.
        model: identity of the engine's model.
        options: everything else that scores or files depend on.
    """

    inputs: list[dict[str, Any]]
    model: dict[str, Any]
    options: dict[str, Any]


def read_record(path: Path) -> dict[str, Any] | None:
    """An earlier run's record, or None.

    Raises:
        ArtQuantError: the file is no record.
    """
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["form_version"] != FORM_VERSION:
            raise ArtQuantError(
                f"'{path}' has form version {record['form_version']}, this release reads {FORM_VERSION}"
            )
        return record
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ArtQuantError):
            raise
        raise ArtQuantError(f"'{path}' is no record of a run ({error!r}); remove it or pass --overwrite") from error


def write_record(path: Path, wanted: Wanted, *, result: dict[str, Any] | None = None) -> None:
    """Write a record; `result` marks the run as finished."""
    content = {
        "form_version": FORM_VERSION,
        "inputs": wanted.inputs,
        "model": wanted.model,
        "options": wanted.options,
        "versions": versions(),
        "git_commit": git_commit(),
        "result": result,
    }
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def refuse_other(record: dict[str, Any], wanted: Wanted, out: Path) -> None:
    """Stop when earlier results were made from something else.

    Raises:
        ArtQuantError: with what changed.
    """
    now = json.loads(json.dumps({name: getattr(wanted, name) for name in SECTIONS}))
    before = {name: record.get(name) for name in SECTIONS}
    refuse_changes(out, before, now, remedy="pass --overwrite or another --out")


def refuse_changes(out: Path, before: Any, now: Any, *, remedy: str) -> None:
    """Stop when two records differ.

    Args:
        out: what the records are of.
        before: the earlier record.
        now: the present one.
        remedy: the end of the message.

    Raises:
        ArtQuantError: with what changed.
    """
    changes = list(differences("", before, now))
    if changes:
        shown = listed(changes, SHOWN, separator="; ")
        raise ArtQuantError(f"'{out}' was made from something else: {shown}; {remedy}")


def differences(name: str, before: Any, now: Any) -> Iterator[str]:
    """Each place in which two records differ, as "section.key old -> new"."""
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


@contextmanager
def only_writer(path: Path, out: Path) -> Iterator[None]:
    """Hold a lock file; the system lets go of it when the process ends.

    Args:
        path: the lock file.
        out: what it guards, for the message.

    Raises:
        ArtQuantError: another process holds it.
    """
    lock = FileLock(path, timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        if not isinstance(error, Timeout):
            raise ArtQuantError(f"'{out}' cannot be written ({error}); choose another --out") from error
        raise ArtQuantError(
            f"another process is writing '{out}'; wait for it, or stop it, or pass another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()
