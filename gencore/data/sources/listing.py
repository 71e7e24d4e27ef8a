"""Which files under a folder are pictures; what is passed over is counted and named."""

from __future__ import annotations

import collections
import dataclasses
import functools
import importlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from gencore.data.decode import UnreadableImageError
from gencore.errors import GencoreError
from gencore_hub import foreign

NEEDS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".hif": "pillow-heif", ".jxl": "pillow-jxl-plugin"}
METADATA = ("metadata.jsonl", "metadata.csv", "list_attr_celeba.txt", "list_attr_celeba.csv")
NOT_DATA = frozenset({"lost+found", "__MACOSX"})
"""Folders of the file system's and of archive programs' own."""
_UNDECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""What Pillow knows by name and leaves to other programs to decode."""


@functools.cache
def suffixes() -> frozenset[str]:
    """The suffixes that this Pillow and its installed plugins decode, in lower case."""
    for package, opener in (("pillow_heif", "register_heif_opener"), ("pillow_jxl", None)):
        try:
            module = importlib.import_module(package)
        except ImportError:
            continue
        if opener:
            getattr(module, opener)()
    Image.init()
    known = {end for end, kind in Image.EXTENSION.items() if kind in Image.OPEN and kind not in _UNDECODED}
    return frozenset(known | {".mpo"})


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """For sorting: numbers within names count as numbers, so that 2 comes before 10."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts), name


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    """Pictures under `root` in natural order, the folders in it, and what was passed over.

    `folders`: those directly under root; `problems`: folders that cannot be listed; `others`: how many files end in
    what, of those that are no pictures.
    """

    root: Path
    pictures: list[Path] = dataclasses.field(default_factory=list)
    folders: list[str] = dataclasses.field(default_factory=list)
    problems: list[UnreadableImageError] = dataclasses.field(default_factory=list)
    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def passed_over(self) -> str:
        """A sentence about the files that are no pictures; empty where there are none."""
        if not self.others:
            return ""
        kinds = ", ".join(f"{count} {_kind(end)}" for end, count in sorted(self.others.items()))
        wanted = sorted({f"{end} ({NEEDS[end]})" for end in self.others if end in NEEDS})
        advice = f" Pictures of these kinds need a package that Pillow lacks: {', '.join(wanted)}." if wanted else ""
        return f"{sum(self.others.values())} files that are no pictures are passed over: {kinds}.{advice}"


def _kind(suffix: str) -> str:
    return suffix or "without a suffix"


def list_pictures(root: Path) -> Listing:
    """Every picture under `root`, at any depth. Names that begin with a dot are no part of the data.

    Links are followed, but not in circles. Raises GencoreError where root itself cannot be listed.
    """
    found = Listing(root)
    waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(root, frozenset())]
    while waiting:  # no recursion: folders may be nested a thousand deep
        folder, ancestors = waiting.pop()
        here = _identity(folder)
        if not here & ancestors:
            waiting += [(inner, ancestors | here) for inner in _look_into(folder, found)]
    found.pictures.sort(key=lambda path: [natural_key(part) for part in path.relative_to(root).parts])
    found.folders.sort(key=natural_key)
    return found


def _identity(folder: Path) -> frozenset[tuple[int, int]]:
    """The folder itself, by whatever links it is reached; empty where it is out of reach."""
    try:
        state = os.stat(folder)
    except OSError:
        return frozenset()
    return frozenset({(state.st_dev, state.st_ino)})


def _look_into(folder: Path, found: Listing) -> list[Path]:
    """The folders in it; what else lies in it goes into `found`."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        if folder == found.root:
            raise GencoreError(f"{folder} cannot be listed: {error.strerror}. Name a folder of images.") from error
        found.problems.append(UnreadableImageError(folder, f"the folder cannot be listed ({error.strerror})"))
        return []
    visible = [entry for entry in entries if not entry.name.startswith(".") and entry.name not in NOT_DATA]
    folders = {entry.name: entry for entry in visible if _is_folder(entry)}
    if folder == found.root:
        found.folders.extend(folders)
    for entry in visible:
        end = os.path.splitext(entry.name)[1].lower()
        if entry.name in folders:
            continue
        if end in suffixes():
            found.pictures.append(Path(entry.path))
        elif entry.name not in METADATA or folder != found.root:
            found.others[end] += 1
    return [Path(entry.path) for entry in folders.values()]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def shown(names: Iterable[str], limit: int = 5) -> str:
    """Some of the names, as text (gencore_hub.foreign), and how many more there are."""
    listed = [foreign.shown(name, line=True) for name in names]
    return ", ".join(listed[:limit]) + (f" and {len(listed) - limit} more" if len(listed) > limit else "")
