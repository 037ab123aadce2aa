"""RUN/run.json: what a RAD run is made from, so that a later one goes on with it or refuses."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.provenance import git_commit, versions
from artquant_plugin.common.run_record import refuse_changes
from artquant_plugin.data.dataset import DatasetInfo, Painting

RECORD_FILE = "run.json"
FORM_VERSION = 1
IDENTITY = ("data", "prompts", "models", "parameters")  # what a rerun must share


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The file's content.

    Args:
        data: ``folder`` (absolute), ``name``, ``license``, ``score_range``, ``splits`` (number of paintings by split)
            and ``sha256`` over all paintings.
        prompts: hash of each template by its name in the file of prompts.
        models: ``generator`` and ``judge``, by name.
        parameters: everything else that descriptions depend on.
        config: the whole configuration, as merged. It names the keys' variables and holds no key.
        versions: of Python and packages, when the run was last started.
        git_commit: of this package's checkout; None when it is none.
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
        """What descriptions depend on. The folder does not belong to it: a dataset may move."""
        found = {name: getattr(self, name) for name in IDENTITY}
        found["data"] = {key: value for key, value in self.data.items() if key != "folder"}
        return json.loads(json.dumps(found))

    @property
    def fingerprint(self) -> str:
        """Hash of the identity, as hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()


def describe_data(folder: Path, info: DatasetInfo, splits: Mapping[str, Sequence[Painting]]) -> dict[str, Any]:
    """The record's section on the data: its hash covers what a description is made from, row by row."""
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
    """A record of a run that starts now."""
    return RunRecord(data, prompts, models, parameters, config, versions(), git_commit())


def read_record(run: Path) -> RunRecord | None:
    """An earlier run's record, or None.

    Raises:
        ArtQuantError: the file is no record of this form.
    """
    path = run / RECORD_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["form_version"] != FORM_VERSION:
            raise ArtQuantError(
                f"'{path}' has form version {content['form_version']}, this release reads {FORM_VERSION}"
            )
        return RunRecord(**{name: content[name] for name in RunRecord.__slots__})
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ArtQuantError):
            raise
        raise ArtQuantError(f"'{path}' is no record of a RAD run ({error!r}); give another folder") from error


def write_record(run: Path, record: RunRecord) -> None:
    """Write the file, as a whole."""
    content = {
        "form_version": FORM_VERSION,
        "fingerprint": record.fingerprint,
        **{name: getattr(record, name) for name in RunRecord.__slots__},
    }
    with atomic_write(run / RECORD_FILE) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def refuse_other(before: RunRecord, now: RunRecord, run: Path) -> None:
    """Stop when the run's descriptions were made from something else.

    Raises:
        ArtQuantError: with what changed.
    """
    refuse_changes(run, before.identity, now.identity, remedy="put it back, or pass another --out")
