"""The loopback Hub for clients that have hf_xet, as `pip install huggingface_hub` gives most users.

Then large files never pass through the Hub: the client asks it for a token and an address, brings the file's chunks to
that address, and commits the sha256. With an address "local://FOLDER" hf_xet keeps the chunks in a folder, so that no
second server is needed. That address is documented nowhere (hf_xet 1.8.0).
"""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

from .server import NAME, File, Handler, HubServer

RECORD = 48
END = b"\xff" * 32
HAS_VERIFICATION, HAS_SHA256 = 1 << 31, 1 << 30


class XetHandler(Handler):
    hub: XetServer  # type: ignore[misc]

    def xet_token(self, name: str, kind: str, revision: str) -> None:
        if self._open(name, write=kind == "write") is None:
            return
        address, expires = f"local://{self.hub.store}", int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": address, "X-Xet-Access-Token": "x", "X-Xet-Token-Expiration": str(expires)}
        self._answer(200, {"casUrl": address, "accessToken": "x", "exp": expires}, headers)

    def _uploaded(self, value: dict[str, Any]) -> File | None:
        digest = xet_hashes(self.hub.store).get(value["oid"])
        return digest and File(b"", value["oid"][:40], value["oid"], value["size"], digest)  # type: ignore[return-value]

    def resolve_xet(self, name: str, commit: str, digest: str, headers: dict[str, str]) -> None:
        """The address of the file's token; its data are not to be had here."""
        link = f'<{self.hub.url}/api/models/{name}/xet-read-token/{commit}>; rel="xet-auth"'
        self._send(200 if self.command == "HEAD" else 410, b"", {**headers, "X-Xet-Hash": digest, "Link": link})

    def open_pull_request(self, name: str) -> None:
        """With hf_xet the client opens the pull request first, and then commits to it."""
        if (repo := self._open(name, write=True)) is None:
            return
        number = 1 + sum(branch.startswith("refs/pr/") for branch in repo.branches)
        repo.branches[f"refs/pr/{number}"] = repo.branches["main"]
        self._answer(200, {"num": number})

    def pull_request(self, name: str, number: str) -> None:
        if self._open(name) is None:
            return
        about = {"title": "t", "num": int(number), "createdAt": "2026-01-01T00:00:00.000Z", "status": "draft"}
        about |= {"repo": {"name": name, "type": "model"}, "isPullRequest": True, "changes": {"base": "main"}}
        self._answer(200, about | {"events": [], "filesWithConflicts": []})

    routes = (
        *Handler.routes,
        (("GET",), rf"/api/models/{NAME}/xet-(read|write)-token/(.+)", xet_token),
        (("POST",), rf"/api/models/{NAME}/discussions", open_pull_request),
        (("GET",), rf"/api/models/{NAME}/discussions/([0-9]+)", pull_request),
    )


class XetServer(HubServer):
    """`XetServer(FOLDER)`: chunks lie below FOLDER."""

    handler = XetHandler

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = store


def xet_hashes(store: Path) -> dict[str, str]:
    """sha256 -> Xet hash of every file in hf_xet's local store, both in hex as they are sent.

    A shard is a list of records of 48 bytes: one for the shard; then for each file its hash, flags and a count n, n
    records of segments, n more if there are verification hashes, and one with the sha256; a record of ones ends it.
    """
    found = {}
    for shard in store.rglob("*.mdb"):
        data, position = shard.read_bytes(), RECORD
        while data[position : position + 32] not in (END, b""):
            digest = "".join(f"{part:016x}" for part in struct.unpack_from("<4Q", data, position))
            flags, count = struct.unpack_from("<II", data, position + 32)
            position += RECORD * (1 + count * (2 if flags & HAS_VERIFICATION else 1))
            if flags & HAS_SHA256:
                sha256 = "".join(f"{part:016x}" for part in struct.unpack_from("<4Q", data, position))
                found[sha256] = digest
                position += RECORD
    return found
