"""PNG files of any colour type and bit depth, written from the specification; and what their samples mean."""

from __future__ import annotations

import itertools
import struct
import zlib

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGBA: (8, 16)}
KINDS = [(kind, depth) for kind, depths in DEPTHS.items() for depth in depths]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _row_bytes(row: np.ndarray, depth: int) -> bytes:
    """Samples of one row, packed with the first in the highest bits (section 7.2)."""
    if depth == 16:
        return row.astype(">u2").tobytes()
    if depth == 8:
        return row.astype(np.uint8).tobytes()
    bits = (row[:, None] >> np.arange(depth)[::-1]) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).tobytes()


def _paeth(a: int, b: int, c: int) -> int:
    p = a + b - c
    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]


def _filtered(row: bytes, above: bytes, step: int, kind: int) -> bytes:
    """A filter byte and the filtered row (section 9.2)."""
    out = bytearray([kind])
    for i, value in enumerate(row):
        a = row[i - step] if i >= step else 0
        b, c = above[i], above[i - step] if i >= step else 0
        out.append((value - (0, a, b, (a + b) // 2, _paeth(a, b, c))[kind]) % 256)
    return bytes(out)


def png(
    samples: np.ndarray,
    kind: int,
    depth: int,
    *,
    key: tuple[int, ...] | None = None,
    palette: list[tuple[int, int, int]] | None = None,
    alphas: list[int] | None = None,
) -> bytes:
    """A file of `samples` (H, W, channels), with all five filters in turn."""
    height, width, channels = samples.shape
    step, above, data = max(1, channels * depth // 8), b"", b""
    for row, chosen in zip(samples.reshape(height, -1), itertools.cycle(range(5)), strict=False):
        packed = _row_bytes(row, depth)
        data += _filtered(packed, above or bytes(len(packed)), step, chosen)
        above = packed
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))]
    if palette:
        chunks.append((b"PLTE", bytes(itertools.chain.from_iterable(palette))))
    if key is not None:
        chunks.append((b"tRNS", struct.pack(f">{len(key)}H", *key)))
    if alphas is not None:
        chunks.append((b"tRNS", bytes(alphas)))
    chunks += [(b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(itertools.starmap(_chunk, chunks))
