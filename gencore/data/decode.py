"""From an image file of any size and mode to uint8 pixels of one size, with 1 or 3 channels. Needs Pillow.

Turned upright by its EXIF tag; first frame of an animation; transparency laid over white; 16 bits scaled to 8;
cropped to the central square; then resized with Pillow's antialiased bicubic filter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from gencore.errors import GencoreError

GREY_MODES = frozenset({"1", "L", "LA", "La", "I"})
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


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


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (GencoreError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise GencoreError(f"{path} has vanished since the folder was listed. Put it back, or start anew.") from error
    except PermissionError as error:
        raise GencoreError(f"{path} may not be read: {error.strerror}. Change its permissions.") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(path, f"{error}; PIL.Image.MAX_IMAGE_PIXELS sets the limit") from error
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes led them to
        raise UnreadableImageError(path, f"{type(error).__name__}: {error}".rstrip(".")) from error


def read_header(path: Path) -> Header:
    """Size and mode, without decoding. Raises UnreadableImageError, or GencoreError where the file is out of reach."""
    with _errors_of(path), Image.open(path) as image:
        grey = image.mode in GREY_MODES or image.mode.startswith("I;16")
        return Header(image.width, image.height, grey)


def read_image(path: Path, channels: int, size: int) -> npt.NDArray[np.uint8]:
    """The file's pixels, (size, size, channels) uint8. Raises as read_header does."""
    with _errors_of(path), Image.open(path) as image:
        image.draft(None, (2 * size, 2 * size))  # JPEG only: decodes at no more than twice the size that is needed
        upright = ImageOps.exif_transpose(image)
        pixels = np.asarray(fit_square(flatten(upright, channels), size))
        return pixels.reshape(size, size, channels)


def flatten(image: Image.Image, channels: int) -> Image.Image:
    """The image in mode L (channels 1) or RGB (channels 3), transparency over white. Raises ValueError for mode F."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bits(image).convert(mode)
    if image.mode == "F":
        raise ValueError("its pixels are floats of unknown range; save it with 8 or 16 bits, or use a .npy array")
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its integer pixels run from {values.min()} to {values.max()}; 0 to 65535 can be read")
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values[values == transparent] = 65535
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def fit_square(image: Image.Image, size: int) -> Image.Image:
    """The central square of an L or RGB image, resized to size x size."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square if side == size else square.resize((size, size), Image.Resampling.BICUBIC)
