"""Repositories of the Hub on loopback (`tests.peers.local_hub`), on disk.

<root>/objects/<sha256>                content-addressed file contents
<root>/cas/                            what hf_xet writes (clients with Xet on)
<root>/repos/<type>s/<ns>/<name>.json  {"private", "refs": {name: oid}, "commits": {oid: {...}}}
"""

import hashlib
import json
import struct
import time
from pathlib import Path

from aiohttp import web


def hub_error(status, code, message):
    """An error the client maps to an exception type through `X-Error-Code` (see hf_raise_for_status)."""
    exc = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        403: web.HTTPForbidden,
        404: web.HTTPNotFound,
        409: web.HTTPConflict,
        412: web.HTTPPreconditionFailed,
    }[status]
    return exc(
        text=json.dumps({"error": message}),
        content_type="application/json",
        headers={"X-Error-Code": code, "X-Error-Message": message},
    )


def git_blob_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


class Store:
    """Repositories and contents on disk. A commit maps every path to {"sha256", "size", "oid", "lfs"}."""

    def __init__(self, root):
        self.root = Path(root)
        (self.root / "objects").mkdir(parents=True, exist_ok=True)

    def object(self, sha256: str) -> Path:
        return self.root / "objects" / sha256

    def put(self, content: bytes) -> str:
        sha = hashlib.sha256(content).hexdigest()
        self.object(sha).write_bytes(content)
        return sha

    def has(self, sha256: str) -> bool:
        """Whether the content is here; contents that arrived through Xet are copied out of the CAS at first use."""
        if not self.object(sha256).is_file() and (xet_hash := self.xet_hash(sha256)):
            from hf_xet import XetFileInfo, XetSession

            part = self.object(f".{sha256}.part")
            with XetSession().new_file_download_group(
                endpoint=f"local://{self.root.resolve()}/cas",
                token="x",
                token_expiry_unix_secs=2**40,
                token_refresh_url="http://127.0.0.1:9",
                token_refresh_headers={},
                custom_headers={},
            ) as group:
                group.start_download_file(XetFileInfo(xet_hash, None), str(part))
            part.replace(self.object(sha256))
        return self.object(sha256).is_file()

    def xet_hash(self, sha256: str) -> str | None:
        """The Xet hash of a content, from the shards hf_xet stored (xet-core, MDB shard v2, records of 48 bytes)."""

        def swap(digest: bytes) -> str:  # a hash is four little-endian integers of 64 bits
            return b"".join(digest[i : i + 8][::-1] for i in range(0, 32, 8)).hex()

        for shard in (self.root / "cas").glob("**/shards/*.mdb"):
            data, at = shard.read_bytes(), 48  # 48: header
            while data[at : at + 32] != b"\xff" * 32:
                file_hash, (flags, count) = data[at : at + 32], struct.unpack_from("<II", data, at + 32)
                at += 48 * (1 + count * (2 if flags & 1 << 31 else 1))  # segments, and their verification records
                if flags & 1 << 30:  # metadata record
                    if swap(data[at : at + 32]) == sha256:
                        return swap(file_hash)
                    at += 48
        return None

    def path(self, kind, repo_id) -> Path:
        return self.root / "repos" / kind / f"{repo_id}.json"

    def load(self, kind, repo_id) -> dict:
        path = self.path(kind, repo_id)
        if not path.is_file():
            raise hub_error(404, "RepoNotFound", "Repository not found")
        return json.loads(path.read_text())

    def save(self, kind, repo_id, repo):
        path = self.path(kind, repo_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(repo, indent=1))

    def entry(self, content=None, sha256=None, lfs=False) -> dict:
        sha256 = sha256 or self.put(content)
        size = self.object(sha256).stat().st_size
        blob = lfs_pointer(sha256, size) if lfs else self.object(sha256).read_bytes()
        return {"sha256": sha256, "size": size, "oid": git_blob_oid(blob), "lfs": lfs}

    def commit(self, repo, ref, files, title, message="") -> str:
        body = {
            "parent": repo["refs"].get(ref),
            "files": files,
            "title": title,
            "message": message,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        }
        oid = hashlib.sha1(json.dumps(body, sort_keys=True).encode()).hexdigest()
        repo["commits"][oid] = body
        repo["refs"][ref] = oid
        return oid

    def resolve(self, repo, revision) -> str:
        oid = repo["refs"].get(revision, revision)
        matches = [c for c in repo["commits"] if len(oid) >= 7 and c.startswith(oid)]
        if not matches:
            raise hub_error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return matches[0]
