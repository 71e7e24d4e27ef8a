"""gencore push, pull, card and index, as a user types them, against the Hub on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import gencore
from gencore.cli.hub import _on_the_hub
from gencore.testing.conformance import tiny_model
from gencore_hub import HubError

from ..end_to_end.user import ListingServer, commands
from ..hub.server import HubServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with ListingServer() as server:
        yield server


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny_model("dcgan").save_pretrained(tmp_path / "mine")
    (tmp_path / "mine" / "checkpoints").mkdir()
    (tmp_path / "mine" / "checkpoints" / "state.safetensors").write_bytes(b"private")
    return tmp_path / "mine"


def test_publish_list_and_fetch(hub: HubServer, saved: Path, tmp_path: Path) -> None:
    told = ["--data", "digits, BSD-3", "--license", "cc-by-4.0", "--limitation", "Blurry."]
    answers = commands(
        hub,
        tmp_path / "home",
        ["card", saved, "--name", "org/mine", *told, "--write"],
        ["push", saved, "org/mine", "--private", "-m", "first"],
        ["push", saved, "org/open", "--public"],
        ["index", "--json"],
        ["pull", "org/open"],
        ["pull", "org/open", "--out", tmp_path / "copy"],
        ["pull", "org/open", "--out", tmp_path / "copy"],
        ["index", "--json", "--offline"],
        ["card", "org/open"],
        ["card", "org/open", "--license", "mit", "--write"],
        HF_TOKEN=hub.token,
    )
    errors = [error for _, error in answers]
    assert [number for number, error in enumerate(errors) if error] == [6, 9], errors
    assert "is not overwritten" in str(errors[6])
    assert "no directory of yours" in str(errors[9])
    repo = hub.repos["org/mine"]
    assert repo.private
    assert answers[1][0] == f"{hub.url}/org/mine/commit/{repo.branches['main']}\n"
    assert sorted(repo.commits[repo.branches["main"]]) == ["README.md", "config.json", "model.safetensors"]

    listed = {(row["name"], row["where"]): row for row in json.loads(answers[3][0])}
    assert listed["dcgan-mnist", "bundled"]["license"] != "not stated"
    assert int(listed["dcgan-mnist", "bundled"]["bytes"]) > 10_000
    assert listed["org/open", "Hub"] == {
        "name": "org/open", "where": "Hub", "system": "dcgan", "bytes": "40", "license": "cc-by-4.0",
    }  # fmt: skip
    assert ("org/mine", "Hub") not in listed
    cached = [row for row in json.loads(answers[7][0]) if row["where"] == "cache"]
    assert [row["name"].partition("@")[0] for row in cached] == ["org/open"]
    assert cached[0]["license"] == "cc-by-4.0"

    assert gencore.from_pretrained(Path(answers[4][0].strip())).system == "dcgan"
    files = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    card = (saved / "README.md").read_text()
    assert card.count("org/mine") == 3
    assert files.pop("README.md").decode() == card.replace("org/mine", "org/open")
    assert files == {name: (saved / name).read_bytes() for name in ("config.json", "model.safetensors")}
    assert answers[8][0] == (tmp_path / "copy" / "README.md").read_text()
    assert "digits, BSD-3" in answers[8][0]
    assert "Blurry" in answers[8][0]


def test_mistakes_are_explained(hub: HubServer, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "no-card").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "no-card" / name).write_bytes((saved / name).read_bytes())
    damaged = bytearray((saved / "model.safetensors").read_bytes())
    damaged[-1] ^= 1
    (saved / "model.safetensors").write_bytes(damaged)
    answers = commands(
        hub,
        tmp_path / "home",
        ["push", saved, "org/broken"],
        ["push", tmp_path / "no-card", "org/broken"],
        ["push", tmp_path / "no-card", "broken"],
        ["pull", saved],
        ["pull", "org/none"],
        ["card", tmp_path / "no-card"],
        ["card", tmp_path],
        ["index", "--limit", "0"],
    )
    expected = ["sha256", "no README.md", "no README.md", "is damaged", "does not exist", "no README.md", "config.json",
                "--limit is 0"]  # fmt: skip
    for (output, error), part in zip(answers, expected, strict=True):
        assert output == ""
        assert part in str(error)
        assert "Error: " in str(error)
    assert "org/broken" not in hub.repos


def test_the_index_without_a_network(hub: HubServer, tmp_path: Path) -> None:
    """An unreachable Hub is an error, after what is on this machine."""
    lines = (["index", "--json"], ["index", "--offline", "--json"])
    (listed, error), (offline, none) = commands(hub, tmp_path / "home", *lines, HF_ENDPOINT="http://127.0.0.1:1")
    assert "cannot be reached" in str(error)
    assert "Only what is on this machine was listed" in str(error)
    assert none is None
    assert listed == offline
    assert {row["where"] for row in json.loads(str(offline))} == {"bundled"}


def test_the_hub_is_asked_once_whether_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would ask it again for 25 seconds."""
    from huggingface_hub import HfApi, constants

    asked: list[object] = []
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(HfApi, "list_models", lambda self, **options: asked.append(options) or ())
    with pytest.raises(HubError, match="cannot be reached"):
        _on_the_hub(1)
    assert asked == []
