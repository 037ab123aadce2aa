"""The record run.json of a RAD run: what it is made from, by which a later run continues it or refuses to."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from artquant_plugin.common.run_record import made_with, read_record, write_record
from artquant_plugin.data.dataset import DatasetInfo, Painting

RECORD_FILE = "run.json"
LOCK_FILE = "lock"
IDENTITY = ("data", "prompts", "models", "parameters")  # what a rerun must share with the run that it continues


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a RAD run is made from: the content of its run.json.

    Args:
        data: the dataset's ``folder`` (absolute), ``name``, ``license``, ``score_range``, ``splits`` (number of
            paintings by split) and ``sha256`` (hash over all paintings).
        prompts: hash of each template, by its name in the file of prompts.
        models: names of the models, under ``generator`` and ``judge``.
        parameters: all other settings that descriptions depend on, from `RadConfig.identity`.
        config: the whole merged configuration. It names the environment variables of the keys, and holds no key.
        versions: versions of Python and packages when the run was last started.
        git_commit: commit of this package's checkout; None outside of a checkout.
    """

    data: dict[str, Any]
    prompts: dict[str, str]
    models: dict[str, str]
    parameters: dict[str, Any]
    config: dict[str, Any]
    versions: dict[str, str]
    git_commit: str | None

    @property
    def identity(self) -> dict[str, Any]:
        """The sections that descriptions depend on, as JSON types; without the dataset's folder, which may move."""
        found = {name: getattr(self, name) for name in IDENTITY}
        found["data"] = {key: value for key, value in self.data.items() if key != "folder"}
        return json.loads(json.dumps(found))

    @property
    def fingerprint(self) -> str:
        """Hash of the identity, as hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    @classmethod
    def read(cls, run: Path) -> Self | None:
        """Read the record of an earlier RAD run.

        Args:
            run: the run directory, with or without a record.

        Returns:
            The record, or None when the folder has no run.json.

        Raises:
            ArtQuantError: the file is no record of a RAD run, or has another form version.
        """
        path, fields = run / RECORD_FILE, tuple(cls.__slots__)
        content = read_record(path, kind="record of a RAD run", remedy="give another folder", fields=fields)
        return None if content is None else cls(**{name: content[name] for name in fields})

    def write(self, run: Path) -> None:
        """Write run.json; a crash leaves the old file or the new one.

        Args:
            run: the run directory, which must exist.
        """
        content = {name: getattr(self, name) for name in RunRecord.__slots__}
        write_record(run / RECORD_FILE, {"fingerprint": self.fingerprint, **content})


def describe_data(folder: Path, info: DatasetInfo, splits: Mapping[str, Sequence[Painting]]) -> dict[str, Any]:
    """Make the record's section on the data.

    Args:
        folder: the dataset's folder, whose absolute path the section holds.
        info: the content of the dataset's dataset.json.
        splits: all paintings by split. The section's hash covers what a description is made from: each painting's
            split, name, picture, score and category.
    """
    digest = hashlib.sha256()
    for split, paintings in splits.items():
        for p in paintings:
            digest.update(json.dumps([split, p.id, p.image, p.sha256, p.score, p.category]).encode())
    return {
        "folder": str(folder.absolute()),
        "name": info.name,
        "license": info.license,
        "score_range": list(info.score_range),
        "splits": {split: len(paintings) for split, paintings in splits.items()},
        "sha256": digest.hexdigest(),
    }


def new_record(
    data: dict[str, Any],
    prompts: dict[str, str],
    models: dict[str, str],
    parameters: dict[str, Any],
    config: dict[str, Any],
) -> RunRecord:
    """Make the record of a run that starts now; the arguments are the fields of `RunRecord` with the same names."""
    return RunRecord(data, prompts, models, parameters, config, **made_with())
