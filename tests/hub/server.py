"""A Hub on loopback, in memory, that the real `huggingface_hub` client talks to: models only, with faults on demand.

It speaks the git-LFS way (set HF_HUB_DISABLE_XET=1 for the client; xet.py has the other way) and knows branches, pull
requests, private repositories and ranges. A fault is armed with `hub.fail("GET .*safetensors", "cut")` and strikes the
next requests whose "METHOD path" contains a match.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, unquote, urlsplit

Action = int | Literal["cut", "stall", "slow", "corrupt"]
"""A status; half of the body, then the end, silence, or after a second the rest; or all of it with one bit flipped."""


@dataclass(frozen=True, slots=True)
class File:
    """A file in a commit. `oid` is git's sha1 of the blob, `sha256` is set for a large file. Of a file with a Xet hash
    the server has no data."""

    data: bytes
    oid: str
    sha256: str | None
    size: int
    xet: str | None = None

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid


@dataclass(slots=True)
class Repo:
    private: bool
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, File], message: str = "") -> str:
        sha = hashlib.sha1(f"{branch} {len(self.commits)} {time.time_ns()}".encode()).hexdigest()
        self.commits[sha] = tree
        self.branches[branch] = sha
        self.messages[sha] = message
        return sha

    def find(self, revision: str) -> str | None:
        return self.branches.get(revision) or (revision if revision in self.commits else None)


@dataclass(slots=True)
class Fault:
    pattern: re.Pattern[str]
    action: Action
    times: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    status: int | str
    range: str | None


class HubServer:
    """`with HubServer() as hub:` serves at `hub.url`; whoever sends `hub.token` is the user "tester"."""

    handler: ClassVar[type[Handler]]

    def __init__(self, token: str = "hf_loopback") -> None:
        self.token = token
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        self.lock = threading.RLock()
        handler = type("BoundHandler", (self.handler,), {"hub": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()

    def fail(self, pattern: str, action: Action, times: int = 1, **headers: str) -> None:
        """Arms a fault for the next `times` requests; `headers` go with a status, "_" in their names for "-"."""
        self.faults.append(
            Fault(re.compile(pattern), action, times, {k.replace("_", "-"): v for k, v in headers.items()})
        )

    def add(self, repo: str, files: dict[str, bytes], *, private: bool = False, branch: str = "main") -> str:
        """Puts a commit there without any client; returns its sha."""
        entry = self.repos.setdefault(repo, Repo(private))
        return entry.commit(branch, {path: self.file(path, data) for path, data in files.items()})

    def file(self, path: str, data: bytes) -> File:
        blob = b"blob %d\0" % len(data) + data
        sha256 = hashlib.sha256(data).hexdigest() if is_large(path) else None
        return File(data, hashlib.sha1(blob).hexdigest(), sha256, len(data))

    def requests(self, pattern: str) -> list[Request]:
        return [request for request in self.log if re.search(pattern, f"{request.method} {request.path}")]

    def reset(self) -> None:
        """Forgets repositories, faults and the log."""
        for store in (self.repos, self.large, self.faults, self.log):
            store.clear()


def is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".png", ".bin"))


class Handler(BaseHTTPRequestHandler):
    hub: ClassVar[HubServer]
    routes: ClassVar[tuple[Route, ...]]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the acknowledgement of its own head
    timeout = 20
    trouble: Action | None = None

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: `hub.log` keeps the requests."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.query, self.body = parse_qs(url.query), self._read_body()
        fault = self._armed(f"{self.command} {url.path}")
        self.trouble = fault and fault.action
        if fault and isinstance(fault.action, int):
            self._answer(fault.action, {"error": "a fault of the test"}, fault.headers)
            return
        for methods, pattern, route in self.routes:
            if self.command in methods and (match := re.fullmatch(pattern, url.path)):
                with nullcontext() if self.command in ("GET", "HEAD") else self.hub.lock:
                    route(self, *[unquote(group or "") for group in match.groups()])
                return
        self._answer(404, {"error": f"no route {self.command} {url.path}"})

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    # plumbing

    def _armed(self, line: str) -> Fault | None:
        for fault in self.hub.faults:
            if fault.times > 0 and fault.pattern.search(line):
                fault.times -= 1
                return fault
        return None

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, status: int, value: Any = None, headers: dict[str, str] | None = None) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self._send(status, body, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.hub.log.append(Request(self.command, self.path, status, self.headers.get("Range")))
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.trouble == "cut":
            body, self.close_connection = body[: len(body) // 2], True
        elif self.trouble == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        elif self.trouble in ("stall", "slow"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if self.trouble == "stall":
                time.sleep(3)
                self.close_connection = True
                return
            time.sleep(1)
            body = body[len(body) // 2 :]
        self.wfile.write(body)

    def _refuse(self, status: int, code: str, message: str, **headers: str) -> None:
        self._answer(status, {"error": message}, {"X-Error-Code": code, "X-Error-Message": message, **headers})

    @property
    def _known_user(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _open(self, name: str, *, write: bool = False) -> Repo | None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self._known_user):
            self._refuse(404 if self._known_user else 401, "RepoNotFound", "Repository not found")
            return None
        if write and not self._known_user:
            self._refuse(401, "", "Invalid username or password.")
            return None
        return repo

    def _commit_of(self, repo: Repo, revision: str) -> str | None:
        commit = repo.find(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    # routes

    def create_repo(self) -> None:
        if not self._known_user:
            self._refuse(401, "", "Invalid username or password.")
            return
        request = json.loads(self.body)
        name = f"{request.get('organization') or 'tester'}/{request['name']}"
        answer = {"url": f"{self.hub.url}/{name}", "name": name, "id": name}
        if name in self.hub.repos:
            self._answer(409, {"error": "You already created this model repo", **answer})
            return
        self.hub.repos[name] = Repo(private=request.get("visibility") == "private" or bool(request.get("private")))
        self.hub.repos[name].commit("main", {})
        self._answer(200, answer)

    def validate_yaml(self) -> None:
        self._answer(200, {"errors": [], "warnings": []})

    def create_branch(self, name: str, branch: str) -> None:
        if (repo := self._open(name, write=True)) is None:
            return
        if branch in repo.branches:
            self._refuse(409, "", "Reference already exists")
            return
        repo.branches[branch] = repo.branches["main"]
        self._answer(200, {})

    def preupload(self, name: str, revision: str) -> None:
        if (repo := self._open(name, write=True)) is None or (commit := self._commit_of(repo, revision)) is None:
            return
        files = []
        for entry in json.loads(self.body)["files"]:
            present = repo.commits[commit].get(entry["path"])
            mode = "lfs" if is_large(entry["path"]) else "regular"
            files.append({"path": entry["path"], "uploadMode": mode, "oid": present and present.etag})
        self._answer(200, {"files": [{**file, "shouldIgnore": False} for file in files]})

    def large_batch(self, name: str) -> None:
        if self._open(name, write=True) is None:
            return
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            href = f"{self.hub.url}/large/{wanted['oid']}"
            actions = {"upload": {"href": href}, "verify": {"href": href}}
            objects.append({**wanted, **({} if wanted["oid"] in self.hub.large else {"actions": actions})})
        self._answer(200, {"transfer": "basic", "objects": objects}, {"Content-Type": "application/vnd.git-lfs+json"})

    def large_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            self._refuse(400, "BadDigest", "The contents do not fit their sha256")
            return
        self.hub.large[oid] = self.body
        self._answer(200)

    def large_verify(self, oid: str) -> None:
        self._answer(200 if oid in self.hub.large else 404, {})

    def _uploaded(self, value: dict[str, Any]) -> File | None:
        """The large file that a commit names: its path, sha256 ("oid") and size."""
        data = self.hub.large.get(value["oid"])
        return None if data is None else self.hub.file(value["path"], data)

    def make_commit(self, name: str, revision: str) -> None:
        if (repo := self._open(name, write=True)) is None or (head := self._commit_of(repo, revision)) is None:
            return
        tree, message = dict(repo.commits[head]), ""
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                tree[value["path"]] = self.hub.file(value["path"], base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if (file := self._uploaded(value)) is None:
                    self._refuse(400, "", f"{value['path']} was not uploaded")
                    return
                tree[value["path"]] = file
            elif line["key"] == "deletedFile":
                del tree[value["path"]]
        branch, pull_request = revision, None
        if self.query.get("create_pr"):
            number = 1 + sum(name.startswith("refs/pr/") for name in repo.branches)
            branch, pull_request = f"refs/pr/{number}", f"{self.hub.url}/{name}/discussions/{number}"
        commit = repo.commit(branch, tree, message)
        url = f"{self.hub.url}/{name}/commit/{commit}"
        self._answer(200, {"commitOid": commit, "commitUrl": url, "pullRequestUrl": pull_request})

    def model_info(self, name: str, revision: str = "main") -> None:
        if (repo := self._open(name)) is None or (commit := self._commit_of(repo, revision)) is None:
            return
        siblings = [{"rfilename": path} for path in sorted(repo.commits[commit])]
        info = {"id": name, "sha": commit, "private": repo.private, "tags": [], "siblings": siblings, "downloads": 0}
        self._answer(200, info, {"X-Repo-Commit": commit})

    def tree(self, name: str, revision: str) -> None:
        if (repo := self._open(name)) is None or (commit := self._commit_of(repo, revision)) is None:
            return
        entries = []
        for path, file in sorted(repo.commits[commit].items()):
            large = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 130}} if file.sha256 else {}
            large |= {"xetHash": file.xet} if file.xet else {}
            entries.append({"type": "file", "path": path, "size": file.size, "oid": file.oid, **large})
        self._answer(200, entries, {"X-Repo-Commit": commit})

    def resolve(self, name: str, revision: str, path: str) -> None:
        if (repo := self._open(name)) is None or (commit := self._commit_of(repo, revision)) is None:
            return
        if (file := repo.commits[commit].get(path)) is None:
            self._refuse(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit})
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if file.sha256:
            headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
        if file.xet:
            self.resolve_xet(name, commit, file.xet, headers)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            self._send(200, file.data, headers)
            return
        begin, end = int(wanted[1]), int(wanted[2] or len(file.data) - 1)
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(file.data)}"
        self._send(206, file.data[begin : end + 1], headers)

    def resolve_xet(self, name: str, commit: str, digest: str, headers: dict[str, str]) -> None:
        raise NotImplementedError


Route = tuple[tuple[str, ...], str, Callable[..., None]]
NAME = r"([^/]+/[^/]+)"
Handler.routes = (
    (("POST",), r"/api/repos/create", Handler.create_repo),
    (("POST",), r"/api/validate-yaml", Handler.validate_yaml),
    (("POST",), rf"/api/models/{NAME}/branch/(.+)", Handler.create_branch),
    (("POST",), rf"/api/models/{NAME}/preupload/(.+)", Handler.preupload),
    (("POST",), rf"/api/models/{NAME}/commit/(.+)", Handler.make_commit),
    (("GET",), rf"/api/models/{NAME}/revision/(.+)", Handler.model_info),
    (("GET",), rf"/api/models/{NAME}/tree/(.+)", Handler.tree),
    (("GET",), rf"/api/models/{NAME}", Handler.model_info),
    (("POST",), rf"/{NAME}\.git/info/lfs/objects/batch", Handler.large_batch),
    (("PUT",), r"/large/([0-9a-f]{64})", Handler.large_put),
    (("POST",), r"/large/([0-9a-f]{64})", Handler.large_verify),
    (("GET", "HEAD"), rf"/{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
)
HubServer.handler = Handler
