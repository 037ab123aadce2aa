"""A Hugging Face Hub on loopback, for tests: the HTTP subset that `huggingface_hub` 2.x needs.

Serves models and datasets to the real clients (`huggingface_hub`, `datasets`, `transformers`) so that publishing and
loading can be tested without a network and without mocks. It keeps the Hub's observable contracts: an initial commit
with `.gitattributes`, immutable commits, `parentCommit` preconditions (412), LFS by `.gitattributes` or size, a 302
to a "CDN" for LFS files, 401/404/409 with `X-Error-Code`, bearer tokens, `Link` pagination and byte ranges.

Xet, the client's default transfer, works too: the token endpoint hands out a `local://` CAS address, which the real
hf_xet understands as a directory. Not served: buckets, spaces, discussions, jobs, search.
"""

import asyncio
import base64
import contextlib
import fnmatch
import hashlib
import json
import re
import threading
import time
from pathlib import Path

import yaml
from aiohttp import web

from tests.peers.hub_store import Store, hub_error

LFS_THRESHOLD = 10 * 2**20  # bytes; the Hub's own limit for inline files
LFS_PATTERNS = (
    "*.arrow *.bin *.ckpt *.gz *.h5 *.joblib *.model *.msgpack *.npy *.npz *.onnx *.parquet *.pkl *.pt *.pth "
    "*.safetensors *.tar *.tgz *.zip *.zst *tfevents* *.png *.jpg *.jpeg *.webp"
).split()
GITATTRIBUTES = "".join(f"{p} filter=lfs diff=lfs merge=lfs -text\n" for p in LFS_PATTERNS).encode()
PAGE = 1000  # tree entries per page, as on the Hub
KIND = r"{kind:models|datasets}"
REPO = r"{ns:[^/]+}/{name:[^/]+}"


class LocalHub:
    """The server. `with LocalHub(tmp_path) as hub:` listens on `hub.url` until the block ends.

    Set HF_ENDPOINT=hub.url *before* huggingface_hub is imported: it is read at import, like HF_HUB_DISABLE_XET.

    Args:
        root: directory that holds the repositories; reopening it serves what was stored.
        token: bearer token that writes and private repositories need; None lets everyone do everything.
        user: namespace the token belongs to (whoami, and repositories created without a namespace).
        others: further tokens and the users that they belong to. A user may write in their own namespace alone, and
            does not see the private repositories of others.
    Attributes:
        requests: (method, path, status) of every request served, in order.
        faults: list of [regex, what, times left] for matching lines "METHOD path". What is a status that is answered
            instead; "cut": some of the body is read, then the connection is closed; "hang": some of the body is read,
            then nothing happens until the client goes away; "lost": all is done as asked, and the connection is closed
            instead of an answer; any other text: a redirect (302) to that address.
        hanging: set while a request hangs.
    """

    def __init__(self, root, token=None, user="tester", others=None):
        self.store, self.token, self.user = Store(root), token, user
        self.users = {**(others or {}), **({token: user} if token else {})}
        self.requests, self.faults, self.url = [], [], None
        self.hanging = threading.Event()

    # ---- plumbing ------------------------------------------------------------------------------------------------

    def __enter__(self):
        started = threading.Event()
        self._loop = asyncio.new_event_loop()

        async def start():
            self._runner = web.AppRunner(self.app(), access_log=None)
            await self._runner.setup()
            site = web.TCPSite(self._runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
            started.set()

        def run():
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(start())
            self._loop.run_forever()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        if not started.wait(60):
            raise RuntimeError("LocalHub did not start within 10 s")
        return self

    def __exit__(self, *exc):
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def app(self):
        app = web.Application(client_max_size=2**31, middlewares=[self.middleware])
        api = f"/api/{KIND}/{REPO}"
        app.add_routes(
            [
                web.get("/api/whoami-v2", self.whoami),
                web.post("/api/validate-yaml", self.validate_yaml),
                web.post("/api/repos/create", self.create),
                web.delete("/api/repos/delete", self.delete),
                web.get(api, self.info),
                web.get(api + "/revision/{rev}", self.info),
                web.get(api + "/refs", self.refs),
                web.get(api + "/commits/{rev}", self.commits),
                web.get(api + "/tree/{rev}", self.tree),
                web.get(api + "/tree/{rev}/{path:.+}", self.tree),
                web.post(api + "/paths-info/{rev}", self.paths_info),
                web.post(api + "/preupload/{rev}", self.preupload),
                web.post(api + "/commit/{rev}", self.commit),
                web.post(api + "/branch/{rev}", self.branch),
                web.post(api + "/tag/{rev}", self.tag),
                web.put(api + "/settings", self.settings),
                web.get(api + "/xet-{mode:read|write}-token/{rev}", self.xet_token),
                web.post(f"/{{prefix:(?:datasets/)?}}{REPO}.git/info/lfs/objects/batch", self.lfs_batch),
                web.put("/lfs/{sha}", self.lfs_put),
                web.post("/lfs/{sha}/verify", self.lfs_verify),
                web.get("/cdn/{sha}", self.cdn),  # also answers HEAD
                web.get(f"/{{prefix:(?:datasets/)?}}{REPO}/resolve/{{rev}}/{{path:.+}}", self.resolve),
            ]
        )
        return app

    @web.middleware
    async def middleware(self, request, handler):
        line, status = f"{request.method} {request.path}", 500
        fault = None
        try:
            fault = next((fault for fault in self.faults if fault[2] > 0 and re.search(fault[0], line)), None)
            if fault:
                fault[2] -= 1
                if isinstance(fault[1], int):
                    status = fault[1]
                    return web.json_response({"error": "injected fault"}, status=status)
                if fault[1] not in ("cut", "hang", "lost"):
                    status = 302
                    return web.Response(status=302, headers={"Location": fault[1]})
                if fault[1] in ("cut", "hang"):
                    await request.content.readany()
                if fault[1] == "hang":
                    self.hanging.set()
                    while request.transport is not None and not request.transport.is_closing():
                        await asyncio.sleep(0.02)
                if fault[1] in ("cut", "hang"):
                    return self.cut(request)
            # The client checks cards and asks for paths by POST, and LFS addresses are secrets of their own.
            if request.method not in ("GET", "HEAD") and not re.search(
                r"/paths-info/|/validate-yaml|^/lfs/", request.path
            ):
                self.authorize(request)
                if request.match_info.get("ns"):
                    self.repo(request, write=True)
            response = await handler(request)
            status = response.status
            return self.cut(request) if fault else response
        except web.HTTPException as exc:
            status = exc.status
            raise
        finally:
            self.requests.append((request.method, request.path_qs, fault[1] if fault else status))

    @staticmethod
    def cut(request):
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)  # which nobody gets

    def user_of(self, request):
        """Who asks; None for strangers. Without tokens, everybody is the user."""
        if not self.users:
            return self.user
        return self.users.get(request.headers.get("authorization", "").removeprefix("Bearer "))

    def authorize(self, request):
        if self.user_of(request) is None:
            raise hub_error(401, "Unauthorized", "Invalid username or password.")

    def owns(self, request, namespace):
        return not self.users or self.user_of(request) == namespace

    def repo(self, request, write=False):
        """(kind, repo_id, repo) of the request; a private repository does not exist for others, as on the Hub."""
        m = request.match_info
        kind = m.get("kind") or ("datasets" if m["prefix"] else "models")
        repo_id = f"{m['ns']}/{m['name']}"
        repo = self.store.load(kind, repo_id)
        if repo["private"] and not self.owns(request, m["ns"]):
            status = 401 if self.user_of(request) is None else 404
            raise hub_error(status, "RepoNotFound", "Repository not found")
        if write and not self.owns(request, m["ns"]):
            raise hub_error(403, "Forbidden", f"You do not have the rights to write to {repo_id}")
        return kind, repo_id, repo

    # ---- account and repositories --------------------------------------------------------------------------------

    async def whoami(self, request):
        self.authorize(request)
        return web.json_response(
            {
                "type": "user",
                "name": self.user_of(request),
                "fullname": self.user_of(request),
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": {"role": "write"}},
            }
        )

    async def validate_yaml(self, request):
        text = (await request.json())["content"]
        head = re.match(r"---\s*\n(.*?)\n---", text, re.S)
        try:
            yaml.safe_load(head[1] if head else "")
        except yaml.YAMLError as exc:
            return web.json_response({"errors": [{"message": str(exc)}], "warnings": []}, status=400)
        return web.json_response({"errors": [], "warnings": []})

    async def create(self, request):
        body = await request.json()
        kind = (body.get("type") or "model") + "s"
        namespace = body.get("organization") or self.user_of(request)
        if not self.owns(request, namespace):
            raise hub_error(403, "Forbidden", f"You don't have the rights to create a {kind} under {namespace}")
        repo_id = f"{namespace}/{body['name']}"
        url = f"{self.url}/{'' if kind == 'models' else kind + '/'}{repo_id}"
        if self.store.path(kind, repo_id).is_file():
            return web.json_response({"error": "You already created this repo", "url": url}, status=409)
        private = body.get("visibility") == "private" or bool(body.get("private"))
        repo = {"private": private, "refs": {}, "tags": {}, "commits": {}}
        self.store.commit(repo, "main", {".gitattributes": self.store.entry(GITATTRIBUTES)}, "initial commit")
        self.store.save(kind, repo_id, repo)
        return web.json_response({"url": url, "name": repo_id, "id": repo_id})

    async def delete(self, request):
        body = await request.json()
        path = self.store.path(
            (body.get("type") or "model") + "s", f"{body.get('organization') or self.user}/{body['name']}"
        )
        if not path.is_file():
            raise hub_error(404, "RepoNotFound", "Repository not found")
        path.unlink()
        return web.Response()

    async def settings(self, request):
        kind, repo_id, repo = self.repo(request)
        body = await request.json()
        repo["private"] = body.get("private", body.get("visibility") == "private")
        self.store.save(kind, repo_id, repo)
        return web.json_response(body)

    async def info(self, request):
        kind, repo_id, repo = self.repo(request)
        oid = self.store.resolve(repo, request.match_info.get("rev", "main"))
        commit = repo["commits"][oid]
        siblings = []
        for path, f in sorted(commit["files"].items()):
            sibling = {"rfilename": path}
            if "blobs" in request.query:
                sibling |= {"size": f["size"], "blobId": f["oid"]}
                if f["lfs"]:
                    sibling["lfs"] = {"sha256": f["sha256"], "size": f["size"], "pointerSize": 134}
            siblings.append(sibling)
        card = {}
        if "README.md" in commit["files"]:
            text = self.store.object(commit["files"]["README.md"]["sha256"]).read_text(errors="replace")
            head = re.match(r"---\s*\n(.*?)\n---", text, re.S)
            card = (yaml.safe_load(head[1]) if head else None) or {}
        tags = card.get("tags") or []
        body = {
            "_id": oid[:24],
            "id": repo_id,
            "author": repo_id.split("/")[0],
            "sha": oid,
            "private": repo["private"],
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "siblings": siblings,
            "cardData": card,
            "tags": tags,
            "lastModified": commit["date"],
            "createdAt": commit["date"],
        }
        if kind == "models":
            body |= {
                "modelId": repo_id,
                "library_name": card.get("library_name"),
                "pipeline_tag": card.get("pipeline_tag"),
            }
        return web.json_response(body)

    async def refs(self, request):
        _, _, repo = self.repo(request)

        def item(name, prefix, oid):
            return {"name": name, "ref": f"{prefix}{name}", "targetCommit": oid}

        heads = {n: o for n, o in repo["refs"].items() if n not in repo["tags"] and not n.startswith("refs/pr/")}
        return web.json_response(
            {
                "branches": [item(n, "refs/heads/", o) for n, o in heads.items()],
                "tags": [item(n, "refs/tags/", repo["refs"][n]) for n in repo["tags"]],
                "converts": [],
                "pullRequests": [item(n, "", o) for n, o in repo["refs"].items() if n.startswith("refs/pr/")],
            }
        )

    async def commits(self, request):
        _, _, repo = self.repo(request)
        oid, out = self.store.resolve(repo, request.match_info["rev"]), []
        while oid:
            c = repo["commits"][oid]
            out.append(
                {
                    "id": oid,
                    "title": c["title"],
                    "message": c["message"],
                    "date": c["date"],
                    "authors": [{"user": self.user}],
                }
            )
            oid = c["parent"]
        return web.json_response(out)

    async def branch(self, request):
        kind, repo_id, repo = self.repo(request)
        name, body = request.match_info["rev"], await request.json()
        if name in repo["refs"]:
            raise hub_error(409, "BranchExists", f"Branch {name} already exists")
        repo["refs"][name] = self.store.resolve(repo, body.get("startingPoint", "main"))
        self.store.save(kind, repo_id, repo)
        return web.Response()

    async def tag(self, request):
        kind, repo_id, repo = self.repo(request)
        body = await request.json()
        if body["tag"] in repo["refs"]:
            raise hub_error(409, "TagExists", f"Tag {body['tag']} already exists")
        repo["refs"][body["tag"]] = self.store.resolve(repo, request.match_info["rev"])
        repo["tags"][body["tag"]] = body.get("message", "")
        self.store.save(kind, repo_id, repo)
        return web.Response()

    # ---- listing -------------------------------------------------------------------------------------------------

    @staticmethod
    def describe(path, f):
        out = {"type": "file", "path": path, "size": f["size"], "oid": f["oid"]}
        if f["lfs"]:
            out["lfs"] = {"oid": f["sha256"], "size": f["size"], "pointerSize": 134}
        return out

    def listing(self, files, base, recursive):
        """Entries under folder `base`: {path: json}. A folder's oid is a stand-in for git's tree id."""
        out, prefix = {}, f"{base}/" if base else ""
        for path, f in sorted(files.items()):
            if not path.startswith(prefix):
                continue
            parts = path[len(prefix) :].split("/")
            for i in range(1, len(parts) if recursive else min(len(parts), 2)):
                folder = prefix + "/".join(parts[:i])
                out[folder] = {
                    "type": "directory",
                    "path": folder,
                    "size": 0,
                    "oid": hashlib.sha1(folder.encode()).hexdigest(),
                }
            if recursive or len(parts) == 1:
                out[path] = self.describe(path, f)
        return out

    async def tree(self, request):
        _, _, repo = self.repo(request)
        oid = self.store.resolve(repo, request.match_info["rev"])
        base = request.match_info.get("path", "").strip("/")
        recursive = request.query.get("recursive", "").lower() in ("1", "true")
        commit = repo["commits"][oid]
        entries = list(self.listing(commit["files"], base, recursive).values())
        if base and not entries:
            raise hub_error(404, "EntryNotFound", f"{base} does not exist on {request.match_info['rev']}")
        if request.query.get("expand", "").lower() in ("1", "true"):
            last = {"id": oid, "title": commit["title"], "date": commit["date"]}
            entries = [e | {"lastCommit": last} for e in entries]
        start = int(request.query.get("cursor", 0))
        headers = {}
        if start + PAGE < len(entries):
            headers["Link"] = f'<{self.url}{request.rel_url.update_query(cursor=start + PAGE)}>; rel="next"'
        return web.json_response(entries[start : start + PAGE], headers=headers)

    async def paths_info(self, request):
        _, _, repo = self.repo(request)
        oid = self.store.resolve(repo, request.match_info["rev"])
        form = await request.post()
        wanted = (
            form.getall("paths", []) if request.content_type != "application/json" else (await request.json())["paths"]
        )
        commit = repo["commits"][oid]
        everything = self.listing(commit["files"], "", True)
        out = [everything[p.strip("/")] for p in wanted if p.strip("/") in everything]
        if str(form.get("expand", "")).lower() in ("1", "true"):
            out = [e | {"lastCommit": {"id": oid, "title": commit["title"], "date": commit["date"]}} for e in out]
        return web.json_response(out)

    # ---- uploading -----------------------------------------------------------------------------------------------

    async def preupload(self, request):
        _, _, repo = self.repo(request)
        files = repo["commits"][self.store.resolve(repo, request.match_info["rev"])]["files"]
        attrs = self.store.object(files[".gitattributes"]["sha256"]).read_text() if ".gitattributes" in files else ""
        patterns = [line.split()[0] for line in attrs.splitlines() if "filter=lfs" in line]
        out = []
        for f in (await request.json())["files"]:
            lfs = f["size"] > LFS_THRESHOLD or any(fnmatch.fnmatch(Path(f["path"]).name, p) for p in patterns)
            old = files.get(f["path"])
            out.append(
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if lfs else "regular",
                    "shouldIgnore": False,
                    "oid": (old["sha256"] if old["lfs"] else old["oid"]) if old else None,
                }
            )
        return web.json_response({"files": out})

    async def lfs_batch(self, request):
        self.repo(request)
        objects = []
        for o in (await request.json())["objects"]:
            item = {"oid": o["oid"], "size": o["size"], "authenticated": True}
            if not self.store.has(o["oid"]):  # no "actions" means: already here, skip the upload
                item["actions"] = {
                    "upload": {"href": f"{self.url}/lfs/{o['oid']}"},
                    "verify": {"href": f"{self.url}/lfs/{o['oid']}/verify"},
                }
            objects.append(item)
        return web.json_response(
            {"transfer": "basic", "objects": objects}, content_type="application/vnd.git-lfs+json"
        )

    async def xet_token(self, request):
        if request.match_info["mode"] == "write":
            self.authorize(request)
        cas, expiry = f"local://{self.store.root.resolve()}/cas", str(int(time.time()) + 3600)
        return web.json_response(
            {"casUrl": cas, "accessToken": "x", "exp": int(expiry)},
            headers={"X-Xet-Cas-Url": cas, "X-Xet-Access-Token": "x", "X-Xet-Token-Expiration": expiry},
        )

    async def lfs_put(self, request):
        sha, digest = request.match_info["sha"], hashlib.sha256()
        part = self.store.object(f".{sha}.{id(request)}.part")
        with part.open("wb") as f:
            async for chunk in request.content.iter_chunked(2**20):
                digest.update(chunk)
                f.write(chunk)
        if digest.hexdigest() != sha:
            part.unlink()
            raise hub_error(400, "BadDigest", "Content does not match its sha256")
        part.replace(self.store.object(sha))
        return web.Response()

    async def lfs_verify(self, request):
        path, size = self.store.object(request.match_info["sha"]), (await request.json())["size"]
        if not path.is_file() or path.stat().st_size != size:
            raise hub_error(404, "LfsObjectNotFound", "Object missing or of another size")
        return web.Response()

    async def commit(self, request):
        lines = [json.loads(line) for line in (await request.text()).splitlines() if line.strip()]
        kind, repo_id, repo = self.repo(request)
        ref = request.match_info["rev"]
        head = self.store.resolve(repo, ref)
        header = next(x["value"] for x in lines if x["key"] == "header")
        parent = header.get("parentCommit")
        if parent and not head.startswith(parent):
            raise hub_error(412, "PreconditionFailed", "A commit has happened since. Please refresh and try again.")
        files = dict(repo["commits"][head]["files"])
        for op in lines:
            key, v = op["key"], op["value"]
            if key == "file":
                content = base64.b64decode(v["content"]) if v.get("encoding") == "base64" else v["content"].encode()
                files[v["path"]] = self.store.entry(content)
            elif key == "lfsFile":
                if not await asyncio.to_thread(self.store.has, v["oid"]):
                    raise hub_error(
                        400, "LfsObjectNotFound", f"LFS pointer pointed to a file that does not exist: {v['path']}"
                    )
                files[v["path"]] = self.store.entry(sha256=v["oid"], lfs=True)
            elif key == "deletedFile":
                if files.pop(v["path"], None) is None:
                    raise hub_error(404, "EntryNotFound", f"A file with this name doesn't exist: {v['path']}")
            elif key == "deletedFolder":
                for path in [p for p in files if p.startswith(v["path"].rstrip("/") + "/")]:
                    del files[path]
            elif key != "header":
                raise hub_error(400, "BadRequest", f"Unknown commit operation: {key}")
        pr = None
        if request.query.get("create_pr"):
            pr = 1 + sum(n.startswith("refs/pr/") for n in repo["refs"])
            repo["refs"][f"refs/pr/{pr}"], ref = head, f"refs/pr/{pr}"
        oid = self.store.commit(repo, ref, files, header["summary"], header.get("description", ""))
        self.store.save(kind, repo_id, repo)
        url = f"{self.url}/{'' if kind == 'models' else kind + '/'}{repo_id}"
        return web.json_response(
            {
                "success": True,
                "commitOid": oid,
                "commitUrl": f"{url}/commit/{oid}",
                "hookOutput": "",
                "pullRequestUrl": f"{url}/discussions/{pr}" if pr else None,
            }
        )

    # ---- downloading ---------------------------------------------------------------------------------------------

    async def resolve(self, request):
        _, _, repo = self.repo(request)
        m = request.match_info
        oid = self.store.resolve(repo, m["rev"])
        f = repo["commits"][oid]["files"].get(m["path"])
        if f is None:
            exc = hub_error(404, "EntryNotFound", "Entry not found")
            exc.headers["X-Repo-Commit"] = oid
            raise exc
        headers = {"X-Repo-Commit": oid, "ETag": f'"{f["oid"]}"'}
        if f["lfs"]:
            headers |= {
                "X-Linked-Etag": f'"{f["sha256"]}"',
                "X-Linked-Size": str(f["size"]),
                # another host name, so that the client treats it as the CDN (it follows same-host redirects)
                "Location": f"{self.url.replace('127.0.0.1', 'localhost')}/cdn/{f['sha256']}",
            }
            if xet_hash := self.store.xet_hash(f["sha256"]):
                kind, repo_id, _ = self.repo(request)
                headers |= {
                    "X-Xet-Hash": xet_hash,
                    "Link": f'<{self.url}/api/{kind}/{repo_id}/xet-read-token/{oid}>; rel="xet-auth"',
                }
            return web.Response(status=302, headers=headers)
        # A FileResponse would put an ETag of its own in the place of the git hash.
        return web.Response(body=self.store.object(f["sha256"]).read_bytes(), headers=headers)

    async def cdn(self, request):
        path = self.store.object(request.match_info["sha"])
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={"ETag": f'"{path.name}"'})


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Serve a local Hugging Face Hub on loopback.")
    parser.add_argument("root", help="directory that holds the repositories")
    parser.add_argument("--token", help="bearer token that writes need")
    args = parser.parse_args()
    with LocalHub(args.root, token=args.token) as hub, contextlib.suppress(KeyboardInterrupt):
        print(hub.url, flush=True)
        threading.Event().wait()
