"""Downloads from a second server that we did not write: olah 0.5.4, a mirror of the Hub, serving a git repository.

It brings 56 packages, so it lives in an environment of its own, and these tests run where that is named:

    python -m venv /tmp/olah && /tmp/olah/bin/pip install olah==0.5.4
    OLAH=/tmp/olah/bin/olah-cli python -m pytest tests/end_to_end/test_olah.py
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gencore.testing.conformance import tiny_model

from .hub_client import digest
from .user import user

OLAH = os.environ.get("OLAH", "")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not OLAH, reason="OLAH does not name an olah-cli: see the file")]


@dataclass(frozen=True, slots=True)
class Olah:
    """The server's address, and the mirrored repository org/name: system of each commit, oldest first."""

    url: str
    commits: dict[str, str]


def git(folder: Path, *words: str) -> str:
    name = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def olah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Olah]:
    root = tmp_path_factory.mktemp("olah")
    repo = root / "mirror" / "models" / "org" / "name"
    repo.mkdir(parents=True)
    git(repo, "init")
    commits = {}
    for system in ("gan", "dcgan"):
        tiny_model(system).save_pretrained(repo)
        git(repo, "add", "-A")
        git(repo, "commit", "-m", system)
        git(repo, "tag", f"v-{system}")
        commits[git(repo, "rev-parse", "HEAD")] = system
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = root / "olah.toml"
    config.write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{root / "repos"}"\n'
        f'mirrors-path = ["{root / "mirror"}"]\n[accessibility]\noffline = true\n'
    )
    with open(root / "log", "wb") as log:
        server = subprocess.Popen([OLAH, "-c", str(config)], cwd=root, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}", server, root / "log")
        yield Olah(f"http://127.0.0.1:{port}", commits)
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(log.read_text())


def test_models_of_a_git_repository_by_branch_tag_and_commit(olah: Olah, tmp_path: Path) -> None:
    expected = {f"org/name@{commit}": digest(tiny_model(system)) for commit, system in olah.commits.items()}
    expected |= {f"org/name@v-{system}": digest(tiny_model(system)) for system in olah.commits.values()}
    expected["org/name"] = digest(tiny_model("dcgan"))
    assert len(set(expected.values())) == 2
    home = tmp_path / "home"
    assert user(olah, home, "load", *expected) == expected
    assert user(olah, home, "load", *expected, HF_HUB_OFFLINE="1", NO_SOCKETS="1") == expected


def test_what_the_mirror_has_not(olah: Olah, tmp_path: Path) -> None:
    for name in ("org/none", "org/name@none"):
        with pytest.raises(AssertionError, match=r"HubError: org/n") as caught:
            user(olah, tmp_path / "home", "load", name)
        assert "does not exist on the Hub" in str(caught.value) or "no such branch" in str(caught.value)
