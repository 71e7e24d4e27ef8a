"""A folder of images of any size and mode, decoded when they are fetched."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from gencore.data.decode import Decoding, Header, UnreadableImageError, read_header, read_pixels
from gencore.data.images import from_uint8
from gencore.data.source import Batch, check_indices
from gencore.errors import GencoreError

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
WORKERS = 4
NAMED = 20
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageFolder:
    """What image_folder returns. `class_names[k]` is the sub-folder of label k; `skipped` the files left out."""

    paths: tuple[Path, ...]
    shape: tuple[int, int, int]
    name: str
    label: Tensor | None
    class_names: tuple[str, ...]
    skipped: tuple[Path, ...]
    read_ahead: ClassVar[bool] = True

    @property
    def num_classes(self) -> int | None:
        return len(self.class_names) or None

    def __len__(self) -> int:
        return len(self.paths)

    def fetch(self, indices: Tensor) -> Batch:
        check_indices(indices, len(self))
        channels, size, _ = self.shape
        pixels = np.stack([read_pixels(self.paths[i], Decoding(channels, size)) for i in indices.tolist()])
        batch = {
            "x": from_uint8(rearrange(torch.from_numpy(pixels), "n h w c -> n c h w").contiguous()),
            "index": indices,
        }
        if self.label is not None:
            batch["label"] = self.label[indices]
        return batch


def image_folder(
    path: str | os.PathLike[str],
    image_size: int | None = None,
    channels: int | None = None,
    skip_corrupt: bool = False,
) -> ImageFolder:
    """Every image under `path`, at any depth, sorted by path, as a source of shape (channels, image_size, image_size).

    Files are known by their suffix (SUFFIXES); other files, and names that begin with a dot, are no part of the data.
    How a file is decoded: gencore.data.decode. If every image lies exactly one level down, in two or more sub-folders,
    these are the labels, numbered in the order of their names; otherwise there are none.

    image_size: None is allowed where all files are squares of one size. channels: None is 1 if every file is grey by
    its header, else 3. Headers are read here; a file that is broken further down raises UnreadableImageError when it
    is fetched. With skip_corrupt all files are decoded here, once; broken ones are named in a warning and left out, so
    that the length stays fixed.

    Raises GencoreError: no such folder, no images, all of them unreadable, sizes that differ without image_size;
    UnreadableImageError, a GencoreError, naming the files.
    """
    root = Path(os.path.expanduser(path))
    if image_size is not None and image_size < 1:
        raise GencoreError(f"image_size is {image_size}; expected at least 1.")
    if channels not in (None, 1, 3):
        raise GencoreError(f"channels is {channels}; expected 1, 3 or None.")
    files = tuple(_list(root, ()))
    if not files:
        raise GencoreError(f"{root} holds no images. Names that end in {' '.join(sorted(SUFFIXES))} are looked for.")
    headers, broken = _sift(files, read_header)
    if broken and not skip_corrupt:
        raise _unreadable(broken)
    if headers:
        size = image_size or _common_size(headers, root)
        num_channels = channels or (1 if all(header.grey for header in headers.values()) else 3)
    if headers and skip_corrupt:
        whole, further = _sift(tuple(headers), lambda file: read_pixels(file, Decoding(num_channels, size)).size)
        headers, broken = {file: headers[file] for file in whole}, [*broken, *further]
    if not headers:
        raise GencoreError(f"none of the {len(files)} images in {root} can be read:\n{_named(broken)}")
    if broken:
        warnings.warn(f"{len(broken)} of {len(files)} images left out:\n{_named(broken)}", stacklevel=2)
    label, class_names = _labels(tuple(headers), root)
    return ImageFolder(
        paths=tuple(headers),
        shape=(num_channels, size, size),
        name=f"image folder {root}",
        label=label,
        class_names=class_names,
        skipped=tuple(sorted(error.path for error in broken)),
    )


def _list(folder: Path, ancestors: tuple[str, ...]) -> Iterator[Path]:
    """Images under `folder` in sorted order; links are followed, but not in circles."""
    here = os.path.realpath(folder)
    if here in ancestors:
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise GencoreError(f"{folder} cannot be listed: {error.strerror}. Name a folder of images.") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _list(Path(entry.path), (*ancestors, here))
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            yield Path(entry.path)


def _sift(files: Sequence[Path], read: Callable[[Path], T]) -> tuple[dict[Path, T], list[UnreadableImageError]]:
    """What `read` returns for each file, in order, and the errors of those that are unreadable. In threads."""

    def attempt(file: Path) -> T | UnreadableImageError:
        try:
            return read(file)
        except UnreadableImageError as error:
            return error

    good: dict[Path, T] = {}
    bad: list[UnreadableImageError] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for file, result in zip(files, pool.map(attempt, files), strict=True):
            if isinstance(result, UnreadableImageError):
                bad.append(result)
            else:
                good[file] = result
    return good, bad


def _named(broken: Sequence[UnreadableImageError]) -> str:
    lines = [f"  {error.path}: {error.reason}" for error in broken[:NAMED]]
    return "\n".join(lines + ([f"  and {len(broken) - NAMED} more"] if len(broken) > NAMED else []))


def _unreadable(broken: Sequence[UnreadableImageError]) -> UnreadableImageError:
    first = broken[0]
    if len(broken) == 1:
        return first
    return UnreadableImageError(first.path, f"{first.reason}; {len(broken)} files in all:\n{_named(broken)}\n")


def _common_size(headers: dict[Path, Header], root: Path) -> int:
    sizes = {(header.width, header.height) for header in headers.values()}
    width, height = min(sizes)
    if len(sizes) > 1 or width != height:
        shown = ", ".join(f"{w} x {h}" for w, h in sorted(sizes)[:3])
        raise GencoreError(
            f"the images in {root} are not squares of one size ({shown}{', ...' if len(sizes) > 3 else ''}). Say which "
            "size they shall have: image_size=32 (--image-size 32)."
        )
    return width


def _labels(files: Sequence[Path], root: Path) -> tuple[Tensor | None, tuple[str, ...]]:
    parents = [file.relative_to(root).parts[:-1] for file in files]
    names = tuple(sorted({parts[0] for parts in parents if len(parts) == 1}))
    if len(names) < 2 or any(len(parts) != 1 for parts in parents):
        return None, ()
    number = {name: k for k, name in enumerate(names)}
    return torch.tensor([number[parts[0]] for parts in parents]), names
