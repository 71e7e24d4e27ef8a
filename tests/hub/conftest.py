"""Fixtures of the hub's tests: a module to save, a server on loopback, and clients in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import gencore_hub
from gencore_hub import write_directory

from .helpers import CONFIG, Client
from .server import HubServer


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """`save(module, name="model", **options)` writes a model directory under tmp_path."""

    def write(module: torch.nn.Module, name: str = "model", **options: Any) -> Path:
        options = {"config": CONFIG, "card": "# a card\n", "samples_png": b"\x89PNG", **options}
        return write_directory(tmp_path / name, module=module, **options)

    return write


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for the disk: a killed process loses nothing that it has written. test_atomic.py checks the syncs."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt to reach a network fails the test."""

    def cut(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr("socket.socket.connect", cut)
    monkeypatch.setattr("socket.getaddrinfo", cut)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the package's bundled weights; the working directory is an empty one too."""
    root, here = tmp_path / "bundled", tmp_path / "here"
    root.mkdir()
    here.mkdir()
    monkeypatch.setattr("gencore_hub.names._bundled_root", lambda: root)
    monkeypatch.chdir(here)
    return root


@pytest.fixture(scope="session")
def _server() -> Iterator[HubServer]:
    with HubServer() as hub:
        yield hub


@pytest.fixture
def hub(_server: HubServer) -> Iterator[HubServer]:
    yield _server
    _server.reset()


@pytest.fixture(scope="session")
def start_client(tmp_path_factory: pytest.TempPathFactory, _server: HubServer) -> Iterator[Callable[..., Client]]:
    """`start_client(home, **environment)`: a client of the loopback server; without `home` with an empty cache."""
    clients = []

    def start(home: Path | None = None, **environment: str) -> Client:
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith("HF_") and "proxy" not in key.lower()
        }
        settings = {
            "HF_ENDPOINT": _server.url,
            "HF_HOME": str(home or tmp_path_factory.mktemp("hf")),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(gencore_hub.__file__).parents[1]),
        }
        clients.append(Client(kept | settings | environment))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def client(start_client: Callable[..., Client]) -> Client:
    """One client for the tests that bring a cache of their own (`cache_dir`)."""
    return start_client()
