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


def open_inside(directory: Path, name: str, *, links: bool = True) -> FileIO:
    """Opens the model file `name` for unbuffered reading, once: what is checked is what is read, and nothing waits.

    Args:
        links: whether a link to another file of the directory is followed; those of the Hub's cache always are.

    Raises:
        HubError: it is missing, unreadable, not a regular file, or a link that leads out of the directory.
    """
    path = find(directory, name)
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise HubError(f"cannot read {name} in {directory}: {error}") from error
    allowed = roots(directory) if links or not path.is_symlink() else roots(directory)[1:]
    root = next((root for root in allowed if real.is_relative_to(root)), None)
    if root is None:
        raise HubError(
            f"{path} is a link to {real}, outside its directory or not wanted here, and is not followed. Copy the file "
            "into the directory."
        )
    try:
        descriptor = _open_beneath(root, real)
    except OSError as error:
        raise HubError(f"cannot read {name} in {directory}: {error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise HubError(f"{path} is not a regular file.")
    return FileIO(descriptor, "rb")


def _open_beneath(root: Path, real: Path) -> int:
    """A descriptor of the file `real`, which has no link below `root`: where one has come there since, OSError.

    O_NONBLOCK: opening a FIFO would wait for a writer.
    """
    if os.open not in os.supports_dir_fd:
        return os.open(real, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    *folders, last = real.relative_to(root).parts
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in folders:
        descriptor = _open_at(descriptor, part, os.O_DIRECTORY)
    return _open_at(descriptor, last, os.O_NONBLOCK)


def _open_at(folder: int, name: str, flags: int) -> int:
    """Opens `name` in the open folder, which is closed."""
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
    finally:
        os.close(folder)


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
    (`models--org--name/snapshots/<commit>`, all links), the repository's `blobs` and those that repositories share.
    In the user's own cache `blobs` may be a link, to another disk; elsewhere a stranger may have made it."""
    real = directory.resolve()
    found = [real]
    for folder in (real, *real.parents):
        repo = folder.parent.parent
        if folder.parent.name == "snapshots" and repo.name.startswith("models--"):
            blobs = [repo / "blobs", repo.parent / "blobs"]
            found += [path.resolve() for path in blobs] if _is_own_cache(repo.parent) else blobs
    return found


def _is_own_cache(folder: Path) -> bool:
    from huggingface_hub import constants

    return folder == Path(constants.HF_HUB_CACHE).resolve()
