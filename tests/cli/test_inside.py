"""`gencore nearest`, `codebook` and `steps`, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import gencore
from gencore.cli.app import app
from gencore.data import digits
from gencore.data.images import read_image
from gencore.errors import GencoreError
from tests.cli.running import run


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    small = {"data_shape": [1, 8, 8], "num_codes": 8, "code_dim": 4, "width": 8, "prior_width": 8, "prior_layers": 1}
    gencore.create("vq-vae", **small).save_pretrained(folder / "vq")
    gencore.create("ddpm", data_shape=[1, 8, 8]).save_pretrained(folder / "ddpm")
    gencore.create("gan", hidden=[8]).save_pretrained(folder / "gan")
    return folder


def cell(file: Path, row: int, column: int, side: int = 8) -> torch.Tensor:
    """One picture of a grid."""
    top, left = (2 + place * (side + 2) for place in (row, column))
    return read_image(file)[:, top : top + side, left : left + side]


def test_nearest_examples_stand_beside_each_sample(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "nearest.png"
    said = run(app, "nearest", models / "gan", "--data", "digits", "-n", 3, "-k", 2, "--seed", 5, "-o", out)
    with Image.open(out) as image:
        assert image.size == (3 * 10 + 2, 3 * 10 + 2)
    samples = gencore.from_pretrained(models / "gan").sample(3, seed=5)
    x = digits("train").x
    gaps = (samples[:, None] - x[None]).square().flatten(2).mean(2).sqrt()
    for row in range(3):
        torch.testing.assert_close(cell(out, row, 0), samples[row], atol=0.01, rtol=0)
        torch.testing.assert_close(cell(out, row, 1), x[gaps[row].argmin()], atol=0.01, rtol=0)
    assert f"{gaps[0].min():.3g}" in said


def test_codes_are_drawn_by_use(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "codebook.png"
    said = run(app, "codebook", models / "vq", "-o", out)
    model = gencore.from_pretrained(models / "vq")
    with torch.no_grad():
        counts = model.encode(digits("test").x).flatten().bincount(minlength=8)
        most = int(counts.argmax())
        drawn = model.generate(torch.full((1, 2, 2), most))[0].clamp(-1, 1)
    torch.testing.assert_close(cell(out, 0, 0), drawn, atol=0.01, rtol=0)
    assert f"the most used first: {most}," in said
    assert f"{int((counts > 0).sum())} of 8 are used" in said


def test_steps_end_in_the_sample(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "steps.png"
    run(app, "steps", models / "ddpm", "-n", 1, "--frames", 4, "--steps", 12, "--seed", 3, "-o", out)
    with Image.open(out) as image:
        assert image.size == (4 * 10 + 2, 2 * 10 + 2)
    sample = gencore.from_pretrained(models / "ddpm").sample(1, seed=3, steps=12)[0]
    torch.testing.assert_close(cell(out, 1, 3), sample.clamp(-1, 1), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nearest", "gan", "--data", "digits", "-o", "x.jpg"), "png"),
        (("nearest", "gan", "--data", "digits", "-k", 0), "k"),
        (("codebook", "gan"), "no single codebook"),
        (("steps", "gan"), "no steps to draw"),
        (("steps", "ddpm", "--frames", 1), "frames"),
    ],
)
def test_bad_arguments(models: Path, words: tuple, message: str) -> None:
    with pytest.raises(GencoreError, match=message):
        run(app, words[0], models / words[1], *words[2:])
