"""Class labels from folders: sub-folders one level down are classes; what would make labels vanish or move is named."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from gencore.data.sources.listing import Listing, natural_key, shown
from gencore.errors import GencoreError

SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"})
WITHOUT = "or say that there are no classes: labels=False (--condition none)"


def class_names(listing: Listing) -> tuple[str, ...]:
    """The classes of a folder, in natural order (2 before 10); none where fewer than two sub-folders hold pictures,
    or all pictures lie deeper than one level down.

    Raises GencoreError, with the names, for pictures beside class folders, class folders without a picture, and
    folders called train, val or test side by side.
    """
    parents = [file.relative_to(listing.root).parts[:-1] for file in listing.pictures]
    unreadable = [error.path.relative_to(listing.root).parts[0] for error in listing.problems]
    tops = sorted({*(parts[0] for parts in parents if parts), *unreadable}, key=natural_key)
    if len(tops) < 2:
        return ()
    splits = [name for name in tops if name.lower() in SPLIT_NAMES]
    if len(splits) > 1:
        raise GencoreError(
            f"{listing.root} holds {' and '.join(splits)}, which are parts of one data set and no classes. Name one of "
            f"them, such as {listing.root / splits[0]}, {WITHOUT}."
        )
    if {"trainA", "trainB"} <= set(tops):
        raise GencoreError(
            f"{listing.root} holds trainA and trainB, which are no classes: write unpaired:{listing.root} (--data)."
        )
    depths = collections.Counter(len(parts) for parts in parents)
    if not depths[1]:
        if depths[0]:
            _refuse_strays(listing, parents, tops)
        return ()
    if len(depths) > 1:
        _refuse_strays(listing, parents, tops)
    if empty := [name for name in listing.folders if name not in tops]:
        raise GencoreError(
            f"{listing.root} has class folders, of which {shown(empty)} hold no pictures. A class without examples "
            f"would move the numbers of the others: fill or remove the folder, {WITHOUT}."
        )
    return tuple(tops)


def _refuse_strays(listing: Listing, parents: Sequence[tuple[str, ...]], tops: Sequence[str]) -> None:
    strays = [file for file, parts in zip(listing.pictures, parents, strict=True) if len(parts) != 1]
    raise GencoreError(
        f"{listing.root} has the folders {shown(tops)}, and {len(strays)} pictures that do not lie directly in one of "
        f"them, such as {strays[0]}. Move them into the folder of their class, {WITHOUT}."
    )


def labels_of_files(files: Sequence[Path], root: Path, names: tuple[str, ...]) -> Tensor | None:
    """The class of each file, (N,) int64; None where there are no classes."""
    if not names:
        return None
    number = {name: k for k, name in enumerate(names)}
    return torch.tensor([number[file.relative_to(root).parts[0]] for file in files])
