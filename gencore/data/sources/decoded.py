"""A folder's pictures decoded once, into a file that later epochs and later runs read in place of the pictures.

DIRECTORY/<digest>.npy holds uint8 (N, size, size, channels). The digest is of the files' names, sizes and times of
change, and of how they are decoded: pictures that have changed, or that are wanted at another size, get another file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gencore.data.decode import Decoding, read_pixels
from gencore_hub.atomic import storage_errors, sync_file, workspace

VERSION = 1
"""Of what gencore.data.decode makes of a file."""
AT_ONCE = 256

Pixels = npt.NDArray[np.uint8]


def decoded(paths: Sequence[Path], root: Path, how: Decoding, directory: Path, *, workers: int) -> Pixels:
    """The files' pixels, uint8 (N, size, size, channels), mapped from a file in `directory`, which is written first,
    whole or not at all, where it is missing or is not what it should be.

    Raises UnreadableImageError for a file that cannot be decoded, StorageError where the disk is full or the place
    cannot be written.
    """
    target = directory / f"{_digest(paths, root, how)}.npy"
    shape = (len(paths), how.size, how.size, how.channels)
    found = _mapped(target, shape)
    if found is None:
        with storage_errors(target):
            directory.mkdir(parents=True, exist_ok=True)
            with workspace(directory, target.name) as work:
                _write(work / "new", paths, how, shape, workers)
                sync_file(work / "new")
                os.replace(work / "new", target)
        found = _mapped(target, shape)
        assert found is not None
    return found


def _digest(paths: Sequence[Path], root: Path, how: Decoding) -> str:
    hashed = hashlib.sha256(f"{VERSION} {how}\n".encode())
    for path in paths:
        told = path.stat()
        name = path.relative_to(root).as_posix()
        hashed.update(f"{name}\0{told.st_size}\0{told.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return hashed.hexdigest()[:32]


def _mapped(target: Path, shape: tuple[int, ...]) -> Pixels | None:
    if target.is_symlink() or not target.is_file():
        return None
    try:
        found: Any = np.load(target, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        return None
    return found if isinstance(found, np.memmap) and found.shape == shape and found.dtype == np.uint8 else None


def _write(path: Path, paths: Sequence[Path], how: Decoding, shape: tuple[int, ...], workers: int) -> None:
    # Through a file and not through memory, where a full disk would end the process.
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with open(path, "wb") as file, ThreadPoolExecutor(workers) as pool:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(paths), AT_ONCE):
            for pixels in pool.map(lambda source: read_pixels(source, how), paths[start : start + AT_ONCE]):
                file.write(np.ascontiguousarray(pixels, dtype=np.uint8).reshape(shape[1:]).tobytes())
