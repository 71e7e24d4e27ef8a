"""The IDX format of the original MNIST files (Y. LeCun), plain or gzipped.

Two zero bytes; one byte for the type (0x08: unsigned byte, the only one here); one for the number of axes; the sizes as
big-endian uint32; then the values in C order.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from gencore.data.regular import NotRegularError, open_regular
from gencore.errors import GencoreError

_UNSIGNED_BYTE = 0x08
_CHUNK = 1 << 20
DEFLATE_RATIO = 1032
"""No byte of a gzip file stands for more (RFC 1951: 258 bytes take two bits at least)."""


def read_idx(path: str | os.PathLike[str], num_axes: int) -> npt.NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes with `num_axes` axes; gzip is known by its first bytes.

    Raises GencoreError: cannot be opened, not IDX, another type or number of axes, empty, truncated, trailing bytes.
    """
    path = Path(path)
    try:
        with open_regular(path) as plain:
            size = os.fstat(plain.fileno()).st_size
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            if not zipped:
                return _parse(plain, num_axes, path, math.inf)
            with gzip.open(plain) as unzipped:
                return _parse(unzipped, num_axes, path, size * DEFLATE_RATIO)
    except NotRegularError as error:
        raise GencoreError(f"{path} cannot be read: it {error.reason}; expected an IDX file.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise GencoreError(f"{path} is truncated or damaged: {error}. Download it again.") from error
    except OSError as error:
        raise GencoreError(f"{path} cannot be read: {error.strerror or error}.") from error


def _parse(stream: BinaryIO | gzip.GzipFile, num_axes: int, path: Path, most: float) -> npt.NDArray[np.uint8]:
    """The array; `most` is how many bytes a packed file can hold (a plain one is read to its end at most)."""
    magic = _read(stream, 4)
    expected = bytes([0, 0, _UNSIGNED_BYTE, num_axes])
    if magic != expected:
        raise GencoreError(
            f"{path} begins with {magic.hex(' ') or 'nothing'}; an IDX file of unsigned bytes with {num_axes} axes "
            f"begins with {expected.hex(' ')}. Check that it is the file that its name says."
        )
    sizes = _read(stream, 4 * num_axes)
    if len(sizes) < 4 * num_axes:
        raise GencoreError(f"{path} is truncated: its header ends after {4 + len(sizes)} bytes. Download it again.")
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    count = math.prod(shape)
    if count == 0:
        raise GencoreError(f"{path} is empty: its header gives the shape {shape}.")
    if count > most:
        raise GencoreError(
            f"{path} is truncated or damaged: its header gives the shape {shape}, {count} values, and the file is too "
            "short for that many. Download it again."
        )
    values = _read(stream, count + 1)
    if len(values) != count:
        state = "has trailing bytes" if len(values) > count else f"is truncated after {len(values)} values"
        raise GencoreError(f"{path} {state}; its header gives the shape {shape}, {count} values. Download it again.")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _read(stream: BinaryIO | gzip.GzipFile, count: int) -> bytearray:
    """Up to `count` bytes, in pieces: a header's wild sizes must not become one allocation."""
    data = bytearray()
    while len(data) < count and (piece := stream.read(min(_CHUNK, count - len(data)))):
        data += piece
    return data
