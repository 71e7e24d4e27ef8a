""".npy and .npz files: what is asked for, and no more. Pickled objects are refused; .npy files are memory-mapped."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from gencore.data.regular import open_regular
from gencore.errors import GencoreError

_CHUNK = 1 << 24


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except GencoreError:
        raise
    except FileNotFoundError as error:
        raise GencoreError(f"{path} does not exist.") from error
    except MemoryError as error:
        raise GencoreError(
            f"{path} does not fit into memory. Save x as a .npy file, which is memory-mapped."
        ) from error
    except Exception as error:  # NumPy's header parser and zipfile raise whatever damaged bytes led them to
        raise GencoreError(
            f"{path} cannot be read as NumPy arrays: {error} It is damaged, or holds pickled objects, which are never "
            "loaded: save plain numbers, np.save(path, np.asarray(x, dtype=np.float32))."
        ) from error


def map_npy(path: Path) -> npt.NDArray[Any]:
    """The array in a .npy file, mapped: a page is read when it is used, and writing changes a copy of it.

    Raises GencoreError where it is missing, damaged or cut short, and for pickled objects.
    """
    with _errors_of(path), open_regular(path) as file:
        header = _read_header(file)
        offset = file.tell()
        present = os.fstat(file.fileno()).st_size - offset
        if present < header.nbytes:
            raise GencoreError(
                f"{path} is cut short: its header gives {header.shape} {header.dtype}, {header.nbytes} bytes, and "
                f"{present} follow. Copy it again."
            )
        if not header.nbytes:
            return np.empty(header.shape, header.dtype)
        order: Literal["F", "C"] = "F" if header.fortran else "C"
        mapped: npt.NDArray[Any] = np.memmap(cast(Any, file), header.dtype, "c", offset, header.shape, order)
        return mapped


def read_npz(path: Path, wanted: Callable[[str], bool]) -> dict[str, npt.NDArray[Any]]:
    """The `wanted` members of a .npz file. Others that have a row for each of x are refused by name, since they would
    be dropped without a word; those that have not are left alone, with a warning but for texts (a list of words).

    Raises GencoreError as map_npy does, for such members, for wanted members that have not as many rows as x, and for
    more than this machine's memory. Nothing is read of what is not wanted but its header.
    """
    with _errors_of(path), open_regular(path) as file, zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise GencoreError(f"{path} has two members of one name; keep one of them.")
        headers = {name: _member_header(archive, info, path) for name, info in members.items()}
        rows = headers["x"].shape[:1] if "x" in headers else None
        if others := sorted(name for name in members if not wanted(name) and headers[name].shape[:1] in (rows, None)):
            raise GencoreError(
                f"{path} has no use for its members {others[:20]}: the examples are x, their classes label, further "
                "pictures x_input or x_...; save it without the others."
            )
        left = sorted(name for name, header in headers.items() if not wanted(name) and header.dtype.kind not in "SU")
        if left:
            warnings.warn(f"{path}: {left[:20]} are left out of account; they have no row for each of x.", stacklevel=4)
        headers = {name: header for name, header in headers.items() if wanted(name)}
        _check_rows(headers, path)
        return {name: _read_member(archive, members[name], headers[name]) for name in headers}


def _read_header(file: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"its format is {version}; 1.0 and 2.0 can be read.")
    header = _Header(*readers[version](file))
    if header.dtype.hasobject:
        raise ValueError("its values are Python objects.")
    return header


def _member_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> _Header:
    with archive.open(info) as member:
        header = _read_header(member)
        told = member.tell() + header.nbytes
    if told != info.file_size:
        raise GencoreError(
            f"{path}: the header of {info.filename} gives {header.shape} {header.dtype}, {told} bytes with itself, and "
            f"the member has {info.file_size}. It is damaged."
        )
    return header


def _check_rows(headers: dict[str, _Header], path: Path) -> None:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    total = sum(header.nbytes for header in headers.values())
    if total > memory:
        raise GencoreError(
            f"{path} needs {total / 2**30:.1f} GiB in memory, and this machine has {memory / 2**30:.1f}. Save x as a "
            ".npy file, which is memory-mapped."
        )
    rows = headers["x"].shape[:1] if "x" in headers else None
    for name, header in headers.items():
        if rows and header.shape[:1] != rows:
            raise GencoreError(
                f"{path}: {name} is {header.shape} {header.dtype}; expected {rows[0]} rows, as x has: ({rows[0]},) "
                "integers for labels."
            )


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: _Header) -> npt.NDArray[Any]:
    data = bytearray()
    with archive.open(info) as member:
        _read_header(member)
        while piece := member.read(_CHUNK):
            data += piece
    flat = np.frombuffer(data, header.dtype, math.prod(header.shape))
    return flat.reshape(header.shape, order="F" if header.fortran else "C")
