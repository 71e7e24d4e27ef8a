"""A card's two lines of use do what they say, for every kind of model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import gencore
from gencore.cards import card_for, use_of
from gencore.cli.app import app
from gencore.registry import default_registry
from gencore.testing.conformance import asked, tiny_model, trait_batch

KINDS = {
    "vae": ("unconditional-image-generation", "sample"),
    "ac-gan": ("unconditional-image-generation", "sample"),
    "text": ("text-generation", "sample"),
    "causal-language-model": ("", "sample"),
    "wavenet": ("", "sample"),
    "3d-gan": ("", "sample"),
    "c-rnn-gan": ("", "sample"),
    "gan-cls": ("", ""),
    "srgan": ("image-to-image", "translate"),
    "cyclegan": ("image-to-image", "translate"),
    "triplet-network": ("feature-extraction", "embed"),
}


def made(kind: str) -> Any:
    """A tiny model of that system; "text" is a language model that knows its words."""
    if kind != "text":
        return tiny_model(kind)
    sizes: dict[str, Any] = {"data_shape": (8, 3), "vocabulary": ("a", "b", "c"), "width": 8, "layers": 1, "heads": 2}
    return gencore.create("causal-language-model", **sizes).eval()


@pytest.mark.parametrize("system", KINDS)
def test_what_a_reader_is_told(system: str) -> None:
    """The line of Python runs as it stands."""
    model = made(system)
    use = use_of(model, default_registry().owner(model.system)[1])
    assert (use.task, use.verb) == KINDS[system]
    names = {"model": model, "x": trait_batch(model.system), "condition": asked(model, model.system, 16)}
    with torch.no_grad():
        exec(use.python, names)
    assert len(names[use.python.split(" = ")[0]])


@pytest.mark.parametrize("system", [system for system, (_, verb) in KINDS.items() if verb == "sample"])
def test_the_command_of_the_card(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes the file that it names, or text on the terminal."""
    model = made(system)
    card = card_for(model, name="made", has_samples=False)
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("made", card=card)
    command = next(line for line in card.splitlines() if line.startswith("gencore sample"))
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    written = [Path(word) for word in command.split() if word.startswith("samples.")]
    assert all(path.stat().st_size for path in written)
    assert written or result.stdout.strip()
