"""Crops of the two photographs that come inside scikit-learn: real texture without a network.

China (a temple) and flower are shrunk by 2 first, antialiased: as stored they are soft (Bayer filter, JPEG), and there
would be nothing to restore. Training crops come from the left three quarters of each photograph, test crops from the
right quarter: they share no pixel of the file. `rendered.with_input` puts a degraded copy beside them.

key     shape, dtype
x       (N, C, size, size) float32 in [-1, 1]; C is 3, or 1 for BT.601 luma; mirrored half the time
label   (N,) int64, the photograph: an index into PHOTOGRAPHS
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from gencore.conditions import ClassLabel
from gencore.data.images import from_uint8
from gencore.data.toys import draws
from gencore.data.toys.degradations import downsample, grey
from gencore.data.toys.rendered import Rendered, check_size, first_indices
from gencore.errors import GencoreError

PHOTOGRAPHS = ("china", "flower")
TRAIN_PART = 0.75

_PHOTOGRAPH, _TOP, _LEFT, _MIRROR = range(4)


@functools.cache
def _pixels(name: str) -> Tensor:
    """The file, (3, 427, 640) uint8. Raises GencoreError where scikit-learn is not installed."""
    # Read beside the package, not through it: importing scikit-learn takes seconds and moves Python's random state.
    spec = importlib.util.find_spec("sklearn")
    file = Path(spec.origin).parent / "datasets" / "images" / f"{name}.jpg" if spec and spec.origin else None
    if file is None or not file.is_file():
        raise GencoreError(
            f"The photograph {name}.jpg comes with scikit-learn, which is not installed, or without it. Run: "
            "pip install scikit-learn (or gencore[eval])."
        )
    with Image.open(file) as picture:
        return rearrange(torch.from_numpy(np.array(picture)), "h w c -> c h w")


@functools.cache
def region(name: str, split: str = "train", shrink: int = 2) -> Tensor:
    """The part of a photograph that a split may see, (3, H, W) float32 in [-1, 1], `shrink` times smaller."""
    if not isinstance(shrink, int) or shrink < 1:
        raise GencoreError(f"shrink is {shrink}; expected an integer, at least 1.")
    file = _pixels(name)
    height, cut = file.shape[1] // shrink * shrink, round(file.shape[2] * TRAIN_PART)
    columns = file[:, :height, :cut] if split == "train" else file[:, :height, cut:]
    strip = from_uint8(columns[..., : columns.shape[2] // shrink * shrink]).double()
    return downsample(strip[None], shrink)[0].clamp(-1, 1).float()


def grid_crops(size: int = 32, *, channels: int = 3, split: str = "test", shrink: int = 2) -> tuple[Tensor, Tensor]:
    """All crops of a split on a grid without overlap, to judge by: (N, channels, size, size), and (N,) int64 labels."""
    crops = []
    for strip in _regions(size, channels, split, shrink):
        rows, columns = (side // size for side in strip.shape[-2:])
        whole = strip[:, : rows * size, : columns * size]
        crops.append(rearrange(whole, "c (r h) (q w) -> (r q) c h w", r=rows, q=columns))
    return torch.cat(crops), torch.repeat_interleave(torch.tensor([len(c) for c in crops]))


def photos(
    num_examples: int = 6000,
    *,
    size: int = 32,
    channels: int = 3,
    seed: int = 0,
    split: str = "train",
    shrink: int = 2,
) -> Rendered:
    """Random crops, overlapping, of the photographs. Raises GencoreError: bad values, scikit-learn not installed."""
    index, seed = first_indices(num_examples), draws.split_seed(seed, split)
    strips = _regions(size, channels, split, shrink)
    label = draws.integers(seed, index, _PHOTOGRAPH, len(PHOTOGRAPHS))
    height, width = strips[0].shape[-2:]
    top = draws.integers(seed, index, _TOP, height - size + 1)
    left = draws.integers(seed, index, _LEFT, width - size + 1)
    windows = torch.stack(strips).unfold(2, size, 1).unfold(3, size, 1)
    crops = windows[label, :, top, left]
    mirrored = draws.uniform(seed, index, _MIRROR) < 0.5
    x = torch.where(rearrange(mirrored, "n -> n 1 1 1"), crops.flip(-1), crops)
    return Rendered(
        x=x,
        further={"label": label},
        num_classes=len(PHOTOGRAPHS),
        conditions=(ClassLabel(count=len(PHOTOGRAPHS), names=PHOTOGRAPHS),),
        name=f"photographs, {size} x {size} ({split})",
    )


def _regions(size: int, channels: int, split: str, shrink: int) -> list[Tensor]:
    """The regions of all photographs, which are equally large, each (channels, H, W)."""
    if channels not in (1, 3):
        raise GencoreError(f"channels is {channels}; expected 1 or 3.")
    draws.split_seed(0, split)
    check_size(size, 1)
    strips = [region(name, split, shrink) for name in PHOTOGRAPHS]
    most = min(strips[0].shape[-2:])
    if size > most:
        raise GencoreError(f"size is {size}; expected at most {most}, what the {split} part holds.")
    return [grey(strip[None])[0] if channels == 1 else strip for strip in strips]
