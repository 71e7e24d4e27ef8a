"""Pictures from a folder of JPEGs: CPU time of decoding, of reading decoded ones, and of torchvision's way.

torchvision's `ImageFolder` with Resize, CenterCrop, ToTensor and Normalize, written out as its source does it:
there is no torchvision beside the tested torch. All contestants run in one process; by CPU time, the workers of a
DataLoader or the threads of a trainer would change the wall clock of each alike.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gencore.data import image_folder

COUNT = 64


def write_photographs(folder: Path) -> list[Path]:
    """Smooth noise of 500 x 400 pixels, JPEGs of quality 90 (about 60 kB each, as photographs of that size have)."""
    random = np.random.default_rng(0)
    paths = [folder / f"{i}.jpg" for i in range(COUNT)]
    for path in paths:
        coarse = Image.fromarray(random.integers(0, 256, (50, 63, 3), dtype=np.uint8))
        coarse.resize((500, 400), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def torchvisions(path: Path, size: int) -> torch.Tensor:
    """One picture: bilinear, antialiased, the shorter side to `size`, the middle of it, to [-1, 1]."""
    with open(path, "rb") as file, Image.open(file) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    short = min(width, height)
    image = image.resize((size * width // short, size * height // short), Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in image.size)
    image = image.crop((left, top, left + size, top + size))
    x = torch.from_numpy(np.array(image, copy=True)).permute(2, 0, 1).contiguous().float().div(255)
    return (x - 0.5) / 0.5


@pytest.mark.parametrize("size", [64, 256])
def test_pictures(race: Any, tmp_path: Path, size: int) -> None:
    """Bar: at least torchvision's speed, from the second epoch on with a cache, and without one."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    paths = write_photographs(folder)
    rows = torch.arange(COUNT)
    plain, kept = image_folder(folder, size), image_folder(folder, size).decoded_in(tmp_path / "kept")
    expected = plain.fetch(rows)["x"]
    contestants: dict[str, Callable[[], torch.Tensor]] = {
        "gencore, cache": lambda: kept.fetch(rows)["x"],
        "gencore, decoding": lambda: plain.fetch(rows)["x"],
        "torchvision's way": lambda: torch.stack([torchvisions(path, size) for path in paths]),
    }
    race(
        "pictures from JPEGs",
        f"{COUNT} of 500 x 400 to {size}",
        contestants,
        error=lambda x: (x - expected).abs().mean(),
        error_unit="mean absolute difference from gencore's",
        tests="tests/core/data/sources",
    )
