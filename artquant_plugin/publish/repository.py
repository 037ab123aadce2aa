"""Publishing files in a repository on the Hub: comparing them with what is there, one commit, and a tag.

All files appear in one commit, so that nobody loads half of a new checkpoint. The record `published.json` lists the
files that were published, with their hashes. From it a later publication knows which files artquant wrote.

Retries: the Hub's client repeats requests that read and requests that send contents. It does not repeat a commit,
which may have succeeded although its answer was lost. `_commit` repeats it once it has seen that it is not there.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import Digest, FileContent, digest_of, size_of
from artquant_plugin.common.text import listed, one_line
from artquant_plugin.publish.hub_errors import Target, hub_errors
from artquant_plugin.publish.published_record import RECORD_FILE, read_record, record_content
from artquant_plugin.publish.whitelist import Whitelist

_FILES_OF_THE_HUB = (".gitattributes",)  # files that the Hub itself puts into a new repository
_TRANSIENT_STATUSES = (429, 500, 502, 503, 504)  # HTTP statuses after which a commit is tried again
_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds to wait before the second, third, fourth and fifth try

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _State:
    """What a repository on the Hub holds.

    Args:
        head: commit of the main branch.
        private: whether the repository is private.
        files: the files as the Hub lists them (`RepoFile`), by path.
        tags: the commits that tags point to, by the tag's name.
        written: hashes of the files that `published.json` lists, by path; empty where there is no such record.
    """

    head: str
    private: bool
    files: dict[str, Any]
    tags: dict[str, str]
    written: dict[str, Digest]


@dataclass(frozen=True, slots=True)
class PublicationPlan:
    """What a publication would change in its repository.

    Args:
        target: the repository that the plan is for.
        exists: whether the repository exists on the Hub.
        sizes: size in bytes of each file that is to be published, by path.
        changed: paths of the files that are new or differ from those on the Hub, and so are sent.
        removed: paths that an earlier publication wrote and this one no longer has; they are deleted.
        others: paths of files that somebody else put there; they stay.
        parent: the commit that the plan was made for; None for a new repository.
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
    """The commit that holds the published files.

    Args:
        commit: the commit of the main branch after the publication.
        is_new: whether the publication made the commit; False when everything was there already.
        url: web address of the repository.
    """

    commit: str
    is_new: bool
    url: str


class Publication:
    """Files that are to be published in one repository.

    Args:
        target: the repository to publish to.
        files: the files or contents in memory, by path in the repository.
        whitelist: tells which files programs load from such a repository, whoever put them there.
        overwrite: whether files are replaced that somebody else wrote, or changed on the Hub.
        stays: tells for a path whether the file of an earlier publication stays there although `files` lacks it. With
            None, all such files are deleted.
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
        """The repository to publish to."""
        return self._target

    def add(self, name: str, content: FileContent) -> None:
        """Publish one more file, or another content under a path that is there already.

        Args:
            name: path of the file in the repository, with forward slashes.
            content: the file, or its content in memory.
        """
        self._files[name] = content
        self._digests[name] = digest_of(content)

    def staying(self, ending: str) -> dict[str, Path]:
        """Download the files of earlier publications that stay.

        Args:
            ending: the end of the paths of the files to download, such as ``/dataset.json``.

        Returns:
            Path in the repository -> downloaded file; empty where the repository does not exist.

        Raises:
            ArtQuantError: the Hub does not answer, or refuses.
        """
        state = self._state()
        target = self._target
        if state is None:
            return {}
        with hub_errors(target):
            return {
                name: _download(target, state.files[name], state.head)
                for name in self._kept(state)
                if name.endswith(ending)
            }

    def _kept(self, state: _State) -> dict[str, Digest]:
        """Files of earlier publications that are unmodified on the Hub and that this publication keeps."""
        return {
            name: digest
            for name, digest in state.written.items()
            if self._stays(name) and name in state.files and digest.same(state.files[name])
        }

    def _add_record(self, state: _State | None) -> None:
        """Add the record `published.json`, which lists these files and the kept files of earlier publications."""
        kept = self._kept(state) if state else {}
        digests = {name: digest for name, digest in self._digests.items() if name != RECORD_FILE}
        self.add(RECORD_FILE, record_content(dict(sorted((kept | digests).items()))))

    def plan(self) -> PublicationPlan:
        """Compare the files with what the repository holds. Nothing is written on the Hub.

        Raises:
            ArtQuantError: somebody else wrote or changed a file that would be replaced; the repository holds files of
                somebody else that would be loaded with these; it is public and should be private; the tag is on
                another commit; or the Hub does not answer, or refuses.
        """
        target = self._target
        state = self._state()
        self._add_record(state)
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
            if name not in (RECORD_FILE, *_FILES_OF_THE_HUB)
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
        removed = sorted(set(state.files) - others - set(self._files) - set(kept) - set(_FILES_OF_THE_HUB))
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

    def refuse_other_namespace(self) -> None:
        """Look whether the token may write into the repository's namespace, which only a request that writes shows.

        Raises:
            ArtQuantError: there is no token; the namespace is neither the token's user nor one of their organisations;
                or the Hub does not answer, or refuses.
        """
        target = self._target
        with hub_errors(target, writes=True):
            account = _api().whoami()
            names = [account["name"], *(each["name"] for each in account.get("orgs", []))]
        namespace = target.name.partition("/")[0]
        if namespace.lower() not in [name.lower() for name in names]:
            raise ArtQuantError(
                f"you may not write to {target.kind} {target.name!r}: the token is that of {listed(names)}; name a "
                f"repository of your own, such as {names[0]}/{target.name.partition('/')[2]}, or use another token"
            )

    def run(self, message: str, say: Say) -> PublishedCommit:
        """Publish: create the repository if need be, send the files that differ in one commit, and tag it.

        Args:
            message: the title of the commit.
            say: is called with a line of text whenever a commit is about to be tried again.

        Raises:
            ArtQuantError: `plan` refuses the publication; or the Hub refuses, or does not answer after several tries.
        """
        target = self._target
        plan = self.plan()
        api = _api()
        with hub_errors(target, writes=True):
            if not plan.exists:
                # None, not False: an organisation may have set private as the default of its repositories.
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
        """Send the changed files in one commit, trying again where the Hub is busy, and return the commit."""
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
            except HTTPError as error:  # it has no status where the connection was cut
                status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
                if status is not None and status not in _TRANSIENT_STATUSES:
                    raise
                if wait is None:
                    raise
                say(f"the Hub does not take the commit now ({status or one_line(error)}); trying again in {wait:g} s")
                time.sleep(wait)
                now = self.plan()
                if not (now.changed or now.removed):  # the commit succeeded, and only its answer was lost
                    assert now.parent is not None
                    return now.parent
        raise AssertionError("the last try returns or raises")

    def _state(self) -> _State | None:
        """What the repository holds now; None where it does not exist."""
        from huggingface_hub.errors import RepositoryNotFoundError
        from huggingface_hub.hf_api import RepoFile

        target, api = self._target, _api()
        with hub_errors(target):
            try:
                info = api.repo_info(target.name, repo_type=target.kind)
            except RepositoryNotFoundError:
                return None
            listing = api.list_repo_tree(target.name, recursive=True, revision=info.sha, repo_type=target.kind)
            files = {item.path: item for item in listing if isinstance(item, RepoFile)}
            written = {}
            if RECORD_FILE in files:
                written = read_record(_download(target, files[RECORD_FILE], info.sha), target.name)
            return _State(info.sha, bool(info.private), files, _tags(target), written)


def _api() -> Any:
    """The Hub's client, imported when it is first used: it reads its settings from the environment at import."""
    from huggingface_hub import HfApi

    return HfApi(library_name="artquant-plugin")


def _download(target: Target, remote: Any, commit: str) -> Path:
    """Download one file, a `RepoFile` of the Hub's list, and check its content against the hash in that list."""
    path = Path(_api().hf_hub_download(target.name, remote.path, revision=commit, repo_type=target.kind))
    if not digest_of(path).same(remote):
        path.resolve().unlink()
        raise ArtQuantError(
            f"{target.kind} {target.name!r}: what arrived as {remote.path} is not what the Hub lists by its hash; run "
            "again, and if that does not help, look at what stands between here and the Hub (HF_ENDPOINT, a proxy)"
        )
    return path


def _tags(target: Target) -> dict[str, str]:
    refs = _api().list_repo_refs(target.name, repo_type=target.kind)
    return {tag.name: tag.target_commit for tag in refs.tags}
