"""Pictures as they are, not made fit for training: any size and mode, with transparency, depth and colour profile.

The colours are those that the file stores, also where they are transparent, turned upright by the EXIF tag. A profile
goes along with them where they keep their kind; where they change it (grey from colour, colour from CMYK) they become
sRGB first, by the profile.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gencore.data.colour import to_srgb
from gencore.data.decode import _ORIENTATION, UnreadableImageError, _opened
from gencore.data.flatten import WIDE, _check_bounds, _split_alpha, _wide_samples, layout_of
from gencore.errors import GencoreError

Pixels = npt.NDArray[Any]
"""uint8 or uint16."""

# By the EXIF tag: whether rows and columns change places, then whether rows and columns are reversed.
_TURNS = {2: (0, 0, 1), 3: (0, 1, 1), 4: (0, 1, 0), 5: (1, 0, 0), 6: (1, 0, 1), 7: (1, 1, 1), 8: (1, 1, 0)}
_PNG_KINDS = {1: 0, 3: 2, 2: 4, 4: 6}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Whole:
    """`colours` (H, W, 1 or 3) and `alpha` (H, W) or None, uint8 or uint16; the ICC profile that the colours have."""

    colours: Pixels
    alpha: Pixels | None = None
    profile: bytes | None = None


def read_whole(path: Path, channels: int | None = None) -> Whole:
    """The picture in a file; `channels` 1 or 3, or the file's own. Raises UnreadableImageError, also for animations."""
    with _opened(path) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise UnreadableImageError(path, f"it has {frames} frames; expected one (save them as numbered files)")
        try:
            read = _wide(image, channels) or _narrow(image, channels, str(path))
        except ValueError as error:
            raise UnreadableImageError(path, str(error)) from error
        turn = image.getexif().get(_ORIENTATION, 1)  # after decoding: Pillow turns TIFF files itself
    alpha = None if read.alpha is None else _upright(read.alpha, turn)
    return dataclasses.replace(read, colours=_upright(read.colours, turn), alpha=alpha)


def _wide(image: Image.Image, channels: int | None) -> Whole | None:
    """A picture of more than 8 bits; None for others."""
    profile = image.info.get("icc_profile")
    if image.mode == "F":
        raise ValueError("its pixels are floats of unknown range; save it with 8 or 16 bits")
    if (samples := _wide_samples(image, layout_of(image))) is None:
        return None
    values, cover = samples
    _check_bounds(values, 0, WIDE, given=False)
    colours = values.astype(np.uint16).reshape(*values.shape[:2], -1)
    alpha = None if cover is None else np.rint(cover * WIDE).astype(np.uint16)
    if channels in (None, colours.shape[2]):
        return Whole(colours=colours, alpha=alpha, profile=profile)
    if channels == 1:  # no tool at hand applies a profile to 16 bits: the samples are weighed as they are
        grey = np.rint(colours @ np.array([0.299, 0.587, 0.114])).astype(np.uint16)[..., None]
        return Whole(colours=grey, alpha=alpha)
    return Whole(colours=colours.repeat(3, 2), alpha=alpha)


def _narrow(image: Image.Image, channels: int | None, name: str) -> Whole:
    """A picture of 8 bits or fewer."""
    flat, cover = _split_alpha(image, layout_of(image))
    profile = flat.info.get("icc_profile")
    if flat.mode == "CMYK" or channels not in (None, len(flat.getbands())):
        flat, profile = to_srgb(flat, name).convert("L" if channels == 1 else "RGB"), None
    alpha = None if cover is None else np.rint(cover * 255).astype(np.uint8)
    pixels = np.asarray(flat)
    return Whole(colours=pixels.reshape(*pixels.shape[:2], -1), alpha=alpha, profile=profile)


def _upright(pixels: Pixels, turn: int) -> Pixels:
    transposed, rows, columns = _TURNS.get(turn, (0, 0, 0))
    pixels = np.swapaxes(pixels, 0, 1) if transposed else pixels
    for axis, reverse in ((0, rows), (1, columns)):
        pixels = np.flip(pixels, axis) if reverse else pixels
    return np.ascontiguousarray(pixels)


def png(picture: Whole) -> bytes:
    """The picture as a PNG file of its own depth: 16 bits a sample too, which Pillow does not write for colours."""
    pixels = picture.colours if picture.alpha is None else np.dstack([picture.colours, picture.alpha])
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 3 or pixels.shape[2] not in _PNG_KINDS:
        raise GencoreError(f"pixels are {pixels.shape} {pixels.dtype}; expected (H, W, 1 to 4) uint8 or uint16.")
    height, width, samples = pixels.shape
    file = io.BytesIO(b"")
    file.write(b"\x89PNG\r\n\x1a\n")
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, _PNG_KINDS[samples], 0, 0, 0)
    _chunk(file, b"IHDR", head)
    if picture.profile:
        _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.profile))
    packer = zlib.compressobj(6)
    for row in pixels:
        packed = packer.compress(_filtered(row.astype(row.dtype.newbyteorder(">"))))
        if packed:
            _chunk(file, b"IDAT", packed)
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")
    return file.getvalue()


def _filtered(row: npt.NDArray[np.generic]) -> bytes:
    """One row, (W, samples) big-endian, as the difference of each byte from that of the pixel before (filter 1)."""
    octets = np.frombuffer(row.tobytes(), np.uint8).reshape(len(row), -1)
    difference = octets.copy()
    difference[1:] -= octets[:-1]
    return b"\x01" + difference.tobytes()


def _chunk(file: io.BytesIO, kind: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + kind + content)
    file.write(struct.pack(">I", zlib.crc32(kind + content)))
