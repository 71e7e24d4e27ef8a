"""Folders of pictures of two kinds: paired as pix2pix has them, unpaired as CycleGAN has them."""

from __future__ import annotations

import dataclasses
import os
import warnings
from pathlib import Path

from gencore.data.decode import Half
from gencore.data.options import OpenOptions
from gencore.data.source import Source
from gencore.data.sources.folder import ImageFolder, image_folder
from gencore.data.sources.listing import natural_key, shown
from gencore.data.views_of_two import paired, unpaired
from gencore.errors import GencoreError

PAIRS = (("A", "B"), ("input", "target"))
"""Names of sub-folders: what is given, then what is to be made of it."""
SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val")}


def open_paired(directory: str, options: OpenOptions) -> Source:
    """x, the target, and x_input, the picture that it is made from.

    `directory` holds A and B, or input and target, with files of the same names but for the suffix; or pictures of
    twice the width: the left half is the input, the right half the target (pix2pix's A and B). Where it holds train,
    and test or val, in either form, the split chooses among these.
    Raises GencoreError: another layout, a file without its partner, what image_folder raises.
    """
    root = _root(directory, "paired")
    for given, target in PAIRS:
        if (root / given).is_dir() and (root / target).is_dir():
            return _of_two_folders(_part(root / given, options), _part(root / target, options), options)
    part = _part(root, options)
    for given, target in PAIRS:
        if (part / given).is_dir() and (part / target).is_dir():
            return _of_two_folders(part / given, part / target, options)
    if inside := sorted(_sub_folders(part), key=natural_key):
        raise GencoreError(
            f"{part} holds the folders {shown(inside)}; for pairs expected A and B, or input and target (of the same "
            "file names), or pictures side by side in one file and no folders."
        )
    return _of_halves(part, options)


def open_unpaired(directory: str, options: OpenOptions) -> Source:
    """x from the first kind of pictures and x_b from the second, each in its own order (gencore.data.unpaired).

    `directory` holds trainA, trainB, testA and testB, among which the split chooses, or two sub-folders, which are
    taken whole. Raises GencoreError: another layout, what image_folder raises.
    """
    root = _root(directory, "unpaired")
    inside = sorted(_sub_folders(root), key=natural_key)
    if {"trainA", "trainB"} <= set(inside):
        if options.split == "all":
            raise GencoreError(f"{root} holds trainA, trainB and more: split is 'all'; expected train or test.")
        names = [options.split + end for end in "AB"]
        if missing := [name for name in names if name not in inside]:
            raise GencoreError(f"{root} lacks {' and '.join(missing)}; it holds {shown(inside)}.")
    elif len(inside) == 2:
        names = inside
    else:
        raise GencoreError(
            f"{root} holds {shown(inside) or 'no folders'}; expected trainA, trainB, testA and testB, or two folders."
        )
    first, second = (_open(root / name, options) for name in names)
    if first.shape[0] != second.shape[0]:  # a grey and a coloured folder: both in colour
        coloured = dataclasses.replace(options, channels=3)
        first, second = (f if f.shape[0] == 3 else _open(f.root, coloured) for f in (first, second))
    return unpaired(first, second)


def _root(directory: str, form: str) -> Path:
    root = Path(os.path.expanduser(directory))
    if not directory or not root.is_dir():
        raise GencoreError(f"{form}:{directory} names no folder. Write {form}:DIR.")
    return root


def _sub_folders(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]


def _part(folder: Path, options: OpenOptions) -> Path:
    """The sub-folder of the split, or the folder itself where it has no such parts."""
    inside = _sub_folders(folder)
    if not {"train", "test", "val"} & set(inside):
        return folder
    for name in SPLIT_FOLDERS.get(options.split, ()):
        if name in inside:
            return folder / name
    raise GencoreError(f"{folder} holds {shown(sorted(inside))}, and split is {options.split!r}: no such part.")


def _open(folder: Path, options: OpenOptions, half: Half | None = None) -> ImageFolder:
    found = image_folder(
        folder,
        options.image_size,
        options.channels,
        options.skip_corrupt,
        data_range=options.data_range,
        labels=options.labels and half is None,
        condition=options.column,
        half=half,
    )
    return found if options.cache is None else found.decoded_in(options.cache)


def _of_two_folders(given_folder: Path, target_folder: Path, options: OpenOptions) -> Source:
    given, target = _open(given_folder, options), _open(target_folder, options)
    names = [{_stem(path, folder.root): i for i, path in enumerate(folder.paths)} for folder in (given, target)]
    for folder, known in zip((given, target), names, strict=True):
        if len(known) < len(folder):
            raise GencoreError(f"{folder.root} holds files that differ in their suffix alone; for pairs keep one each.")
    left_out = {_stem(path, folder.root) for folder in (given, target) for path in folder.skipped}
    alone = sorted((names[0].keys() ^ names[1].keys()) - left_out, key=natural_key)
    if alone:
        where = given.root if alone[0] in names[0] else target.root
        raise GencoreError(
            f"{len(alone)} pictures have no partner of the same name, such as {alone[0]} in {where}. {given.root} and "
            f"{target.root} must hold the same names."
        )
    both = [name for name in names[0] if name in names[1]]
    if partners := sorted(names[0].keys() ^ names[1].keys(), key=natural_key):
        warnings.warn(f"{len(partners)} partners of files left out are left out too: {shown(partners)}.", stacklevel=3)
    if not both:
        raise GencoreError(f"{given.root} and {target.root} have no pair that can be read.")
    return paired(target.chosen([names[1][name] for name in both]), given.chosen([names[0][name] for name in both]))


def _stem(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _of_halves(folder: Path, options: OpenOptions) -> Source:
    given, target = (_open(folder, options, half=half) for half in ("left", "right"))
    return paired(target, given)
