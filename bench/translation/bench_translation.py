"""Translators: a training step against a plain loop around the same layers, and a large picture by tiles, beside
spandrel's RRDB network.

A large picture's peak memory is that of a process of its own, whole: the library, the network, the picture and its
file. spandrel is needed: pip install --no-deps spandrel. Its packages are entered without their __init__, which would
import torchvision.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import types
from collections.abc import Callable
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
from gencore_translation.paired.esrgan import ESRGAN
from tests.plugins.translation.paired.esrgan_weights import weights

STEPS, MOST = 40, 2 * 2**30
PEAK = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)
"""A process that runs a command and prints its peak memory in kB. Asked in here, that would be the largest of all that
this session has run, itself among them."""


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


def test_cyclegan_step(race: Any) -> None:
    """At least the speed of a loop by hand with the same layers, losses, pools and optimisers."""
    recipe = gencore.recipe("cyclegan", data_shape=(3, 32, 32), steps=STEPS, batch_size=4)
    photos = open_source("photos", image_size=32)

    def ours() -> torch.Tensor:
        return next(gencore.Trainer(recipe, photos, cpu=True).fit().translators.parameters()).detach()

    def by_hand() -> torch.Tensor:
        source = recipe.stages[0].data(photos, None)  # type: ignore[misc]
        torch.manual_seed(0)
        model: Any = recipe.model(recipe.config)
        put_channels_last(model)
        torch.manual_seed(1)
        parts = ("translators", "critics")
        adam = {
            part: torch.optim.Adam(getattr(model, part).parameters(), lr=2e-3, betas=(0.5, 0.999), fused=True)
            for part in parts
        }
        pools: list[dict[int, torch.Tensor]] = [{}, {}]
        batches = gencore.data.Batches(source, recipe.batch_size, seed=0)
        for step in range(STEPS):
            real = batches[step]["x"], batches[step]["x_b"]
            for part in parts:
                model.translators.requires_grad_(part == "translators")
                model.critics.requires_grad_(part == "critics")
                adam[part].zero_grad()
                if part == "translators":
                    translators_loss(model, real).backward()
                else:
                    critics_loss(model, real, pools, step).backward()
                adam[part].step()
        return next(model.translators.parameters()).detach()

    expected = by_hand()
    race(
        "Translation",
        f"cyclegan 32x32, {STEPS} iterations of batch 4",
        {"gencore.Trainer": ours, "hand-written loop": by_hand},
        error=lambda weight: (weight - expected).abs().max(),
        error_unit="max abs difference of a weight",
        tests="tests/plugins/translation/unpaired/test_cyclegan.py",
    )


def translators_loss(model: Any, real: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """The game on least squares, and ten times the cycles."""
    fake = [model.translators[to](real[1 - to]) for to in (0, 1)]
    back = [model.translators[to](fake[1 - to]) for to in (0, 1)]
    game = [0.5 * (model.critics[to](fake[to]) - 1).square().mean() for to in (0, 1)]
    cycle = [F.l1_loss(back[to], real[to]) for to in (0, 1)]
    return game[0] + game[1] + 10 * (cycle[0] + cycle[1])


def critics_loss(
    model: Any, real: tuple[torch.Tensor, torch.Tensor], pools: list[dict[int, torch.Tensor]], step: int
) -> torch.Tensor:
    """Least squares, against new translations or, half of the time, one of the last 50."""
    with torch.no_grad():
        fake = [model.translators[to](real[1 - to]) for to in (0, 1)]
    total = torch.zeros(())
    for to in (0, 1):
        shown = fake[to]
        old = torch.randint(50, (len(shown),))
        swap = torch.rand(len(shown)) < 0.5
        if 4 * step >= 50:
            shown = torch.stack([pools[to][int(j)] if s else x for j, s, x in zip(old, swap, shown, strict=True)])
        loss = 0.5 * (model.critics[to](real[to]) - 1).square().mean() + 0.5 * model.critics[to](shown).square().mean()
        total = total + 0.5 * loss
    for pool, made in zip(pools, fake, strict=True):
        for place, picture in enumerate(made, 4 * step):
            pool[place % 50] = picture
    return total


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


def spandrels(scale: int) -> torch.nn.Module:
    """Its RRDB network, of the weights by the formula."""
    for name in ("spandrel", "spandrel.architectures"):
        if name in sys.modules:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None:
            pytest.fail("spandrel is missing: pip install --no-deps spandrel (bench/README.md)", pytrace=False)
        module = types.ModuleType(name)
        module.__path__ = list(spec.submodule_search_locations or ())
        sys.modules[name] = module
    described = importlib.import_module("spandrel.architectures.ESRGAN").ESRGANArch().load(weights(scale))
    net: torch.nn.Module = described.model.eval()
    return net


@pytest.mark.parametrize("tile", [0, 64])
def test_rrdb_against_spandrel(tile: int, race: Any) -> None:
    """The bar: spandrel at 1.0 of our time, or more, and our memory no more than its own. spandrel cuts no pictures:
    beside tiles it is given the same pieces."""
    ours: Any = ESRGAN.from_published(weights(4))
    theirs, x = spandrels(4), torch.rand(3, 128, 128) * 2 - 1

    def by(translate: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], torch.Tensor]:
        @torch.no_grad()
        def run() -> torch.Tensor:
            canvas = torch.empty(3, 512, 512)
            for _, top, left, piece in translated_tiles(translate, x, tiles(x, tile, ours.tiling)):
                canvas[:, top : top + piece.shape[1], left : left + piece.shape[2]] = piece
            return canvas

        return run

    contestants = {"gencore": by(ours.translate), "spandrel": by(lambda x: (2 * theirs((x + 1) / 2) - 1).clamp(-1, 1))}
    expected = contestants["spandrel"]()
    race(
        "Translation",
        f"RRDB x4 of 128x128, {f'tiles of {tile}' if tile else 'whole'}",
        contestants,
        error=lambda made: (made - expected).abs().max(),
        error_unit="max abs difference of a pixel",
        tests="tests/plugins/translation/paired/test_esrgan.py",
    )


def test_a_large_picture_within_two_gigabytes(tmp_path: Path) -> None:
    """`gencore translate` of 4,000 x 3,000 pixels through esrgan, twice as large."""
    gencore.create("esrgan", scale=2, width=8, growth=8, blocks=1).save_pretrained(tmp_path / "model")
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 256, (3000, 4000, 3), dtype=np.uint8)).save(tmp_path / "in.png")
    words = ["translate", str(tmp_path / "model"), str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), "-q"]
    command = [sys.executable, "-c", PEAK, sys.executable, "-m", "gencore.cli", *words]
    most = 1024 * int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    sys.stdout.write(f"peak memory of gencore translate, 4000x3000 to 8000x6000: {most / 2**30:.2f} GiB\n")
    with Image.open(tmp_path / "out.png") as made:
        assert made.size == (8000, 6000)
    assert most < MOST
