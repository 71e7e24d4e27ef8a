"""Squares cut at random from a folder of pictures of any sizes, at their own resolution: for restoration.

A picture is decoded whole when a square of it is fetched, and let go again, so that a folder may be larger than memory;
batches are read ahead by threads. Where a square lies is a function of (seed, epoch, index) alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor

from gencore.conditions import Condition
from gencore.data.decode import read_square, upright_size
from gencore.data.images import from_uint8
from gencore.data.options import OpenOptions
from gencore.data.ranges import DataRange
from gencore.data.source import Batch, check_indices
from gencore.data.sources.folder import ImageFolder, image_folder
from gencore.data.streams import Use, derived_seed, permutation, raw
from gencore.errors import GencoreError

MOST = 64
"""Squares of a picture in one epoch, at most; else as many as its area holds."""
DEFAULT_SIDE = 64


class Squares:
    """What `squares` returns. Example i is a square of picture `picture[i]`; fetched by plain positions, always the
    same one; by rows of the order, (N, 2), that of the epoch."""

    num_classes = None
    conditions: tuple[Condition, ...] = ()
    read_ahead = True

    def __init__(self, folder: ImageFolder, sizes: Sequence[tuple[int, int]]) -> None:
        side = folder.how.size
        counts = torch.tensor([min(MOST, (width // side) * (height // side)) for width, height in sizes])
        self.folder, self.sizes = folder, sizes
        self.picture = torch.arange(len(sizes)).repeat_interleave(counts)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.folder.shape

    @property
    def name(self) -> str:
        return f"squares of the pictures in {self.folder.root}"

    @property
    def digest(self) -> str:
        """That of the folder."""
        return self.folder.digest

    def __len__(self) -> int:
        return len(self.picture)

    def order(self, seed: int, epoch: int) -> Tensor:
        """Every example once, with a number for (seed, epoch) as the second column."""
        draw = derived_seed(derived_seed(seed, epoch), Use.TABLE) >> 1  # int64 has one bit less
        rows = permutation(len(self), seed, epoch)
        return torch.stack([rows, torch.full_like(rows, draw)], 1)

    def fetch(self, indices: Tensor) -> Batch:
        if indices.ndim == 1:
            indices = torch.stack([indices, torch.zeros_like(indices)], 1)
        index, draws = indices.unbind(1)
        check_indices(index, len(self))
        squares = np.stack([self._square(i, draw) for i, draw in zip(index.tolist(), draws.tolist(), strict=True)])
        return {
            "x": from_uint8(rearrange(torch.from_numpy(squares), "n h w c -> n c h w").contiguous()),
            "index": index,
        }

    def _square(self, index: int, draw: int) -> npt.NDArray[np.uint8]:
        number, how = int(self.picture[index]), self.folder.how
        down, across = (int(word) for word in raw(draw, index, 2, Use.TABLE))
        width, height = self.sizes[number]
        place = (across % (width - how.size + 1), down % (height - how.size + 1))
        return read_square(self.folder.paths[number], how, place)


def squares(
    path: str | os.PathLike[str],
    side: int,
    *,
    channels: int | None = None,
    skip_corrupt: bool = False,
    data_range: DataRange | None = None,
) -> Squares:
    """Squares of `side` pixels from every picture under `path` (as image_folder finds and reads them), without labels.

    Raises GencoreError for pictures smaller than that, and what image_folder raises.
    """
    folder = image_folder(Path(path), side, channels, skip_corrupt, data_range=data_range, labels=False)
    sizes = [upright_size(file) for file in folder.paths]
    small = [i for i, size in enumerate(sizes) if min(size) < side]
    if small:
        width, height = sizes[small[0]]
        raise GencoreError(
            f"{len(small)} of {len(sizes)} pictures in {folder.root} are too small to cut squares of {side} pixels "
            f"from, such as {folder.paths[small[0]].name} ({width} x {height}). Remove them, or take smaller squares."
        )
    return Squares(folder, sizes)


def open_squares(directory: str, options: OpenOptions) -> Squares:
    """`squares` of a folder, of options.image_size pixels (64 where nothing is said). Raises GencoreError."""
    root = os.path.expanduser(directory)
    if not directory or not os.path.isdir(root):
        raise GencoreError(f"squares:{directory} names no folder. Write squares:DIR.")
    if options.column is not None:
        raise GencoreError(f"condition is {options.column!r}, but squares:DIR takes none. Leave it out.")
    side = DEFAULT_SIDE if options.image_size is None else options.image_size
    return squares(
        root, side, channels=options.channels, skip_corrupt=options.skip_corrupt, data_range=options.data_range
    )
