"""Links, FIFOs and exchanged files in a model directory: nothing outside it is read or sent, and nothing waits."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gencore_hub import HubError, files, read_config
from gencore_hub.files import open_inside
from gencore_hub.upload import _additions
from gencore_hub.weights import check_whole

from .helpers import Client, RemoteError
from .server import HubServer

SECRET = b"hf_secret"
NOBODY = 65534


@pytest.fixture
def model(save: Callable[..., Path]) -> Path:
    return save(torch.nn.Linear(3, 3))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


def swap(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def as_nobody(call: Callable[[], object]) -> str:
    """The HubError in which `call` ends in a child that is another user."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        text = "nothing was raised"
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            call()
        except HubError as error:
            text = str(error)
        finally:
            os.write(writing, text.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


@pytest.mark.parametrize("name", ["samples.png", "README.md", "model.safetensors.index.json", "config.json"])
def test_a_link_is_never_pushed(hub: HubServer, client: Client, model: Path, secret: Path, name: str) -> None:
    """Neither out of the directory nor to another file in it, such as a log."""
    (model / "metrics.jsonl").write_bytes(SECRET)
    for target in (secret, Path("metrics.jsonl")):
        swap(model / name, target)
        with pytest.raises(RemoteError, match="is a link|not strict JSON") as caught:
            client.call("push", str(model), "org/name", token=hub.token)
        assert SECRET.decode() not in caught.value.text
    assert hub.repos == {}


def test_linked_or_other_weights_are_never_pushed(hub: HubServer, client: Client, model: Path, secret: Path) -> None:
    weights = model / "model.safetensors"
    weights.rename(model / "kept.safetensors")
    for target, message in ((secret, "is a link"), (Path("kept.safetensors"), "is a link")):
        swap(weights, target)
        with pytest.raises(RemoteError, match=message):
            client.call("push", str(model), "org/name", token=hub.token)
    weights.unlink()
    weights.write_bytes(SECRET)
    with pytest.raises(RemoteError, match="its sha256 is not config.json's"):
        client.call("push", str(model), "org/name", token=hub.token)
    assert hub.repos == {}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root becomes another user")
def test_links_are_refused_as_another_user(model: Path) -> None:
    """Before they are followed: whether the secret can be read plays no part, and is not told."""
    with tempfile.TemporaryDirectory() as shared:  # pytest's own folders are closed to other users
        os.chmod(shared, 0o755)
        folder, secret = Path(shared, "model"), Path(shared, "secret")
        shutil.copytree(model, folder)
        secret.write_bytes(SECRET)
        config = read_config(folder)
        assert len(_additions(folder, config, "org/name")) == 4
        assert as_nobody(lambda: _additions(folder, config, "org/name")) == "nothing was raised"
        for mode in (0o644, 0o600):
            secret.chmod(mode)
            swap(folder / "samples.png", secret)
            assert "is a link" in as_nobody(lambda: _additions(folder, config, "org/name"))
        swap(folder / "config.json", secret)
        assert "is a link" in as_nobody(lambda: read_config(folder))


def test_a_file_larger_than_any_card_is_not_sent(model: Path) -> None:
    with open(model / "README.md", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(HubError, match="more than 67,108,864 bytes"):
        _additions(model, read_config(model), "org/name")


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_file_exchanged_between_the_check_and_the_opening(
    model: Path, secret: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Neither is the secret read, nor does a FIFO wait for a writer."""
    roots = files.roots

    def exchanged(directory: Path) -> Any:
        path = directory / "config.json"
        if path.is_file() and not path.is_symlink():
            path.unlink()
            {"link": lambda: path.symlink_to(secret), "fifo": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
        return roots(directory)

    monkeypatch.setattr(files, "roots", exchanged)
    with pytest.raises(HubError, match="cannot read config.json|is not a regular file"):
        open_inside(model, "config.json")


def test_a_folder_exchanged_for_a_link_is_not_followed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a save under way is a way out of the directory, too."""
    pending, outside = model / files.PENDING, tmp_path / "outside"
    for folder in (pending, outside):
        folder.mkdir()
        (folder / "config.json").write_bytes(SECRET)
    roots = files.roots

    def exchanged(directory: Path) -> Any:
        if not pending.is_symlink():
            pending.rename(directory / "aside")
            pending.symlink_to(outside)
        return roots(directory)

    monkeypatch.setattr(files, "roots", exchanged)
    with pytest.raises(HubError, match="cannot read config.json"):
        open_inside(model, "config.json")


def test_pull_hashes_nothing_through_a_link(model: Path, secret: Path) -> None:
    weights = read_config(model)["weights"]
    check_whole(model, weights)
    swap(model / "model.safetensors", secret)
    with pytest.raises(HubError, match="is a link"):
        check_whole(model, weights)


def test_blobs_on_another_disk(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the user's own cache the folder of blobs may be a link; in a stranger's directory of that form it may not."""
    from huggingface_hub import constants

    repo, disk = tmp_path / "hub" / "models--org--name", tmp_path / "disk"
    snapshot = repo / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    model.rename(disk)
    (repo / "blobs").symlink_to(disk)
    for path in disk.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    with pytest.raises(HubError, match="is a link"):
        read_config(snapshot)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    config = read_config(snapshot)
    check_whole(snapshot, config["weights"])
    assert {addition.path_in_repo for addition in _additions(snapshot, config, "org/name")} == {
        path.name for path in disk.iterdir()
    }
