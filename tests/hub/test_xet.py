"""The way that most users' weights take: with hf_xet installed, large files go through Xet and not through the Hub."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from .helpers import Client
from .test_wire import REPO, WIDTH, contents, digest, refused
from .xet import XetServer, xet_hashes

pytest.importorskip("hf_xet", reason="hf_xet is not installed: the Hub's client takes the git-LFS way here")


@pytest.fixture
def xet(tmp_path: Path) -> Iterator[XetServer]:
    with XetServer(tmp_path / "store") as server:
        yield server


@pytest.fixture
def start(xet: XetServer, start_client: Callable[..., Client], tmp_path: Path) -> Callable[..., Client]:
    """`start(name)`: a client with hf_xet on, and with a cache of that name."""

    def run(name: str, **environment: str) -> Client:
        options = {"HF_ENDPOINT": xet.url, "HF_HUB_DISABLE_XET": "0", "HF_XET_CACHE": str(tmp_path / f"{name}-xet")}
        return start_client(tmp_path / name, **options | environment)

    return run


def test_push_and_load_in_another_process_through_xet(
    xet: XetServer, start: Callable[..., Client], save: Callable[..., Path]
) -> None:
    module = torch.nn.Linear(WIDTH, WIDTH)
    model = save(module)
    start("writer", HF_TOKEN=xet.token).call("push", str(model), REPO, private=True)
    assert xet.large == {}
    assert not xet.requests("info/lfs|/large/")
    weights = (model / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in xet_hashes(xet.store)

    reader = start("reader", HF_TOKEN=xet.token)
    path = Path(reader.call("locate", REPO))
    assert contents(path) == contents(model)
    assert reader.call("state_digest", str(path), WIDTH) == digest(module)
    assert not xet.requests(r"GET .*/resolve/.*safetensors")
    assert xet.requests("xet-read-token")
    before = len(xet.log)
    offline = start("reader", HF_HUB_OFFLINE="1", NO_SOCKETS="1")
    assert offline.call("state_digest", offline.call("locate", REPO), WIDTH) == digest(module)
    assert len(xet.log) == before
    assert "does not exist on the Hub, or is private" in refused(start("stranger").call, "locate", REPO)


def test_shards_branches_pull_requests_and_an_unchanged_push(
    xet: XetServer, start: Callable[..., Client], save: Callable[..., Path]
) -> None:
    module = torch.nn.Linear(WIDTH, WIDTH)
    model = save(module, max_shard_size=2000)
    client = start("home", HF_TOKEN=xet.token)
    for _ in range(2):
        client.call("push", str(model), REPO, branch="v2")
    repo = xet.repos[REPO]
    assert len(repo.commits) == 2  # the empty one of create_repo, and the first push
    assert repo.commits[repo.branches["main"]] == {}
    address = client.call("push", str(model), REPO, create_pr=True)
    assert address == f"{xet.url}/{REPO}/discussions/1"
    for revision in ("v2", "refs/pr/1"):
        path = client.call("locate", REPO, revision=revision)
        assert len(list(Path(path).glob("model-*.safetensors"))) == 2
        assert client.call("state_digest", path, WIDTH) == digest(module)


def test_chunks_that_were_damaged_or_lost(
    xet: XetServer, start: Callable[..., Client], save: Callable[..., Path]
) -> None:
    """Found, by us or, where the damage hits what a compressed block says of itself, by the client that unpacks it; and
    once the store is whole again, so is what is loaded. (A local store is for one process at a time.)"""
    model = save(torch.nn.Linear(WIDTH, WIDTH))
    with closing(start("writer", HF_TOKEN=xet.token)) as writer:
        writer.call("push", str(model), REPO)
    chunks = max(xet.store.rglob("xorbs/default.*"), key=lambda path: path.stat().st_size)
    original = chunks.read_bytes()
    assert len(original) > 300_000
    chunks.write_bytes(flipped(original, 200_000))
    with closing(start("reader")) as reader:
        assert re.search("arrived damaged|Format error", refused(reader.call, "locate", REPO))
    chunks.unlink()
    with closing(start("reader")) as reader:
        assert f"{REPO} could not be downloaded" in refused(reader.call, "locate", REPO)
    chunks.write_bytes(original)
    with closing(start("reader")) as reader:
        assert contents(Path(reader.call("locate", REPO))) == contents(model)


def test_a_damaged_file_in_the_store_that_repositories_share(
    xet: XetServer, start: Callable[..., Client], save: Callable[..., Path], tmp_path: Path
) -> None:
    """The client takes a file that another repository has brought already; a damaged one must not stay there."""
    model = save(torch.nn.Linear(WIDTH, WIDTH))
    with closing(start("writer", HF_TOKEN=xet.token)) as writer:
        for name in ("org/one", "org/two"):
            writer.call("push", str(model), name)
    reader = start("reader")
    weights = (Path(reader.call("locate", "org/one")) / "model.safetensors").resolve()
    if weights.parent.parent.parent.name != "hub":
        pytest.skip("this version of the client shares no files between repositories")
    weights.chmod(0o644)
    weights.write_bytes(flipped(weights.read_bytes(), 100_000))
    assert "model.safetensors of org/two arrived damaged" in refused(reader.call, "locate", "org/two")
    assert contents(Path(reader.call("locate", "org/two"))) == contents(model)


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
