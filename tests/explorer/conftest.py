"""Small models of each kind behind one server, and how a test fills in a form."""

from __future__ import annotations

import dataclasses
import html
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

import gencore
from gencore.cli.app import app as command_line
from gencore.data import digits
from gencore.data.images import to_pil
from gencore.explorer.server import create_app
from tests.cli.running import run

WORDS = ["the", "cat", "mat", *(f"w{k}" for k in range(34))]
LOCAL = "http://127.0.0.1"
SMALL = {
    "biggan": {"data_shape": [1, 8, 8], "piece_dim": 2, "width": 4, "embedding_dim": 4},
    "vae": {"data_shape": [1, 8, 8], "hidden": [8], "latent_dim": 3},
    "deep-autoencoder": {"data_shape": [1, 8, 8], "hidden": [8], "code_dim": 2},
    "vq-vae": {"data_shape": [1, 8, 8], "num_codes": 8, "code_dim": 4, "width": 8, "prior_width": 8, "prior_layers": 1},
    "ddpm": {"data_shape": [1, 8, 8], "num_classes": 10},
    "wavenet": {"data_shape": [1, 200], "levels": 16, "width": 4, "skip_width": 4, "dilations": 3, "stacks": 1},
    "esrgan": {"width": 6, "growth": 3, "blocks": 1},
    "word2vec": {"width": 8, "vocabulary": WORDS},
    "rnn-language-model": {"width": 8, "vocabulary": WORDS},
    "3d-gan": {"latent_dim": 4, "width": 2},
    "c-rnn-gan": {"latent_dim": 2, "width": 4},
}


@dataclasses.dataclass(frozen=True)
class Made:
    """What a form made: the command beside it, what was written, and the piece of the page."""

    command: str
    content: bytes
    name: str
    page: str


@dataclasses.dataclass(frozen=True)
class Explorer:
    """A server of small models, by the name of their systems."""

    client: TestClient
    words: Mapping[str, str]

    def number(self, system: str) -> int:
        return list(self.words).index(system)

    def address(self, system: str, view: str) -> str:
        return f"/{self.number(system)}/{view}"

    def fill(self, system: str, view: str, form: Mapping[str, str], files: Mapping[str, Path] = {}) -> Made:
        """What the form makes, which must work."""
        sent = {name: (path.name, path.read_bytes()) for name, path in files.items()}
        answer = self.client.post(f"{self.address(system, view)}/result", data=dict(form), files=sent or None)
        assert answer.status_code == 200, answer.text
        command = html.unescape(re.findall(r'data-copy="(.*?)"', answer.text)[0])
        found = re.search(r'<a href="(/output/\w+/(.*?))" download', answer.text)
        if found is None:
            return Made(command, b"", "", answer.text)
        return Made(command, self.client.get(found[1]).content, found[2], answer.text)

    def refused(self, system: str, view: str, form: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]) -> str:
        """The sentence with which a form is refused."""
        answer = self.client.post(f"{self.address(system, view)}/result", data=dict(form), files=dict(files) or None)
        assert answer.status_code == 422, answer.text
        assert "Traceback" not in answer.text
        return html.unescape(re.findall(r'role="alert".*?>(.*?)</p>', answer.text, flags=re.DOTALL)[0])


def typed(command: str) -> str:
    """What a command from "copy as command" says, typed into a shell in the current folder."""
    program, *words = shlex.split(command)
    assert program == "gencore"
    return run(command_line, *words)


@pytest.fixture(scope="session")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Explorer:
    folder = tmp_path_factory.mktemp("explorer")
    torch.manual_seed(0)
    for system, config in SMALL.items():
        gencore.create(system, **config).save_pretrained(folder / system)
    run(
        command_line, "train", "gan", "--out", folder / "run", "--steps", 4, "--log-every", 1, "--sample-every", 2, "-q"
    )
    words = {system: str(folder / system) for system in SMALL} | {"run": str(folder / "run"), "dcgan": "dcgan-mnist"}
    client = TestClient(create_app(list(words.values())), base_url=LOCAL)
    return Explorer(client, words)


@pytest.fixture(scope="session")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of a digit."""
    file = tmp_path_factory.mktemp("pictures") / "my digit.png"
    to_pil(digits("test").fetch(torch.tensor([3]))["x"][0]).save(file)
    return file
