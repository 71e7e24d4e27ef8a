"""Opening a user's file: once, without waiting, and only where it is a regular file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from gencore.errors import GencoreError

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class NotRegularError(GencoreError):
    """What a path leads to is no file that can be read; `reason` says what it is."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)} {reason}; expected a file.")
        self.path, self.reason = Path(path), reason


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """The file, open for reading. Links are followed; nothing is waited for, and nothing but a regular file is read.

    Raises NotRegularError: a FIFO, socket, device or folder, a link to nowhere or in a circle, no permission.
    FileNotFoundError where there is nothing, other OSErrors as they come.
    """
    try:
        # without O_NONBLOCK, opening a FIFO waits for a writer; a check before opening could be raced
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if reason := _why_not(path, error):
            raise NotRegularError(path, reason) from error
        raise
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise NotRegularError(path, f"is {_KINDS.get(kind, 'no regular file')}")
    return os.fdopen(descriptor, "rb")


def _why_not(path: str | os.PathLike[str], error: OSError) -> str | None:
    if isinstance(error, PermissionError):
        return "may not be read (its permissions forbid it)"
    if os.path.islink(path):
        return "is a link that leads nowhere or in a circle"
    try:
        return "is a socket" if stat.S_ISSOCK(os.stat(path).st_mode) else None
    except OSError:
        return None
