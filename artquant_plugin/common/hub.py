"""A repository's files from the Hub, in the cache of its client."""

import errno
import re
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import first_line

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_hub_id(name: str) -> bool:
    """Whether a name can be a repository's: ``namespace/name``, and no path."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def split_revision(name: str) -> tuple[str, str | None]:
    """A Hub id and its revision, ``main`` as None."""
    identifier, _, revision = name.partition("@")
    return identifier, revision or None


def commit_of(folder: Path) -> str | None:
    """The Hub's commit that a folder of the Hub's cache holds; None for other folders."""
    is_snapshot = folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name)
    return folder.name if is_snapshot else None


def fetch_snapshot(
    given: str,
    *,
    kind: str = "model",
    ignore: list[str] | None = None,
    only: list[str] | None = None,
) -> Path:
    """The folder of a commit's files, fetched where they are not in the cache.

    Args:
        given: Hub id with an optional revision, ``namespace/name@v1``.
        kind: ``model`` or ``dataset``.
        ignore: patterns of files that are not fetched.
        only: patterns of those that are; all when None.

    Raises:
        ArtQuantError: the Hub does not have it or cannot be reached, or the disk is full.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, revision = split_revision(given)
    try:
        return Path(
            snapshot_download(name, repo_type=kind, revision=revision, ignore_patterns=ignore, allow_patterns=only)
        )
    except RepositoryNotFoundError as error:
        raise ArtQuantError(f"the Hub has no {kind} {name!r} that you may read; mend the id or log in") from error
    except RevisionNotFoundError as error:
        raise ArtQuantError(f"{kind} {name!r} has no revision {revision!r}; name a branch, tag or commit") from error
    except HFValidationError as error:
        raise ArtQuantError(f"{given!r} is no folder and no Hub id; mend the path") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = first_line(error)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            from huggingface_hub.constants import HF_HUB_CACHE

            raise ArtQuantError(
                f"{given!r} does not fit on the disk of '{HF_HUB_CACHE}' ({reason}); make room, or set HF_HOME to a "
                "folder on another"
            ) from error
        raise ArtQuantError(
            f"{given!r} is no folder, and could not be fetched from the Hub ({reason}); mend the path or try again"
        ) from error
