"""Writing that a kill, a full disk or Ctrl-C cannot leave half done.

Everything is first written into a private folder beside its target (so on the same file system), synced, and then
renamed, which POSIX makes atomic. The private folder is held by an `flock` that the kernel drops with its process:
a folder whose lock is free was left by a killed process, and the next writer beside it removes it. Where there are no
such locks (Windows, some network file systems) leftovers stay and can be deleted by hand: `.*.gencore-tmp`.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".gencore-tmp"

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_DIRECTORY_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Puts `data` at `path`: at every instant the file there is the whole old one or the whole new one.

    Raises:
        StorageError: the disk is full or the place cannot be written; the old file is unchanged.
    """
    path = Path(path)
    with storage_errors(path), workspace(path.parent, path.name) as work:
        new = work / "new"
        new.write_bytes(data)
        sync_file(new)
        os.replace(new, path)
        sync_directory(path.parent)


@contextmanager
def atomic_directory(target: str | os.PathLike[str]) -> Iterator[Path]:
    """A new directory that appears at `target`, synced and complete, when the block ends, or not at all.

        with atomic_directory("run/checkpoints/step-200") as new:
            (new / "state.json").write_bytes(...)

    Yields the folder to fill. If the block raises, nothing appears. Parents of `target` are made.

    Raises:
        StorageError: `target` exists already (nothing is overwritten), the disk is full, or the place cannot be
            written. An `OSError` from inside the block counts as such.
    """
    target = Path(target)
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_existing(target)
        with workspace(target.parent, target.name) as work:
            new = work / "new"
            new.mkdir()
            yield new
            sync_tree(new)
            os.rename(new, target)
            sync_directory(target.parent)


@contextmanager
def workspace(parent: Path, name: str) -> Iterator[Path]:
    """A private, locked folder in `parent`, gone afterwards; folders that killed processes left there go first."""
    _remove_leftovers(parent)
    work, lock = _make_locked(parent, name)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if lock is not None:
            unlock(lock)


@contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turns an `OSError` of the block into a `StorageError` about `target`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            advice = "Free some space, or write to another disk."
        elif error.errno in _FORBIDDEN:
            advice = "Choose a place that you may write to."
        else:
            advice = "Check the path and the disk."
        raise StorageError(f"could not write {target}: {error}. Nothing that was there is lost. {advice}") from error


def sync_tree(root: Path) -> None:
    """Forces every file and directory under `root` to the disk."""
    for folder, _, files in os.walk(root):
        for file in files:
            sync_file(Path(folder, file))
        sync_directory(Path(folder))


def sync_file(path: Path) -> None:
    """Forces the file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Forces the directory's entries to the disk, where the system can do that."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)


def lock_directory(path: Path) -> int:
    """The descriptor of an exclusive lock on a directory, held until `unlock` or the end of the process.

    Raises:
        BlockingIOError: another process or thread holds it.
        OSError: no such directory, or no locks on this file system.
    """
    if fcntl is None:
        raise OSError(errno.ENOTSUP, "this system has no flock")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def unlock(descriptor: int) -> None:
    """Ends a lock. Closing alone would not, while a process that was forked meanwhile has the descriptor too."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _make_locked(parent: Path, name: str) -> tuple[Path, int | None]:
    while True:
        work = Path(tempfile.mkdtemp(prefix=f".{name[:100]}.", suffix=SUFFIX, dir=parent))
        try:
            lock = lock_directory(work)
        except (BlockingIOError, FileNotFoundError):
            continue  # another writer's clean-up came between mkdtemp and the lock, and removes the folder
        except OSError:
            return work, None
        if os.fstat(lock).st_nlink:
            return work, lock
        unlock(lock)


def _remove_leftovers(parent: Path) -> None:
    for entry in os.scandir(parent):
        if entry.name.startswith(".") and entry.name.endswith(SUFFIX) and entry.is_dir(follow_symlinks=False):
            with suppress(OSError):
                lock = lock_directory(Path(entry.path))
                shutil.rmtree(entry.path, ignore_errors=True)
                unlock(lock)


def _refuse_existing(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise StorageError(f"{target} exists already, and is not overwritten. Choose another name, or remove it.")
