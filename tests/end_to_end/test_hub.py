"""create -> push_to_hub -> from_pretrained in another process, over real HTTP: every system, to the bit."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from gencore.registry import list_systems

from ..hub.server import HubServer
from ..hub.xet import XetServer
from .user import user

pytestmark = pytest.mark.slow

XET = {"HF_HUB_DISABLE_XET": "0"}


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


def test_models_travel_through_xet(tmp_path: Path) -> None:
    """As most users' do: with hf_xet the weights never pass through the Hub itself."""
    pytest.importorskip("hf_xet", reason="hf_xet is not installed: the Hub's client takes the git-LFS way here")
    with XetServer(tmp_path / "store") as hub:
        pushed = user(hub, tmp_path / "writer", "push", "org/", "dcgan", "vq-vae", HF_TOKEN=hub.token, **XET)
        assert hub.large == {}
        loaded = user(hub, tmp_path / "reader", "load", "org/dcgan", "org/vq-vae", **XET)
    assert loaded == {f"org/{system}": digest for system, digest in pushed.items()}


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


def test_a_published_model_has_a_card_and_a_grid_of_samples(hub: HubServer, tmp_path: Path) -> None:
    """The card tells readers the name under which it was published; every option of push_to_hub arrives."""
    options = {"private": True, "branch": "v2", "commit_message": "Second try"}
    words = ("publish", "org/shown", "dcgan", json.dumps(options))
    url = user(hub, tmp_path / "writer", *words, HF_TOKEN=hub.token)
    repo = hub.repos["org/shown"]
    assert repo.private
    assert repo.commits[repo.branches["main"]] == {}
    assert url.endswith(repo.branches["v2"])
    assert repo.messages[repo.branches["v2"]] == "Second try"
    files = repo.commits[repo.branches["v2"]]
    card = files["README.md"].data.decode()
    assert "gencore.from_pretrained('org/shown')" in card
    assert "![samples](samples.png)" in card
    assert str(tmp_path) not in card
    assert "/tmp" not in card
    picture = Image.open(io.BytesIO(files["samples.png"].data))
    assert picture.width > 8
    assert len(set(picture.convert("L").tobytes())) > 2, "it shows more than a frame"
