"""Solid shapes of voxels: .binvox files, .npy and .npz arrays.

key     shape, dtype
x       (N, 1, size, size, size) float32 in [0, 1], how far each voxel is filled; axes z (up), y, x
label   (N,) int64, where a folder's sub-folders are classes, or a .npz file has labels

binvox (P. Min, https://www.patrickmin.com/binvox/binvox.html): lines of text, "#binvox 1", "dim D D D", perhaps
"translate x y z" and "scale s", "data"; then pairs of bytes, a value and how often it follows, y running fastest, then
z, then x. As its viewer and ShapeNet have it, y points up: it becomes our first axis, its z, turned round so that
nothing is mirrored, our second, its x our third.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import adaptive_max_pool3d

from gencore.conditions import ClassLabel
from gencore.data.opening_rules import refuse, shorten
from gencore.data.options import OpenOptions
from gencore.data.ranges import finite_bounds
from gencore.data.regular import open_regular
from gencore.data.source import check_labels
from gencore.data.sources.array_files import map_npy, read_npz
from gencore.data.sources.listing import natural_key, shown
from gencore.data.sources.memory import InMemory
from gencore.errors import GencoreError

MAX_SIDE = 1024
MAX_BYTES = 2**31


def read_binvox(path: Path) -> Tensor:
    """A .binvox file as (size, size, size) uint8 in {0, 1}, axes as in this module's head.

    Raises GencoreError, which says what, for a file that is missing, damaged or cut short, and for grids that are no
    cube or have more than MAX_SIDE voxels a side.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise GencoreError(f"{path} does not exist.") from error
    except OSError as error:
        raise GencoreError(f"{path} cannot be read: {error}.") from error
    side, start = _binvox_header(data, path)
    pairs = np.frombuffer(data, np.uint8, offset=start)
    if len(pairs) % 2 or len(data) > MAX_BYTES:
        raise GencoreError(f"{path} is cut short: its values come in pairs of bytes, and {len(pairs)} bytes follow.")
    values, counts = pairs[::2], pairs[1::2]
    if (values > 1).any():
        raise GencoreError(f"{path} has the value {int(values.max())}; expected 0 and 1.")
    if (total := int(counts.sum(dtype=np.int64))) != side**3:
        raise GencoreError(f"{path} has {total} voxels; expected {side} x {side} x {side}, as its header says.")
    grid = torch.from_numpy(np.repeat(values, counts))
    return rearrange(grid, "(x z y) -> y z x", x=side, z=side).flip(1)


def _binvox_header(data: bytes, path: Path) -> tuple[int, int]:
    """The side of the grid, and where its values begin."""
    lines, place = list[list[bytes]](), 0
    while not lines or lines[-1] != [b"data"]:
        end = data.find(b"\n", place, place + 256)
        if end < 0 or len(lines) > 16:
            raise GencoreError(f"{path} is no binvox file: its header has no end; expected #binvox 1, dim, data.")
        lines.append(data[place:end].split())
        place = end + 1
    known = {line[0]: line[1:] for line in lines if line}
    if lines[0][:1] != [b"#binvox"] or lines[0][1:] != [b"1"]:
        raise GencoreError(f"{path} begins with {shorten(data[:16])}; expected #binvox 1.")
    sides = [int(word) for word in known.get(b"dim", ()) if word.isdigit() and len(word) <= 6]
    if len(sides) != 3 or len(set(sides)) != 1 or not 1 <= sides[0] <= MAX_SIDE:
        told = b" ".join(known.get(b"dim", ())).decode("latin-1")
        raise GencoreError(f"{path} has the dim {shorten(told)}; expected three equal numbers up to {MAX_SIDE}.")
    return sides[0], place


def open_volumes(argument: str, options: OpenOptions) -> InMemory:
    """volumes:PATH, a .binvox, .npy or .npz file or a folder of .binvox files; image_size makes grids smaller, a voxel
    being filled as far as the fullest of those that it takes the place of.

    Raises GencoreError: no such file, as read_binvox, arrays of another shape, grids of different sizes, image_size
    above the grids' size, and for options of pictures.
    """
    refuse(options, f"volumes:{argument}", "skip_corrupt", "data_range", "column")
    path = Path(os.path.expanduser(argument))
    if argument and path.is_dir():
        grids, label, names = _folder(path, options)
    elif path.suffix.lower() == ".binvox":
        grids, label, names = _stacked([path], options), None, ()
    elif path.suffix.lower() in (".npy", ".npz"):
        grids, label, names = _array(path, options)
    else:
        raise GencoreError(
            f"volumes:{shorten(argument)} is not understood; expected a .binvox, .npy or .npz file, or a folder of "
            ".binvox files."
        )
    x, name = rearrange(grids, "n z y x -> n 1 z y x").contiguous(), f"volumes in {path}"
    if label is None:
        return InMemory(x=x, name=name)
    count = len(names) or int(label.max()) + 1
    check_labels(label, count, name)
    kind = ClassLabel(count=count, names=names)
    return InMemory(x=x, label=label, num_classes=count, class_names=names, conditions=(kind,), name=name)


def _folder(root: Path, options: OpenOptions) -> tuple[Tensor, Tensor | None, tuple[str, ...]]:
    """Grids of all .binvox files below it; classes where all lie exactly one level down, in two folders or more."""
    files = [path for path in root.rglob("*") if path.suffix.lower() == ".binvox"]
    if not files:
        raise GencoreError(f"{root} holds no .binvox files.")
    files.sort(key=lambda path: [natural_key(part) for part in path.relative_to(root).parts])
    depths = {len(path.relative_to(root).parts) for path in files}
    names = tuple(sorted({path.relative_to(root).parts[0] for path in files}, key=natural_key))
    if depths != {2} or len(names) < 2:
        return _stacked(files, options), None, ()
    label = torch.tensor([names.index(path.relative_to(root).parts[0]) for path in files])
    return _stacked(files, options), label, names


def _stacked(files: list[Path], options: OpenOptions) -> Tensor:
    grids: list[Tensor] = []
    for file in files:
        grid = _sized(read_binvox(file)[None].float(), options, str(file))
        if grids and grid.shape != grids[0].shape:
            raise GencoreError(
                f"{file} has {grid.shape[-1]} voxels a side and {files[0]} has {grids[0].shape[-1]}; expected one "
                "size. Say which: image_size=32 (--image-size 32)."
            )
        grids.append(grid)
    return torch.cat(grids)


def _array(path: Path, options: OpenOptions) -> tuple[Tensor, Tensor | None, tuple[str, ...]]:
    if path.suffix.lower() == ".npy":
        members: dict[str, Any] = {"x": map_npy(path)}
    else:
        members = read_npz(path, lambda name: name in ("x", "label"))
    x = members.get("x")
    if x is None:
        raise GencoreError(f"{path} has no member x, only {shown(members)}; expected the grids as x.")
    shape = x.shape[:1] + x.shape[2:] if x.ndim == 5 and x.shape[1] == 1 else x.shape
    if len(shape) != 4 or not min(shape) or len(set(shape[1:])) != 1 or x.dtype.kind not in "biuf":
        raise GencoreError(f"{path} is {x.shape} {x.dtype}; expected grids (N, S, S, S) or (N, 1, S, S, S) of numbers.")
    grids = torch.from_numpy(np.array(x, np.float32).reshape(shape))
    low, high = finite_bounds(grids, str(path))
    if low < 0 or high > 1:
        raise GencoreError(f"{path} has values from {low:g} to {high:g}; expected [0, 1], how far voxels are filled.")
    label = members.get("label")
    if label is not None and (label.dtype.kind not in "iu" or label.ndim != 1):
        raise GencoreError(f"{path}: label is {label.shape} {label.dtype}; expected ({len(grids)},) integers from 0.")
    label = None if label is None or not options.labels else torch.from_numpy(label.astype(np.int64))
    return _sized(grids, options, str(path)), label, ()


def _sized(grids: Tensor, options: OpenOptions, what: str) -> Tensor:
    """Grids (N, S, S, S) with image_size voxels a side, where that is given."""
    size, side = options.image_size, grids.shape[-1]
    if size is None or size == side:
        return grids
    if not 1 <= size < side:
        raise GencoreError(f"image_size is {size}, but {what} has {side} voxels a side; expected as many, or fewer.")
    return adaptive_max_pool3d(grids[:, None], size)[:, 0]


def three_views(x: Tensor) -> Tensor:
    """Grids (N, 1, S, S, S) in [0, 1] as pictures (N, 1, S, 3 S) in [-1, 1]: from the front, the side and above.

    A pixel is the brightest of the voxels behind it, each as bright as it is filled, the farthest at 0.3 of that.
    Raises GencoreError for another shape.
    """
    if x.ndim != 5 or x.shape[1] != 1 or len(set(x.shape[2:])) != 1:
        raise GencoreError(f"got {tuple(x.shape)}; expected cubic grids (N, 1, S, S, S).")
    light = torch.linspace(1.0, 0.3, x.shape[-1], device=x.device)
    up = x[:, 0].clamp(0, 1).flip(1)  # rows run down, z runs up
    front = (up * rearrange(light, "y -> y 1")).amax(2)
    side = (up.flip(3) * light).amax(3)
    above = (up * rearrange(light, "z -> z 1 1")).amax(1).flip(1)
    return rearrange(torch.stack([front, side, above]), "v n h w -> n 1 h (v w)") * 2 - 1
