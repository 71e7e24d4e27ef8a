"""Who may write into a run directory: one training at a time, and nowhere else.

The lock is `flock` on the file run.lock, which the kernel drops with the process that holds it: what a killed run
leaves behind blocks nobody. Nothing that stands in a run directory is followed out of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gencore.errors import GencoreError
from gencore.training.checkpoint import checkpoints, sweep
from gencore.training.settings import RUN_FILE
from gencore_hub.atomic import storage_errors

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK, METRICS, CHECKPOINTS, SAMPLES, TRACKER = "run.lock", "metrics.jsonl", "checkpoints", "samples", "tracker"
FOLDERS = (CHECKPOINTS, SAMPLES, TRACKER)
FILES = (RUN_FILE, LOCK, METRICS, "config.json", "model.safetensors", "README.md", "samples.png")


@contextlib.contextmanager
def held(out: Path) -> Iterator[None]:
    """The run directory, made where there is none, for this process alone; leftovers of killed runs are gone.

    Raises GencoreError where another process trains in it, or where one of a run's names is a link; StorageError where
    it cannot be written. On a file system without locks nothing is refused.
    """
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        refuse_links(out)
        descriptor = os.open(out / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        _lock(descriptor, out)
        sweep(out / CHECKPOINTS)
        yield
    finally:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # closing alone would not, while a forked child has the descriptor too
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _lock(descriptor: int, out: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            return
        holder = os.pread(descriptor, 40, 0).decode("ascii", "replace").strip()
        who = f" (process {holder})" if holder.isdigit() else ""
        raise GencoreError(
            f"A training is running in {out}{who}. Wait until it ends, stop it, or choose another --out."
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def refuse_links(out: Path) -> None:
    """Raise GencoreError where a name that a run writes to is a link, or is of another kind than it should be."""
    for name in (*FOLDERS, *FILES):
        try:
            kind = (out / name).lstat().st_mode
        except FileNotFoundError:
            continue
        if not (stat.S_ISDIR(kind) if name in FOLDERS else stat.S_ISREG(kind)):
            what = "a link" if stat.S_ISLNK(kind) else "of another kind"
            raise GencoreError(
                f"{out / name} is {what}; expected {'a folder' if name in FOLDERS else 'a file'}, since a run writes "
                "there. Remove it, or choose another --out."
            )


def refuse_occupied(out: Path) -> bool:
    """Raise GencoreError where `out` holds a run that has come to something. Returns whether there is one that has not:
    it ended before its first checkpoint, and may be begun anew."""
    begun = (out / RUN_FILE).exists()
    if checkpoints(out / CHECKPOINTS) or (begun and (out / "config.json").exists()):
        raise GencoreError(f"{out} holds a run already. Add --resume to continue it, or choose another --out.")
    return begun
