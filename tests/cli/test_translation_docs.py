"""The commands of docs/translation.md, run on small pictures and with few steps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from gencore.cli.app import app
from tests.plugins.translation.paired.esrgan_weights import weights

PAGE = Path(__file__).parents[2] / "docs" / "translation.md"
FEW = ["--steps", "2", "--batch-size", "2", "-q"]


@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for folder in ("pictures", "pairs/A", "pairs/B"):
        Path(folder).mkdir(parents=True)
        for name in "abc":
            Image.fromarray(generator.integers(0, 256, (60, 52, 3), np.uint8)).save(f"{folder}/{name}.png")
    torch.save({"params_ema": weights(4)}, "RealESRGAN_x4plus.pth")
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 11
    for line in commands:
        program, *words = shlex.split(line)
        assert program == "gencore"
        if words[0] == "train":
            words += FEW + (["--set", "game_steps=2"] if words[1] in ("srgan", "esrgan") else [])
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (line, result.output, result.exception)
    with Image.open("large.png") as image:
        assert image.size == (4 * 52, 4 * 60)
    assert sorted(file.name for file in Path("clean").iterdir()) == ["a.png", "b.png", "c.png"]
    assert (Path("x4.png")).is_file()
