"""Squares of pictures of mixed sizes: at their own resolution, anew in each epoch, the same from the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gencore.data import Batches, check_batch, fingerprint, open_source
from gencore.data.sources.squares import MOST, squares
from gencore.errors import GencoreError
from gencore.training.run import RunSettings, open_data

SIZES = {"a.png": (40, 24), "b.png": (300, 200), "sub/c.png": (16, 16)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that tell their places: red is the column, green the row, blue the picture."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "sub").mkdir()
    for number, (name, (width, height)) in enumerate(SIZES.items()):
        down, across = np.meshgrid(np.arange(height) % 256, np.arange(width) % 256, indexing="ij")
        pixels = np.stack([across, down, np.full_like(down, 80 * number)], 2).astype(np.uint8)
        Image.fromarray(pixels).save(root / name)
    return root


def places(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Column and row of the first pixel, and the picture's number."""
    pixels = ((x + 1) * 127.5).round().long()
    steps = pixels[:, 0, :, 1:] - pixels[:, 0, :, :-1]
    assert bool(((steps == 1) | (steps == -255)).all()), "cut at its own resolution"
    return pixels[:, 0, 0, 0], pixels[:, 1, 0, 0], pixels[:, 2, 0, 0] // 80


def test_a_picture_has_as_many_squares_as_its_area_holds(folder: Path) -> None:
    """3 x 2 squares of 12 of the first, 25 x 16 (but 64 at most) of the second, one of the third."""
    source = squares(folder, 12)
    assert torch.bincount(source.picture).tolist() == [6, MOST, 1]
    batch = source.fetch(torch.arange(len(source)))
    check_batch(batch, source)
    assert torch.equal(places(batch["x"])[2], source.picture)


def test_every_epoch_cuts_anew_and_everywhere(folder: Path) -> None:
    """Rows of one (seed, epoch) are the same each time; over some epochs all places of a small picture are met."""
    source = squares(folder, 12)
    first, again = (source.fetch(source.order(0, 0)) for _ in range(2))
    assert torch.equal(first["x"], again["x"])
    second = source.fetch(source.order(0, 1))
    assert not torch.equal(first["x"][first["index"].argsort()], second["x"][second["index"].argsort()])
    met = set()
    for epoch in range(60):
        rows = source.order(1, epoch)
        column, row, _ = places(source.fetch(rows[source.picture[rows[:, 0]] == 2])["x"])
        met |= {*zip(column.tolist(), row.tolist(), strict=True)}
    assert len(met) > 15
    assert max(max(place) for place in met) == 4, "16 - 12"


def test_batches_are_read_ahead(folder: Path) -> None:
    """By threads, to the bit what is fetched at once."""
    batches = Batches(squares(folder, 12), 4, seed=0)
    stream = batches.prefetch()
    for number in range(3):
        assert torch.equal(next(stream)["x"], batches[number]["x"])
    stream.close()


def test_pictures_are_upright(tmp_path: Path) -> None:
    """A picture that is to be turned by its tag has its sides exchanged."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10), (200, 0, 0)).save(tmp_path / "a.jpg", exif=exif)
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[:, 15:] = 255
    Image.fromarray(pixels).save(tmp_path / "b.png", exif=exif)
    source = squares(tmp_path, 10)
    assert source.sizes == [(10, 20), (10, 20)]
    x = source.fetch(torch.arange(len(source)))["x"][source.picture == 1]
    rows = x[:, 0].mean(2)
    assert bool((x[:, 0] == rows[:, :, None]).all()), "the stripe lies across"


def test_words_and_systems(folder: Path) -> None:
    """squares:DIR by name; a system that cuts squares takes a folder of mixed sizes as it is, others refuse it."""
    named = open_source(f"squares:{folder}", image_size=12)
    assert named.shape == (3, 12, 12)
    taken = open_data(RunSettings(system="srgan", data=str(folder), set=("crop=12",)))
    assert fingerprint(taken) == fingerprint(named)
    resized = open_data(RunSettings(system="srgan", data=str(folder), image_size=16))
    assert len(resized) == 3
    with pytest.raises(GencoreError, match="squares:DIR"):
        open_data(RunSettings(system="vae", data=str(folder)))


def test_refusals(folder: Path) -> None:
    """Pictures that are too small; no folder; a column of metadata."""
    with pytest.raises(GencoreError, match=r"1 of 3 pictures .* such as c.png \(16 x 16\)"):
        squares(folder, 17)
    with pytest.raises(GencoreError, match="names no folder"):
        open_source("squares:nowhere")
    with pytest.raises(GencoreError, match="condition is 'hair'"):
        open_source(f"squares:{folder}", condition="hair")
