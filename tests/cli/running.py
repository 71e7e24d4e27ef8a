"""What tests of commands share: a command in this process, and a folder of pictures in two classes."""

from __future__ import annotations

from pathlib import Path

import torch
import typer
from typer.testing import CliRunner

from gencore.data import digits
from gencore.data.images import to_pil


def run(app: typer.Typer, *words: object) -> str:
    """What the command says. Its errors come through."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def save_digits(folder: Path, count: int) -> Path:
    """The first digits of the test part as d0.png, d1.png, ... in a folder "even" and a folder "odd"."""
    batch = digits("test").fetch(torch.arange(count))
    for k, (x, label) in enumerate(zip(batch["x"], batch["label"].tolist(), strict=True)):
        place = folder / ("odd" if label % 2 else "even")
        place.mkdir(exist_ok=True)
        to_pil(x).save(place / f"d{k}.png")
    return folder
