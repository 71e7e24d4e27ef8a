"""The pictures that a run has written while it trains."""

from __future__ import annotations

from pathlib import Path

from gencore.explorer.commands import Output
from gencore.paths import user_path
from gencore.training.directory import SAMPLES

MOST = 4


def newest_grids(word: str) -> list[Output]:
    """The newest few of a run's pictures, oldest first; links are not followed."""
    folder = user_path(word) / SAMPLES
    if folder.is_symlink() or not folder.is_dir():
        return []
    files = [file for file in folder.iterdir() if file.suffix == ".png" and file.is_file() and not file.is_symlink()]
    return [_read(file) for file in sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name))[-MOST:]]


def _read(file: Path) -> Output:
    return Output(said="", content=file.read_bytes(), name=file.name)
