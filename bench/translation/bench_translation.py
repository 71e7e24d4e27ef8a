"""Translators: a training step against a plain loop around the same layers, and a large picture by tiles.

A picture's peak memory is that of a process of its own, whole: the library, the network, the picture and its file.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import gencore
from gencore.data import open_source
from gencore.nn.memory_format import put_channels_last
from gencore.tiling import tiles, translated_tiles

STEPS, MOST = 60, 2 * 2**30


def test_pix2pix_step(race: Any) -> None:
    """At least the speed of a loop by hand with the same layers, losses and optimisers."""

    def ours() -> torch.Tensor:
        recipe = gencore.recipe("pix2pix", degradation="grey", data_shape=(3, 32, 32), crop=32, steps=STEPS)
        trainer = gencore.Trainer(recipe, open_source("photos", image_size=32), cpu=True)
        return next(trainer.fit().generator.parameters()).detach()

    def by_hand() -> torch.Tensor:
        recipe = gencore.recipe("pix2pix", degradation="grey", data_shape=(3, 32, 32), crop=32, steps=STEPS)
        source = recipe.stages[0].data(open_source("photos", image_size=32), None)  # type: ignore[misc]
        torch.manual_seed(0)
        model: Any = recipe.model(recipe.config)
        put_channels_last(model)
        torch.manual_seed(1)
        rates = {"generator": 1e-3, "critic": 5e-4}
        adam = {
            part: torch.optim.Adam(getattr(model, part).parameters(), lr=rate, betas=(0.5, 0.999), fused=True)
            for part, rate in rates.items()
        }
        batches = gencore.data.Batches(source, recipe.batch_size, seed=0)
        for step in range(STEPS):
            given, x = batches[step]["x_input"], batches[step]["x"]
            for phase in recipe.stages[0].phases:
                model.critic.requires_grad_(phase.name == "critic")
                if phase.name == "critic":
                    with torch.no_grad():
                        made = model.generator(given)
                    real, fake = (model.judge(picture, condition=given) for picture in (x, made))
                    loss = 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
                else:
                    made = model.generator(given)
                    fooled = F.softplus(-model.judge(made, condition=given)).mean()
                    loss = 10 * F.l1_loss(made, x) + fooled
                adam[phase.name].zero_grad()
                loss.backward()
                adam[phase.name].step()
        return next(model.generator.parameters()).detach()

    expected = by_hand()
    race(
        "Translation",
        f"pix2pix 32x32, {STEPS} iterations of batch 16",
        {"gencore.Trainer": ours, "hand-written loop": by_hand},
        error=lambda weight: (weight - expected).abs().max(),
        error_unit="max abs difference of a weight",
        tests="tests/plugins/translation/paired/test_pix2pix.py",
    )


@pytest.mark.parametrize("tile", [64, 128])
def test_tiles_against_the_whole(tile: int, race: Any) -> None:
    """What the overlap costs, and saves in memory; the numbers are the same."""
    model: Any = gencore.create("esrgan", scale=2).eval()
    x = torch.rand(3, 256, 256) * 2 - 1

    @torch.no_grad()
    def by_tiles() -> torch.Tensor:
        canvas = torch.empty(3, 512, 512)
        for _, top, left, piece in translated_tiles(model.translate, x, tiles(x, tile, model.tiling)):
            canvas[:, top : top + piece.shape[1], left : left + piece.shape[2]] = piece
        return canvas

    @torch.no_grad()
    def whole() -> torch.Tensor:
        return model.translate(x[None])[0]

    expected = whole()
    race(
        "Translation",
        f"esrgan x2 of 256x256, tiles of {tile}",
        {"tiles": by_tiles, "the whole at once": whole},
        error=lambda made: (made - expected).abs().max(),
        error_unit="max abs difference of a pixel",
        tests="tests/cli/test_translate.py",
    )


def test_a_large_picture_within_two_gigabytes(tmp_path: Path) -> None:
    """`gencore translate` of 4,000 x 3,000 pixels through esrgan, twice as large."""
    gencore.create("esrgan", scale=2, width=8, growth=8, blocks=1).save_pretrained(tmp_path / "model")
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 256, (3000, 4000, 3), dtype=np.uint8)).save(tmp_path / "in.png")
    words = ["translate", str(tmp_path / "model"), str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), "-q"]
    subprocess.run([sys.executable, "-m", "gencore.cli", *words], check=True)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    sys.stdout.write(f"peak memory of gencore translate, 4000x3000 to 8000x6000: {most / 2**30:.2f} GiB\n")
    with Image.open(tmp_path / "out.png") as made:
        assert made.size == (8000, 6000)
    assert most < MOST
