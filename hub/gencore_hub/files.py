"""The files of a model directory, and the one way to open them.

    config.json                     what the model is, and the sha256 of each file with weights
    model.safetensors               the weights, or model-00001-of-00002.safetensors ...
    model.safetensors.index.json    only beside several files; for other readers, gencore goes by config.json
    README.md                       the card
    samples.png                     a grid of samples

A save is published by renaming a complete set of new files to the folder `PENDING` inside the directory, and then
moving them one by one into their places (directory.py). Between the two a file is looked for in `PENDING` first, so
that a reader always gets one save's files, even if the writer was killed half way.
"""

from __future__ import annotations

import os
import re
import stat
from io import FileIO
from pathlib import Path

from .errors import HubError
from .strict_json import shorten

CONFIG = "config.json"
CARD = "README.md"
SAMPLES = "samples.png"
INDEX = "model.safetensors.index.json"
PENDING = ".gencore-pending"

# Patterns for `fnmatch`, as the Hub's client takes them; no `*`, which there also matches "/".
MODEL_FILES = (CONFIG, "model.safetensors", f"model-{'[0-9]' * 5}-of-{'[0-9]' * 5}.safetensors", INDEX, CARD, SAMPLES)
PICKLE_SUFFIXES = (".pkl", ".pickle", ".bin", ".pt", ".pth", ".ckpt")

_WEIGHTS = re.compile(r"model(-[0-9]{5}-of-[0-9]{5})?\.safetensors")


def is_weights(name: str) -> bool:
    """Whether `name` is a name that gencore gives to a file with weights."""
    return _WEIGHTS.fullmatch(name) is not None


def is_model_file(name: str) -> bool:
    """Whether `name` is one of the files that make up a model directory."""
    return name in (CONFIG, INDEX, CARD, SAMPLES) or is_weights(name)


def find(directory: Path, name: str) -> Path:
    """Where the file `name` of a model directory stands now: in a save being published, or in its place."""
    assert is_model_file(name), name
    pending = directory / PENDING / name
    return pending if os.path.lexists(pending) else directory / name


def open_inside(directory: Path, name: str) -> FileIO:
    """Opens the model file `name` for unbuffered reading.

    Raises:
        HubError: it is missing, unreadable, not a regular file, or a link that leads out of the directory.
    """
    path = find(directory, name)
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise HubError(f"cannot read {name} in {directory}: {error}") from error
    if not any(real.is_relative_to(root) for root in roots(directory)):
        raise HubError(
            f"{path} is a link to {real}, outside its directory, and is not followed. Copy the file into the directory."
        )
    if not stat.S_ISREG(real.stat().st_mode):
        raise HubError(f"{path} is not a regular file.")
    try:
        return open(real, "rb", buffering=0)
    except OSError as error:
        raise HubError(f"cannot read {name} in {directory}: {error}") from error


def inside(directory: Path, subfolder: str | None) -> Path:
    """`directory / subfolder`, for a relative subfolder that stays inside.

    Raises:
        HubError: it does not.
    """
    if subfolder is None:
        return directory
    check_subfolder(subfolder)
    path = directory / subfolder
    real = Path(os.path.realpath(path))  # unlike Path.resolve it survives a loop of links
    if not any(real.is_relative_to(root) for root in roots(directory)):
        raise HubError(f"the subfolder {shorten(subfolder)} is a link that leads out of {directory}.")
    return path


def check_subfolder(subfolder: str) -> None:
    """Raises HubError unless `subfolder` is a plain relative path such as "ema/step-100"."""
    parts = subfolder.split("/")
    if any(part in ("", ".", "..") for part in parts) or re.search(r"[\\:\x00-\x1f]", subfolder):
        raise HubError(
            f"subfolder={shorten(subfolder)} is not a relative path inside the model. Expected 'a' or 'a/b'."
        )


def roots(directory: Path) -> list[Path]:
    """The folders in which a directory's files may really lie: itself, and where it is a snapshot in the Hub's cache
    (`models--org--name/snapshots/<commit>`, all links), the repository's `blobs` and those that repositories share."""
    real = directory.resolve()
    found = [real]
    for folder in (real, *real.parents):
        repo = folder.parent.parent
        if folder.parent.name == "snapshots" and repo.name.startswith("models--"):
            found += [repo / "blobs", repo.parent / "blobs"]
    return found
