"""The record `published.json` of a repository: which files artquant published there, with their hashes."""

import json
from collections.abc import Mapping
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import Digest
from artquant_plugin.common.text import one_line

RECORD_FILE = "published.json"
FORM_VERSION = 1


def record_content(digests: Mapping[str, Digest]) -> bytes:
    """The content of the record `published.json`.

    Args:
        digests: the hashes of the published files by their paths in the repository.
    """
    files = {name: {"sha256": digest.sha256, "git": digest.git} for name, digest in digests.items()}
    return (json.dumps({"form_version": FORM_VERSION, "files": files}, indent=1) + "\n").encode()


def read_record(path: Path, repository: str) -> dict[str, Digest]:
    """Read the hashes in a record `published.json`.

    Args:
        path: the downloaded record, an existing file.
        repository: id of the repository that it was downloaded from, for messages.

    Returns:
        The hashes of the files of earlier publications, by their paths in the repository.

    Raises:
        ArtQuantError: artquant did not write the file, or wrote it in another version of the format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["form_version"] != FORM_VERSION:
            raise ArtQuantError(
                f"{RECORD_FILE} of {repository!r} has form version {content['form_version']}, while this release "
                f"reads {FORM_VERSION}; update artquant-plugin"
            )
        return {name: Digest(**digest) for name, digest in content["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ArtQuantError):
            raise
        raise ArtQuantError(
            f"{RECORD_FILE} of {repository!r} was not written by artquant ({one_line(error)}); remove it on the "
            "Hub, or name another repository"
        ) from error
