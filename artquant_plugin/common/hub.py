"""Repositories on the Hugging Face Hub: their names, and their files in the cache of the Hub's client."""

import errno
import os
import re
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import Digest, digest_of_kept
from artquant_plugin.common.progress import ProgressBar
from artquant_plugin.common.secrets import without_keys
from artquant_plugin.common.text import first_line, listed, one_line

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LONG_CHECK = 2**30  # bytes; hashing that many takes about a second, so that a progress bar is due


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


def hub_message(text: object) -> str:
    """What the Hub's client or its server says, in one line without secrets, the user's token among them.

    Args:
        text: a text, or an exception of the client.
    """
    from huggingface_hub import get_token

    return one_line(without_keys(str(text) or type(text).__name__, [get_token()]))


def fetch_snapshot(
    repo: str,
    *,
    kind: str = "model",
    ignore: list[str] | None = None,
    only: list[str] | None = None,
) -> Path:
    """Fetch a repository's files where they are not in the cache yet, and check the contents of all of them.

    The Hub names every file by a hash of its content, and its client keeps the file under that name without hashing
    it. A proxy or a mirror that sends other bytes is found here.

    Args:
        repo: Hub id with an optional revision, such as ``namespace/name@v1``; without one the main branch.
        kind: the kind of repository, ``model`` or ``dataset``.
        ignore: patterns of names, such as ``*.bin``, of files that are not fetched; None for no pattern.
        only: patterns of names of the files that are fetched; None for all files.

    Returns:
        The folder in the cache that holds the files of the revision's commit.

    Raises:
        ArtQuantError: the Hub has no such repository or revision, or it cannot be reached; the disk is full; or a
            file's content is not the one that the Hub names.
    """
    folder = _fetch(repo, kind=kind, ignore=ignore, only=only)
    _check_contents(folder, repo)
    return folder


def _fetch(repo: str, *, kind: str, ignore: list[str] | None, only: list[str] | None) -> Path:
    """Have the Hub's client fetch a repository, and say in one line why it could not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
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
    except (KeyError, TypeError, AttributeError) as error:  # the client takes a reply of any other form for its own
        raise ArtQuantError(
            f"{repo!r} could not be fetched: what answers for the Hub sends something else than the Hub does "
            f"({type(error).__name__}: {hub_message(first_line(error))}); look at HF_ENDPOINT and at proxies"
        ) from error
    except (HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = hub_message(first_line(error))
        if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
            from huggingface_hub.constants import HF_HUB_CACHE

            raise ArtQuantError(
                f"{repo!r} does not fit on the disk of '{HF_HUB_CACHE}' ({reason}); make room, or set HF_HOME to a "
                "folder on another"
            ) from error
        raise ArtQuantError(
            f"{repo!r} is no folder, and could not be fetched from the Hub ({reason}); mend the path or try again"
        ) from error


def _check_contents(folder: Path, repo: str) -> None:
    """Compare the files of a snapshot with the hashes by which the Hub names them.

    The client's cache keeps each content under that hash, which a link in the snapshot's folder leads to. On a file
    system without symbolic links the files themselves lie in the folder, and there is nothing to compare them with.

    Args:
        folder: the snapshot's folder in the cache.
        repo: Hub id as the user gave it, for the message.

    Raises:
        ArtQuantError: contents differ from their hashes. They are removed from the cache, so that they are fetched
            again next time.
    """
    named = []
    for path in sorted(folder.rglob("*")):
        # The link names the hash. What it leads to may be a link once more, into a store that repositories share.
        name = os.path.basename(os.readlink(path)) if path.is_symlink() and path.is_file() else ""
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name):
            named.append((path, name))
    total = sum(path.stat().st_size for path, _ in named)
    wrong = []
    with ProgressBar("check contents", "file", len(named), show=total >= _LONG_CHECK) as bar:
        for path, name in named:
            if not _is_named(digest_of_kept(path), name):
                wrong.append(path)
            bar.advance()
    if wrong:
        names = listed([str(path.relative_to(folder)) for path in wrong])
        for path in wrong:
            for place in (path.resolve(), path.parent / os.readlink(path), path):
                place.unlink(missing_ok=True)
        raise ArtQuantError(
            f"{repo!r}: what arrived as {names} is not what the Hub lists by its hash; it was removed from the cache: "
            "run again, and if that does not help, look at what stands between here and the Hub (HF_ENDPOINT, a "
            "proxy)"
        )


def _is_named(digest: Digest, name: str) -> bool:
    """Whether a content has the hash that it is named by: a SHA-256 of 64 digits, or a git blob's SHA-1 of 40."""
    if len(name) == 64:
        return name == digest.sha256
    return digest.git is None or name == digest.git  # the Hub names no content of that size by a git hash
