"""A repository of the Hub: what is there, what differs, one commit, a tag; faults as one line.

Files appear in one commit, so that nobody loads half of a new checkpoint. `published.json` lists what was
written and its hashes: by it a rerun knows its own files from those of others.

Who tries again: the client repeats requests that read and those that send content. It does not repeat a commit, since
the answer that was lost may have been a success; `_commit` does that, and looks first whether the commit is there.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import listed, one_line
from artquant_plugin.publish.hashes import (
    RECORD_FILE,
    Digest,
    FileContent,
    digest_of,
    read_record,
    record_content,
    size_of,
)
from artquant_plugin.publish.hub_errors import Target, hub_errors
from artquant_plugin.publish.whitelist import Whitelist

_HUBS_OWN = (".gitattributes",)
_PASSING = (429, 500, 502, 503, 504)  # statuses after which a commit is tried again
_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each of the further tries

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _State:
    """What a repository holds.

    Args:
        head: commit of its main branch.
        private: who sees it.
        files: by path.
        tags: commit by name.
        written: hashes of what was published into it.
    """

    head: str
    private: bool
    files: dict[str, Any]
    tags: dict[str, str]
    written: dict[str, Digest]


@dataclass(frozen=True, slots=True)
class PublicationPlan:
    """What a publication changes.

    Args:
        target: where.
        exists: whether the repository does.
        sizes: bytes of each file that is to be there.
        changed: paths that are sent.
        removed: paths that an earlier publication wrote and that are no more.
        others: paths that somebody else put there, which stay.
        parent: commit that it builds upon; None for a new repository.
    """

    target: Target
    exists: bool
    sizes: dict[str, int]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    others: tuple[str, ...]
    parent: str | None


@dataclass(frozen=True, slots=True)
class PublishedCommit:
    """What a publication came to.

    Args:
        commit: of the repository now.
        is_new: whether it was made by this publication.
        url: of the repository.
    """

    commit: str
    is_new: bool
    url: str


class Publication:
    """Files on their way into a repository.

    Args:
        target: where.
        files: by path in the repository.
        whitelist: what a reader of the repository takes for a part of it.
        overwrite: whether files that somebody else wrote or changed are replaced.
        stays: which files of earlier publications stay though they are not among these; none when None.
    """

    def __init__(
        self,
        target: Target,
        files: Mapping[str, FileContent],
        whitelist: Whitelist,
        *,
        overwrite: bool = False,
        stays: Callable[[str], bool] | None = None,
    ) -> None:
        self._target = target
        self._whitelist = whitelist
        self._overwrite = overwrite
        self._stays = stays or (lambda name: False)
        self._files = dict(sorted(files.items()))
        self._digests = {name: digest_of(content) for name, content in self._files.items()}

    @property
    def target(self) -> Target:
        """Where it goes."""
        return self._target

    def add(self, name: str, content: FileContent) -> None:
        """Take one more file along."""
        self._files[name] = content
        self._digests[name] = digest_of(content)

    def staying(self, ending: str) -> dict[str, Path]:
        """Files of earlier publications that stay, fetched.

        Args:
            ending: of their paths.

        Returns:
            Path in the repository -> file of this machine.

        Raises:
            ArtQuantError: the Hub does not answer.
        """
        state = self._state()
        target, api = self._target, _api()
        if state is None:
            return {}
        with hub_errors(target):
            return {
                name: Path(api.hf_hub_download(target.name, name, revision=state.head, repo_type=target.kind))
                for name in self._kept(state)
                if name.endswith(ending)
            }

    def _kept(self, state: _State) -> dict[str, Digest]:
        """What was published earlier, is as it was, and stays."""
        return {
            name: digest
            for name, digest in state.written.items()
            if self._stays(name) and name in state.files and digest.same(state.files[name])
        }

    def _complete(self, state: _State | None) -> None:
        """Put the list of all that was published among the files."""
        kept = self._kept(state) if state else {}
        digests = {name: digest for name, digest in self._digests.items() if name != RECORD_FILE}
        self.add(RECORD_FILE, record_content(dict(sorted((kept | digests).items()))))

    def plan(self) -> PublicationPlan:
        """Compare with what is there; nothing is written.

        Raises:
            ArtQuantError: the repository holds files of somebody else in the place of ours, its visibility or tag is
                another than asked for, or the Hub does not answer.
        """
        target = self._target
        state = self._state()
        self._complete(state)
        sizes = {name: size_of(content) for name, content in self._files.items()}
        if state is None:
            return PublicationPlan(target, False, sizes, tuple(self._files), (), (), None)
        if target.private and not state.private:
            raise ArtQuantError(
                f"{target.kind} {target.name!r} exists and is public; make it private in its settings on the Hub, or "
                "leave --private out"
            )
        others = {
            name
            for name, remote in state.files.items()
            if name not in (RECORD_FILE, *_HUBS_OWN)
            and not (name in state.written and state.written[name].same(remote))
        }
        changed = [
            name
            for name, digest in self._digests.items()
            if name not in state.files or not digest.same(state.files[name])
        ]
        if (clash := sorted(others.intersection(changed))) and not self._overwrite:
            raise ArtQuantError(
                f"{target.kind} {target.name!r} holds {listed(clash)} that artquant did not write or that was changed "
                "there; pass --overwrite to replace, or name another repository"
            )
        if mixed := sorted(name for name in others - set(self._files) if self._whitelist.is_loaded(name)):
            raise ArtQuantError(
                f"{target.kind} {target.name!r} holds {listed(mixed)} of somebody else, which would be loaded with "
                "this; remove it on the Hub, or name another repository"
            )
        kept = self._kept(state)
        removed = sorted(set(state.files) - others - set(self._files) - set(kept) - set(_HUBS_OWN))
        tagged = state.tags.get(target.tag) if target.tag else None
        if tagged is not None and (changed or removed or tagged != state.head):
            raise ArtQuantError(
                f"{target.kind} {target.name!r} has a tag {target.tag!r} already, on commit {tagged[:12]}; tags "
                "stay where they are: pass another --revision"
            )
        return PublicationPlan(
            target,
            True,
            sizes,
            tuple(changed),
            tuple(removed),
            tuple(sorted(others - set(self._files))),
            state.head,
        )

    def run(self, message: str, say: Say) -> PublishedCommit:
        """Make the repository where there is none, send what differs, commit, tag.

        Args:
            message: of the commit.
            say: gets a line before a commit is tried again.

        Raises:
            ArtQuantError: as `plan`; or the Hub refuses, or does not answer after several tries.
        """
        target = self._target
        plan = self.plan()
        api = _api()
        with hub_errors(target):
            if not plan.exists:
                # None leaves the choice to an organisation's own default.
                api.create_repo(target.name, repo_type=target.kind, private=target.private or None, exist_ok=True)
                plan = self.plan()
            commit = plan.parent
            if is_new := bool(plan.changed or plan.removed):
                commit = self._commit(plan, message, say)
            if target.tag and target.tag not in _tags(target):
                api.create_tag(target.name, tag=target.tag, revision=commit, repo_type=target.kind, exist_ok=True)
        prefix = "datasets/" if target.kind == "dataset" else ""
        assert commit is not None
        return PublishedCommit(commit, is_new, f"{api.endpoint}/{prefix}{target.name}")

    def _commit(self, plan: PublicationPlan, message: str, say: Say) -> str:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.errors import HfHubHTTPError, HTTPError

        api, target = _api(), self._target
        additions = [
            CommitOperationAdd(name, content if isinstance(content := self._files[name], bytes) else str(content))
            for name in plan.changed
        ]
        api.preupload_lfs_files(target.name, additions, repo_type=target.kind, free_memory=False)
        removals = [CommitOperationDelete(name, is_folder=False) for name in plan.removed]
        for wait in (*_WAITS, None):
            try:
                return api.create_commit(
                    target.name,
                    [*additions, *removals],
                    commit_message=message,
                    repo_type=target.kind,
                    parent_commit=plan.parent,
                ).oid
            except HTTPError as error:  # of a connection that was cut, where it has no status
                status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
                if status is not None and status not in _PASSING:
                    raise
                if wait is None:
                    raise
                say(f"the Hub does not take the commit now ({status or one_line(error)}); again in {wait:g} s")
                time.sleep(wait)
                now = self.plan()
                if not (now.changed or now.removed):  # the answer alone was lost
                    assert now.parent is not None
                    return now.parent
        raise AssertionError("the last try returns or raises")

    def _state(self) -> _State | None:
        from huggingface_hub.errors import RepositoryNotFoundError
        from huggingface_hub.hf_api import RepoFile

        target, api = self._target, _api()
        with hub_errors(target):
            try:
                info = api.repo_info(target.name, repo_type=target.kind)
            except RepositoryNotFoundError:
                return None
            entries = api.list_repo_tree(target.name, recursive=True, revision=info.sha, repo_type=target.kind)
            files = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
            written = {}
            if RECORD_FILE in files:
                path = api.hf_hub_download(target.name, RECORD_FILE, revision=info.sha, repo_type=target.kind)
                written = read_record(Path(path), target.name)
            return _State(info.sha, bool(info.private), files, _tags(target), written)


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(library_name="artquant-plugin")


def _tags(target: Target) -> dict[str, str]:
    refs = _api().list_repo_refs(target.name, repo_type=target.kind)
    return {tag.name: tag.target_commit for tag in refs.tags}
