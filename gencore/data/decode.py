"""From an image file of any size and mode to uint8 pixels of one size, with 1 or 3 channels. Needs Pillow.

First frame of an animation; made 8 bits, grey or RGB (gencore.data.flatten); turned upright by its EXIF tag; cropped to
the central square; resized with the antialiased bicubic filter. Large JPEGs are decoded at a half, quarter or eighth.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from gencore.data.flatten import flatten, is_grey, peak
from gencore.data.ranges import DataRange
from gencore.data.regular import NotRegularError, open_regular
from gencore.data.resampling import resample_box
from gencore.errors import GencoreError

Half = Literal["left", "right"]

LEAST_DRAFT = 4
"""Of 8 x 8 pixels, a draft of 2 times the size differs by up to 7 levels of 255 from the whole, 4 times by 2."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_COLUMNS_REVERSED, _ROWS_REVERSED = (2, 3, 7, 8), (3, 4, 6, 7)


class UnreadableImageError(GencoreError):
    """An image file that cannot be decoded; `path` is the file and `reason` what is wrong with it."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(
            f"{path} cannot be read as an image: {reason}. Repair or remove it, or leave such files out with "
            "skip_corrupt=True (--skip-corrupt)."
        )
        self.path, self.reason = Path(path), reason


class Header(NamedTuple):
    """What a file says of itself before it is decoded. `grey`: no colour is possible (a palette counts as colour)."""

    width: int
    height: int
    grey: bool


class Decoding(NamedTuple):
    """How files become pixels: 1 or 3 channels, the side of the square, the range of the samples, which half."""

    channels: int
    size: int
    data_range: DataRange | None = None
    half: Half | None = None


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with open_regular(path) as file, Image.open(file) as image:
            yield image
    except NotRegularError as error:
        raise UnreadableImageError(path, f"it {error.reason}") from error
    except (GencoreError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise GencoreError(f"{path} has vanished since the folder was listed. Put it back, or start anew.") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(path, f"{error}; PIL.Image.MAX_IMAGE_PIXELS sets the limit") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(path, "UnidentifiedImageError: its content is of no known kind") from error
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes led them to
        raise UnreadableImageError(path, f"{type(error).__name__}: {error}".rstrip(".")) from error


def read_header(path: Path) -> Header:
    """Size and mode, without decoding. Raises UnreadableImageError, or GencoreError where the file has vanished."""
    with _opened(path) as image:
        return Header(image.width, image.height, is_grey(image))


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture, without decoding. Raises as read_header does."""
    with _opened(path) as image:
        turned = image.getexif().get(_ORIENTATION, 1) in _SIDEWAYS
        return (image.height, image.width) if turned else (image.width, image.height)


def read_peak(path: Path) -> tuple[int, int]:
    """The file's largest sample and the largest that it could hold. Raises as read_header does."""
    with _opened(path) as image:
        return peak(image)


def read_pixels(path: Path, how: Decoding) -> npt.NDArray[np.uint8]:
    """The file's pixels, (size, size, channels) uint8. Raises as read_header does."""
    with _opened(path) as image:
        return pixels_of(image, how, str(path))


def read_square(path: Path, how: Decoding, place: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The square of how.size pixels of the upright picture that begins at `place` (left, top), at its own resolution,
    (size, size, channels) uint8. Raises as read_header does."""
    with _opened(path) as image:
        flat = flatten(image, how.channels, how.data_range, str(path))
        turn = image.getexif().get(_ORIENTATION, 1)  # after decoding: Pillow turns TIFF files itself
        upright = flat.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else flat
        left, top = place
        square = upright.crop((left, top, left + how.size, top + how.size))
        return np.asarray(square).reshape(how.size, how.size, how.channels)


def pixels_of(image: Image.Image, how: Decoding, name: str) -> npt.NDArray[np.uint8]:
    """An image's pixels, (size, size, channels) uint8. Raises ValueError for floats and values out of range."""
    width, height = image.size
    scale = 1 if how.half else _draft(image, how.size)
    flat = flatten(image, how.channels, how.data_range, name)
    turn = image.getexif().get(_ORIENTATION, 1)  # after decoding: Pillow turns TIFF files itself
    if how.half:
        flat, turn = _half(flat.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else flat, how.half), 1
    if scale == 1:
        width, height = flat.size
    square = fit_square(flat, how.size, _central_square(width, height, turn), scale)
    upright = square.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else square
    return np.asarray(upright).reshape(how.size, how.size, how.channels)


def _draft(image: Image.Image, size: int) -> int:
    """Have a JPEG decoded at 1 / scale, and return the scale; 1 for other files.

    At least LEAST_DRAFT times the size that is needed is decoded. The encoder fills up blocks that the picture does not
    fill, with what it likes, and a shrunk pixel mixes that in: no scale with such a pixel in the square is taken.
    """
    side = min(image.size)
    for scale in (8, 4, 2):
        ends = ((length + side + 1) // 2 for length in image.size)
        whole = all(end <= length // scale * scale for end, length in zip(ends, image.size, strict=True))
        if side // scale >= LEAST_DRAFT * size and whole:
            return scale if image.draft(None, (image.width // scale, image.height // scale)) else 1
    return 1


def _half(image: Image.Image, half: Half) -> Image.Image:
    if image.width % 2:
        raise ValueError(f"it is {image.width} pixels wide; two pictures side by side have an even width")
    middle = image.width // 2
    return image.crop((0, 0, middle, image.height) if half == "left" else (middle, 0, image.width, image.height))


def _central_square(width: int, height: int, turn: int = 1) -> tuple[int, int, int]:
    """(left, top, side), as stored, of the square in the middle of the upright image; an odd pixel goes below right."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    if turn in _COLUMNS_REVERSED:
        left = width - side - left
    if turn in _ROWS_REVERSED:
        top = height - side - top
    return left, top, side


def fit_square(image: Image.Image, size: int, box: tuple[int, int, int], scale: int = 1) -> Image.Image:
    """The square `box` (left, top, side) of an L or RGB image, as size x size.

    With a scale the box is one of the image at its full size, of which this is the draft; it may begin and end within
    pixels.
    """
    left, top, side = box
    if scale > 1:
        smaller = (left / scale, top / scale, side / scale)
        return Image.fromarray(resample_box(np.asarray(image), size, smaller))
    square = image.crop((left, top, left + side, top + side))
    return square if side == size else square.resize((size, size), Image.Resampling.BICUBIC)


def fit_whole(image: Image.Image, height: int, width: int) -> Image.Image:
    """An L or RGB image as height x width: the central part of that shape, resized."""
    scale = min(image.width / width, image.height / height)
    across, down = round(width * scale), round(height * scale)
    left, top = (image.width - across) // 2, (image.height - down) // 2
    part = image.crop((left, top, left + across, top + down))
    return part if part.size == (width, height) else part.resize((width, height), Image.Resampling.BICUBIC)


def read_picture(path: Path, channels: int | None, size: tuple[int, int] | None) -> Image.Image:
    """The file as an upright L or RGB image, at its own size or as `size` (height, width). Raises as read_header."""
    with _opened(path) as image:
        flat = flatten(image, channels or (1 if is_grey(image) else 3), name=str(path))
        turn = image.getexif().get(_ORIENTATION, 1)
        upright = flat.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else flat
        return upright if size is None else fit_whole(upright, *size)
