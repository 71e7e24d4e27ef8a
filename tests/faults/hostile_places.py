"""What may stand where a file is expected: links, loops, FIFOs, folders, sockets, nothing; and flipped bits."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Change = tuple[str, str, int]
"""A path in a folder, a kind of `KINDS` or "flip", "garbled", "gone", and a number that chooses the bit or the text."""


def _link(path: Path, target: str) -> None:
    path.symlink_to(target)


def _socket(path: Path) -> None:
    held = socket.socket(socket.AF_UNIX)
    where = os.getcwd()
    os.chdir(path.parent)  # a socket's path has at most 107 bytes
    try:
        held.bind(path.name)
    finally:
        os.chdir(where)
        held.close()


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "link to a like": lambda path, like: _link(path, str(like)),
    "link to a secret": lambda path, like: _link(path, str(like.parent / "secret")),
    "link to nowhere": lambda path, like: _link(path, str(like.parent / "nowhere")),
    "loop": lambda path, like: _link(path, path.name),
    "link to a device": lambda path, like: _link(path, "/dev/zero"),
    "fifo": lambda path, like: os.mkfifo(path),
    "socket": lambda path, like: _socket(path),
    "folder": lambda path, like: path.mkdir(),
}
"""By name: (path, a place outside that holds something of the same kind) -> None. The path is free."""


def put(path: Path, kind: str, like: Path) -> None:
    """Have something of that kind in the place of a file or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    KINDS[kind](path, like)


def flip(path: Path, place: int) -> None:
    """Flip one bit of a file, the `place`-th, counted round."""
    data = bytearray(path.read_bytes())
    if data:
        data[place // 8 % len(data)] ^= 1 << place % 8
        path.write_bytes(data)


def garble(path: Path, choice: int) -> None:
    """Have bytes in the place of a file's that are none of its kind."""
    data = path.read_bytes()
    cut = data[: choice % max(len(data), 1)]
    texts = (
        b"",
        b"{",
        b"{}",
        b"[]",
        b"[" * 100_000,
        b"\0" * 200,
        b"NaN",
        b'{"step": 1e999}',
        b"\xff\xfe",
        cut,
        data + b"x",
    )
    path.write_bytes(texts[choice % len(texts)])


def changes(paths: list[str], *, files: list[str], kinds: tuple[str, ...] = tuple(KINDS)) -> st.SearchStrategy[Change]:
    """A change of one of `paths`; bits are flipped, and contents garbled, in `files`."""
    number = st.integers(0, 2**30)
    odd = st.tuples(st.sampled_from(paths), st.sampled_from(kinds), number)
    if not files:
        return odd
    return odd | st.tuples(st.sampled_from(files), st.sampled_from(("flip", "garbled", "gone")), number)


def change(folder: Path, what: Change, outside: Path) -> None:
    """Make the change in a folder; `outside` holds a like of each of its files and folders."""
    name, kind, number = what
    path = folder / name
    if kind == "flip":
        flip(path, number)
    elif kind == "garbled":
        garble(path, number)
    elif kind == "gone":
        path.unlink()
    else:
        put(path, kind, outside / name)


def inside(folder: Path) -> tuple[list[str], list[str]]:
    """All paths below a folder, and those of them that are files, in order."""
    every = sorted(folder.rglob("*"))
    return [str(p.relative_to(folder)) for p in every], [str(p.relative_to(folder)) for p in every if p.is_file()]


def seen(folder: Path) -> dict[str, Any]:
    """What lies in a folder and must stay: the kind, size and content of each thing."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.is_file() and not path.is_symlink()
        else path.is_symlink()
        for path in sorted(folder.rglob("*"))
    }
