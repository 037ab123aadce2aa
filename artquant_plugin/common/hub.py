"""Repositories on the Hugging Face Hub: their names, and their files in the cache of the Hub's client."""

import errno
import re
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import first_line

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_hub_id(name: str) -> bool:
    """Whether a name without a revision has the form ``namespace/name`` of a repository, and is no path."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def split_revision(name: str) -> tuple[str, str | None]:
    """Split ``namespace/name@revision`` into Hub id and revision, which is None where the name has none."""
    identifier, _, revision = name.partition("@")
    return identifier, revision or None


def commit_of(folder: Path) -> str | None:
    """The commit that a folder in the cache of the Hub's client holds; None for a folder elsewhere."""
    is_snapshot = folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name)
    return folder.name if is_snapshot else None


def fetch_snapshot(
    repo: str,
    *,
    kind: str = "model",
    ignore: list[str] | None = None,
    only: list[str] | None = None,
) -> Path:
    """Fetch a repository's files where they are not in the cache yet.

    Args:
        repo: Hub id with an optional revision, such as ``namespace/name@v1``; without one the main branch.
        kind: the kind of repository, ``model`` or ``dataset``.
        ignore: patterns of names, such as ``*.bin``, of files that are not fetched; None for no pattern.
        only: patterns of names of the files that are fetched; None for all files.

    Returns:
        The folder in the cache that holds the files of the revision's commit.

    Raises:
        ArtQuantError: the Hub has no such repository or revision, or it cannot be reached; or the disk is full.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, revision = split_revision(repo)
    try:
        return Path(
            snapshot_download(name, repo_type=kind, revision=revision, ignore_patterns=ignore, allow_patterns=only)
        )
    except RepositoryNotFoundError as error:
        raise ArtQuantError(f"the Hub has no {kind} {name!r} that you may read; mend the id or log in") from error
    except RevisionNotFoundError as error:
        raise ArtQuantError(f"{kind} {name!r} has no revision {revision!r}; name a branch, tag or commit") from error
    except HFValidationError as error:
        raise ArtQuantError(f"{repo!r} is no folder and no Hub id; mend the path") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = first_line(error)
        if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
            from huggingface_hub.constants import HF_HUB_CACHE

            raise ArtQuantError(
                f"{repo!r} does not fit on the disk of '{HF_HUB_CACHE}' ({reason}); make room, or set HF_HOME to a "
                "folder on another"
            ) from error
        raise ArtQuantError(
            f"{repo!r} is no folder, and could not be fetched from the Hub ({reason}); mend the path or try again"
        ) from error
