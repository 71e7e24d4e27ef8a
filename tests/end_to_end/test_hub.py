"""create -> push_to_hub -> from_pretrained in another process, over real HTTP: every system, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gencore.registry import list_systems

from ..hub.server import HubServer
from .user import user

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def test_every_system_travels_and_loads_offline_afterwards(hub: HubServer, tmp_path: Path) -> None:
    systems = [spec.name for spec in list_systems()]
    pushed = user(hub, tmp_path / "writer", "push", "org/", *systems, HF_TOKEN=hub.token)
    names = [f"org/{system}" for system in systems]
    expected = {f"org/{system}": digest for system, digest in pushed.items()}
    assert len(set(expected.values())) > len(systems) // 2, "the digests tell the models apart"
    reader = tmp_path / "reader"
    assert user(hub, reader, "load", *names) == expected
    before = len(hub.log)
    assert user(hub, reader, "load", *names, HF_HUB_OFFLINE="1", NO_SOCKETS="1") == expected
    assert len(hub.log) == before


def test_a_pinned_revision_stays(hub: HubServer, tmp_path: Path) -> None:
    """A commit names the same weights after the branch has moved on to another model."""
    first = user(hub, tmp_path / "writer", "push", "pin/", "gan", HF_TOKEN=hub.token)["gan"]
    repo = hub.repos["pin/gan"]
    commit = repo.branches["main"]
    user(hub, tmp_path / "writer", "push", "other/", "dcgan", HF_TOKEN=hub.token)
    other = hub.repos["other/dcgan"]
    repo.commit("main", other.commits[other.branches["main"]])
    loaded = user(hub, tmp_path / "reader", "load", f"pin/gan@{commit}", "pin/gan")
    assert loaded[f"pin/gan@{commit}"] == first
    assert loaded["pin/gan"] != first
