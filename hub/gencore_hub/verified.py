"""Which large files were found whole already, so that a load need not hash them again.

The sha256 of 450 MB takes a quarter of a second, longer than the rest of a load. Whoever has just hashed a file, after
a save or a download, therefore notes the digest on the file itself: in an extended attribute, together with the file's
inode, size and time of change. A copy, an edit, or a file system without such attributes makes no valid note, and then
a load hashes the file. What a disk loses by itself afterwards is not seen; `gencore pull` always hashes.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from io import FileIO
from pathlib import Path

ATTRIBUTE = "user.gencore.sha256"
WORTHWHILE = 2**24  # bytes; hashing less takes no time that anyone notices
SETTLED = 20_000_000  # nanoseconds; within a tick of the file system's clock (10 ms) a second change passes unseen


def note(path: Path, digest: str) -> None:
    """Notes that the file has this sha256, in hex; does nothing where that is not worthwhile or not possible."""
    info = path.stat()
    if info.st_size >= WORTHWHILE and time.time_ns() - info.st_mtime_ns >= SETTLED and hasattr(os, "setxattr"):
        with suppress(OSError):
            os.setxattr(path, ATTRIBUTE, _text(info, digest))


def is_noted(file: FileIO, digest: str) -> bool:
    """Whether the open file has a note of this sha256 that is still valid."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        return os.getxattr(file.fileno(), ATTRIBUTE) == _text(os.fstat(file.fileno()), digest)
    except OSError:
        return False


def _text(info: os.stat_result, digest: str) -> bytes:
    return f"{digest} {info.st_ino} {info.st_size} {info.st_mtime_ns}".encode()
