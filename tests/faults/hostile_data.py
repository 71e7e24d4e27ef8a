"""Hostile data files: real ones of each kind that is read, changed here and there; ones made to burst the memory."""

from __future__ import annotations

import functools
import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from .hostile import DISGUISES


class DataFile(NamedTuple):
    """A file of the kind: its name, real bytes, the word after --data ("" for an IDX file, which is half of one), the
    columns of metadata that are asked for, and files that are to burst the memory."""

    name: str
    content: bytes
    word: str = "{folder}/{name}"
    condition: str | None = None
    bombs: tuple[bytes, ...] = ()


@functools.cache
def data_files() -> dict[str, DataFile]:
    """One of each kind. The metadata lie beside pictures 0.png ... 3.png (see `lay_pictures`)."""
    return {
        "npy": DataFile("a.npy", _npy(_pixels()), bombs=_npy_bombs()),
        "npz": DataFile("a.npz", _npz(x=_pixels(), y=np.arange(4)), bombs=_npz_bombs()),
        "gzipped IDX": DataFile("a.gz", _idx(4), "", bombs=_idx_bombs()),
        "HDF5": DataFile("a.hdf5", _hdf5()),
        "binvox": DataFile("a.binvox", _binvox(), "volumes:{folder}/{name}", bombs=_binvox_bombs()),
        "MIDI": DataFile("a.mid", _midi(), "midi:{folder}/{name},8"),
        "metadata.jsonl": DataFile("metadata.jsonl", _metadata(), "{folder}", "text,size"),
        "metadata.csv": DataFile(
            "metadata.csv",
            b"file_name,text,size\n0.png,a,1\n1.png,b,2\n2.png,c d,3\n3.png,,4\n",
            "{folder}",
            "text,size",
        ),
        "picture": DataFile("0.png", _png(200), "{folder}"),
    }


def read_data(folder: Path, file: DataFile) -> None:
    """Open what lies in the folder, and take the first examples."""
    import torch

    from gencore.data import check_batch, open_source
    from gencore.data.sources.idx import read_idx

    if not file.word:
        read_idx(folder / file.name, 3)
        return
    source = open_source(file.word.format(folder=folder, name=file.name), condition=file.condition)
    check_batch(source.fetch(torch.arange(min(len(source), 4))), source)


def lay_pictures(folder: Path) -> None:
    """Four pictures of 4 x 4."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(4):
        (folder / f"{number}.png").write_bytes(_png(50 + 60 * number))


@st.composite
def damaged(draw: st.DrawFn, file: DataFile) -> bytes:
    """The file's bytes cut, flipped, lengthened, with a huge number somewhere, or another kind of file; or a bomb."""
    data = file.content
    kinds: list[Callable[[], bytes]] = [
        lambda: data[: draw(st.integers(0, len(data) - 1))],
        lambda: _put(data, draw(st.integers(0, len(data) - 1)), draw(st.binary(min_size=1, max_size=4))),
        lambda: _put(data, draw(st.integers(0, len(data) - 1)), draw(_huge)),
        lambda: _put(
            data, draw(st.integers(0, min(64, len(data) - 1))), draw(_huge | st.binary(min_size=1, max_size=2))
        ),
        lambda: data + draw(st.binary(min_size=1, max_size=64)),
        lambda: data[:8] + draw(st.binary(max_size=200)),
        lambda: draw(st.sampled_from(DISGUISES)) + draw(st.binary(max_size=64)),
    ]
    if file.bombs:
        kinds.append(lambda: draw(st.sampled_from(file.bombs)))
    return draw(st.sampled_from(kinds))()


_huge = st.sampled_from(
    [struct.pack(kind, number) for kind in ("<I", ">I") for number in (0, 2**31 - 1, 2**32 - 1, 10**9)]
    + [struct.pack(kind, number) for kind in ("<Q", ">Q") for number in (2**40, 2**63 - 1, 2**64 - 1)]
    + [b"999999999999", b"-1", b"NaN", b"1e999", b"\x00" * 8, b"\xff" * 8]
)


def _put(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def _pixels() -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=1)).integers(0, 256, (4, 1, 4, 4), dtype=np.uint8)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _npy_header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _npy_bombs() -> tuple[bytes, ...]:
    """Headers that promise a tebibyte, more axes than there are, and objects, which would be unpickled."""
    shapes = ((2**40,), (2**20, 2**20), (1,) * 40, (0, 2**62), (-1, 4))
    return (*(_npy_header(shape) for shape in shapes), _npy_header((2,), "|O") + DISGUISES[0])


def _zipped(*, nothing: int = 0, **members: bytes) -> bytes:
    """`nothing`: MiB of a further member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
        if nothing:
            with archive.open("junk.npy", "w", force_zip64=True) as member:
                member.write(_npy_header((nothing * 2**20,)))
                for _ in range(nothing):
                    member.write(bytes(2**20))
    return buffer.getvalue()


def _npz_bombs() -> tuple[bytes, ...]:
    """A member of 320 MiB of nothing that is not asked for, and one that is; labels of 10^12; headers that lie."""
    x = _npy(_pixels())
    return (
        _zipped(x=x, nothing=320),
        _zipped(x=x, y=_npy(np.array([0, 10**12, 1, 2]))),
        _zipped(x=_npy_header((2**40, 1, 4, 4)), y=_npy(np.arange(4))),
        _zipped(x=_npy_header((10**6, 10**6)) + bytes(2**20)),
    )


def _idx(count: int, *, said: int | None = None) -> bytes:
    return gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, said or count, 4, 4) + bytes(range(16)) * count)


def _idx_bombs() -> tuple[bytes, ...]:
    return (_idx(4, said=2**31), _idx(1, said=10**9), gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3)))


def _hdf5() -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for number, (height, width) in enumerate(((3, 96), (12, 12), (12, 6))):
            file[f"layer_{number}"] = np.ones((2, height, width), np.float32) * 1000
        file["energy"] = np.full((2, 1), 50.0, np.float32)
    return buffer.getvalue()


def _binvox() -> bytes:
    return b"#binvox 1\ndim 4 4 4\ntranslate 0 0 0\nscale 1\ndata\n" + bytes([0, 32, 1, 32])


def _binvox_bombs() -> tuple[bytes, ...]:
    sizes = ("99999 99999 99999", "-1 4 4", "1 1 " + "9" * 5000, "0 0 0")
    return tuple(f"#binvox 1\ndim {size}\ndata\n".encode() + bytes([1, 255] * 8) for size in sizes)


def _midi() -> bytes:
    notes = b"".join(bytes([0, 0x90, 60 + k, 64, 0x30, 0x80, 60 + k, 0]) for k in range(16)) + b"\0\xff\x2f\0"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", len(notes)) + notes


def _metadata() -> bytes:
    rows: list[dict[str, Any]] = [{"file_name": f"{n}.png", "text": f"word {n}", "size": n / 4} for n in range(4)]
    return "\n".join(map(json.dumps, rows)).encode()


def _png(grey: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (4, 4), grey).save(buffer, "PNG")
    return buffer.getvalue()
