"""A folder of images of any size and mode, decoded when they are fetched."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from gencore.conditions import ClassLabel, Condition
from gencore.data.decode import (
    Decoding,
    Half,
    Header,
    UnreadableImageError,
    read_header,
    read_peak,
    read_pixels,
    upright_size,
)
from gencore.data.images import from_uint8
from gencore.data.ranges import DataRange, check_peak, check_range, is_dark
from gencore.data.source import Batch, check_indices
from gencore.data.sources.classes import class_names, labels_of_files
from gencore.data.sources.decoded import Pixels, decoded
from gencore.data.sources.listing import Listing, list_pictures, shown, suffixes
from gencore.data.sources.metadata import condition_from, find_metadata, in_square, read_metadata
from gencore.errors import GencoreError
from gencore_hub import foreign

WORKERS = 4
NAMED = 20
PROBED = 64
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageFolder:
    """What image_folder returns. `class_names[k]` is the sub-folder of label k; `skipped` the files left out.

    `further` holds what a file of metadata says, by key: the tensors of `described`, the conditions that it gives, and
    box (N, 4) float32, x0, y0, x1, y1, and keypoints (N, K, 3) float32, x, y, visible, both in pixels of x.
    """

    root: Path
    paths: tuple[Path, ...]
    how: Decoding
    label: Tensor | None
    class_names: tuple[str, ...]
    skipped: tuple[Path, ...]
    described: tuple[Condition, ...] = ()
    further: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    cached: Pixels | None = None
    """The pixels of all paths, where they were decoded before (gencore.data.sources.decoded)."""
    read_ahead: ClassVar[bool] = True

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.how.channels, self.how.size, self.how.size)

    @property
    def num_classes(self) -> int | None:
        return len(self.class_names) or None

    @property
    def conditions(self) -> tuple[Condition, ...]:
        labels = (ClassLabel(count=len(self.class_names), names=self.class_names),) if self.class_names else ()
        return (*self.described, *labels)

    @property
    def keys(self) -> tuple[str, ...]:
        """box and keypoints, where metadata say them."""
        return tuple(self.further)

    @property
    def name(self) -> str:
        return f"image folder {self.root}" + (f", {self.how.half} halves" if self.how.half else "")

    @property
    def digest(self) -> str:
        """sha256 of the files' names, as seen from the folder, and sizes."""
        lines = [f"{path.relative_to(self.root).as_posix()}\0{_size(path)}\n" for path in self.paths]
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def __len__(self) -> int:
        return len(self.paths)

    def chosen(self, indices: Sequence[int]) -> ImageFolder:
        """Some of the files, in that order."""
        rows = torch.tensor(list(indices))
        return dataclasses.replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            label=None if self.label is None else self.label[rows],
            cached=None if self.cached is None else self.cached[rows.numpy()],
            further={key: value[rows] for key, value in self.further.items()},
        )

    def decoded_in(self, directory: str | os.PathLike[str]) -> ImageFolder:
        """The same, decoded once: the pixels are read from one file in the directory, by later runs too, as long as
        the pictures do not change. Raises what gencore.data.sources.decoded.decoded raises."""
        place = Path(os.path.expanduser(directory))
        return dataclasses.replace(self, cached=decoded(self.paths, self.root, self.how, place, workers=WORKERS))

    def fetch(self, indices: Tensor) -> Batch:
        check_indices(indices, len(self))
        if self.cached is None:
            pixels = np.stack([read_pixels(self.paths[i], self.how) for i in indices.tolist()])
        else:
            pixels = self.cached[indices.numpy()]
        batch = {
            "x": from_uint8(rearrange(torch.from_numpy(pixels), "n h w c -> n c h w").contiguous()),
            "index": indices,
        }
        if self.label is not None:
            batch["label"] = self.label[indices]
        return batch | {key: value[indices] for key, value in self.further.items()}


def image_folder(
    path: str | os.PathLike[str],
    image_size: int | None = None,
    channels: int | None = None,
    skip_corrupt: bool = False,
    *,
    data_range: DataRange | None = None,
    labels: bool = True,
    condition: str | None = None,
    half: Half | None = None,
) -> ImageFolder:
    """Every image under `path`, at any depth, in natural order, as a source of shape (channels, size, size).

    Files are known by their suffix: those that Pillow decodes. Other files are counted in a warning; names that begin
    with a dot are no part of the data. How a file is decoded: gencore.data.decode. If every image lies exactly one
    level down, in two or more sub-folders, these are the labels (gencore.data.sources.classes); labels=False: none.

    image_size: None is allowed where all files are squares of one size. channels: None is 1 if every file is grey by
    its header, else 3. data_range: (low, high) of the files' samples; None is all that their depth holds, which is
    refused for nearly black data. condition: columns of metadata.jsonl, metadata.csv or list_attr_celeba.txt in the
    folder, commas between (gencore.data.sources.metadata). half: of two pictures side by side, the left or the right.

    Headers are read here; a file that is broken further down raises UnreadableImageError when it is fetched. With
    skip_corrupt all files are decoded here, once; those that cannot be read (damaged, FIFOs, links to nowhere, without
    permission) are named in a warning and left out, so that the length stays fixed.

    Raises GencoreError: no such folder, no images, all of them unreadable, sizes that differ without image_size,
    class folders that are not clear; UnreadableImageError, a GencoreError, naming the files.
    """
    root = Path(os.path.expanduser(path))
    if image_size is not None and image_size < 1:
        raise GencoreError(f"image_size is {image_size}; expected at least 1.")
    if channels not in (None, 1, 3):
        raise GencoreError(f"channels is {channels}; expected 1, 3 or None.")
    check_range(data_range)
    listing = list_pictures(root)
    _check_listing(listing, skip_corrupt)
    names = class_names(listing) if labels else ()
    files, how, broken = _readable(listing, _Wanted(image_size, channels, data_range, half), skip_corrupt)
    if broken:
        total = len(listing.pictures) + len(listing.problems)
        warnings.warn(f"{len(broken)} of {total} images left out:\n{_named(broken)}", stacklevel=2)
    if data_range is None:
        _check_peaks(files, f"the images in {root}")
    described, further = _described(root, files, condition, how.size)
    return ImageFolder(
        root=root,
        paths=files,
        how=how,
        label=labels_of_files(files, root, names),
        class_names=names,
        skipped=tuple(sorted(error.path for error in broken)),
        described=described,
        further=further,
    )


class MixedSizesError(GencoreError):
    """Pictures that are not squares of one size, where nothing says which size they shall have."""


class _Wanted(NamedTuple):
    """What the caller says of the decoding; None is for the files to say."""

    image_size: int | None
    channels: int | None
    data_range: DataRange | None
    half: Half | None


def _readable(
    listing: Listing, wanted: _Wanted, skip_corrupt: bool
) -> tuple[tuple[Path, ...], Decoding, list[UnreadableImageError]]:
    """The files that can be read, how, and the errors of the others, which skip_corrupt allows."""
    headers, broken = _sift(listing.pictures, read_header)
    if broken and not skip_corrupt:
        raise _unreadable(broken)
    if headers:
        size = wanted.image_size or _common_size(headers, listing.root, wanted.half)
        grey = all(header.grey for header in headers.values())
        how = Decoding(wanted.channels or (1 if grey else 3), size, wanted.data_range, wanted.half)
    if headers and skip_corrupt:
        whole, further = _sift(list(headers), lambda file: read_pixels(file, how).size)
        headers, broken = {file: headers[file] for file in whole}, [*broken, *further]
    if not headers:
        raise GencoreError(
            f"none of the {len(listing.pictures)} images in {listing.root} can be read:\n{_named(broken)}"
        )
    return tuple(headers), how, [*listing.problems, *broken]


def _check_listing(listing: Listing, skip_corrupt: bool) -> None:
    passed_over = listing.passed_over()
    if not listing.pictures:
        raise GencoreError(
            f"{listing.root} holds no images. Names that end in {' '.join(sorted(suffixes()))} are looked for. "
            + "; ".join([passed_over, *(str(error) for error in listing.problems[:NAMED])]).strip("; ")
        )
    if listing.problems and not skip_corrupt:
        raise _unreadable(listing.problems)
    if passed_over:
        warnings.warn(foreign.shown(f"{listing.root}: {passed_over}"), stacklevel=3)


def _check_peaks(files: Sequence[Path], what: str) -> None:
    """Some of the files, spread evenly, are looked at until one is bright enough; one that is broken counts as such."""
    largest = (0, 255)
    for position in np.linspace(0, len(files) - 1, min(PROBED, len(files))).astype(int):
        try:
            high, top = read_peak(files[position])
        except GencoreError:
            return
        if high and not is_dark(high, top):
            return
        largest = max(largest, (high, top))
    check_peak(*largest, what)


def _described(
    root: Path, files: Sequence[Path], condition: str | None, size: int
) -> tuple[tuple[Condition, ...], Mapping[str, Tensor]]:
    path = find_metadata(root)
    if condition is None:
        if path is not None:
            rows = read_metadata(path)
            columns = shown(next(iter(rows.values()), {}))
            warnings.warn(
                f"{path} is left out of account. To condition on it, name a column: condition=... (--condition): "
                f"{columns}.",
                stacklevel=3,
            )
        return (), {}
    if path is None:
        raise GencoreError(
            f"condition is {condition!r}, but {root} holds no metadata.jsonl, metadata.csv or list_attr_celeba.txt."
        )
    names = [file.relative_to(root).as_posix() for file in files]
    told = condition_from(read_metadata(path), names, condition, path.name)
    if not told.places:
        return told.conditions, told.tensors
    sizes = torch.tensor([upright_size(file) for file in files])
    return told.conditions, {**told.tensors, **in_square(told.places, sizes, size, names)}


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise GencoreError(f"{path} has vanished since the folder was listed. Put it back, or start anew.") from error


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
    lines = [f"  {foreign.shown(str(error.path), line=True)}: {error.reason}" for error in broken[:NAMED]]
    return "\n".join(lines + ([f"  and {len(broken) - NAMED} more"] if len(broken) > NAMED else []))


def _unreadable(broken: Sequence[UnreadableImageError]) -> UnreadableImageError:
    first = broken[0]
    if len(broken) == 1:
        return first
    return UnreadableImageError(first.path, f"{first.reason}; {len(broken)} files in all:\n{_named(broken)}\n")


def _common_size(headers: dict[Path, Header], root: Path, half: Half | None) -> int:
    sizes = {(header.width // 2 if half else header.width, header.height) for header in headers.values()}
    width, height = min(sizes)
    if len(sizes) > 1 or width != height:
        listed = ", ".join(f"{w} x {h}" for w, h in sorted(sizes)[:3])
        raise MixedSizesError(
            f"the images in {root} are not squares of one size ({listed}{', ...' if len(sizes) > 3 else ''}). Say "
            "which size they shall have: image_size=32 (--image-size 32). Or cut squares from them: squares:DIR."
        )
    return width
