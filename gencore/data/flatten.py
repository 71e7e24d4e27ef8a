"""From a PIL image of any mode to 8 bits, grey or RGB: depth, range, colour profile, transparency.

Samples of b bits become 8 by floor(v * 255 / (2**b - 1) + 1/2), and a colour key is compared at the depth that it is
stored in (PNG specification, 3rd edition, sections 13.12 and 13.16.1). Transparency is laid over white.
"""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gencore.data.colour import to_srgb
from gencore.data.ranges import DataRange

GREY_MODES = frozenset({"1", "L", "LA", "La", "I"})
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
WIDE = 65535

Samples = npt.NDArray[np.float64]

_WIDE_LAYOUT = re.compile(r"(LA|RGB|RGBA|RGBX);16([BLN])")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def is_grey(image: Image.Image) -> bool:
    """Whether no colour is possible, by the header (a palette counts as colour)."""
    return image.mode in GREY_MODES or image.mode.startswith("I;16") or layout_of(image) == "LA;16B"


def layout_of(image: Image.Image) -> str | None:
    """How the samples lie in a PNG or TIFF file, such as "L;4" or "RGB;16B"; None for others, and once decoded."""
    if getattr(image, "format", None) not in ("PNG", "TIFF") or not getattr(image, "tile", None):
        return None
    arguments = image.tile[0][3]  # type: ignore[attr-defined]
    return str(arguments if isinstance(arguments, str) else arguments[0])


def flatten(
    image: Image.Image, channels: int, data_range: DataRange | None = None, name: str = "an image"
) -> Image.Image:
    """The image in mode L (channels 1) or RGB (channels 3), 8 bits, transparency over white, colours in sRGB.

    data_range: the (low, high) that its stored samples run through, to become 0 and 255; None is all that its depth
    can hold. Raises ValueError for float pixels, and for values outside the range.
    """
    mode, layout = "L" if channels == 1 else "RGB", layout_of(image)
    if image.mode == "F":
        raise ValueError("its pixels are floats of unknown range; save it with 8 or 16 bits, or use a .npy array")
    profile = image.info.get("icc_profile")
    if (wide := _wide_samples(image, layout)) is not None:
        values, alpha = wide
    else:
        image, alpha = _split_alpha(image, layout)
        if data_range is None:
            return _over_white(to_srgb(image, name), alpha, mode)
        values = np.asarray(image).astype(np.float64)
    low, high = data_range or (0, WIDE)
    _check_bounds(values, low, high, given=data_range is not None)
    if alpha is not None and not profile:  # before rounding; a profile is applied to 8 bits, and comes before white
        values, alpha = _blend(values, alpha, high), None
    picture = Image.fromarray(np.floor((values - low) * (255 / (high - low)) + 0.5).astype(np.uint8))
    if profile:
        picture.info["icc_profile"] = profile
    return _over_white(to_srgb(picture, name), alpha, mode)


def peak(image: Image.Image) -> tuple[int, int]:
    """(largest, largest possible) of the stored samples; of an image with transparency, when it lies over white."""
    if (wide := _wide_samples(image, layout_of(image))) is not None:
        values, alpha = wide
        return int((values if alpha is None else _blend(values, alpha, WIDE)).max()), WIDE
    return int(np.asarray(flatten(image, 3)).max()), 255


def _wide_samples(image: Image.Image, layout: str | None) -> tuple[Samples, Samples | None] | None:
    """Samples of more than 8 bits, (H, W) or (H, W, 3), and their alpha, (H, W) in [0, 1]; None for other images."""
    key = image.info.get("transparency")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float64)
        return values, None if key is None else (values != key).astype(np.float64)
    if not layout or not (match := _WIDE_LAYOUT.fullmatch(layout)):
        return None
    kind, order = match.groups()
    if kind == "LA":  # both bytes of both samples, as if they were four samples of 8 bits
        both = _decoded(image, "RGBA").astype(np.float64) @ np.array([[256.0, 0], [1, 0], [0, 256], [0, 1]])
        return both[..., 0], both[..., 1] / WIDE
    # Pillow keeps the higher byte of each sample; in the other byte order that is the lower one
    other = _again(image)
    deep = _decoded(image, layout).astype(np.float64) * 256 + _decoded(other, f"{kind};16{_OTHER_ORDER[order]}")
    if kind == "RGBA":
        return deep[..., :3], deep[..., 3] / WIDE
    return deep[..., :3], None if key is None else (deep != np.array(key)).any(-1).astype(np.float64)


def _again(image: Image.Image) -> Image.Image:
    file = image.fp  # type: ignore[attr-defined]
    position = file.tell()
    file.seek(0)
    content = io.BytesIO(file.read())
    file.seek(position)
    return Image.open(content, formats=(str(image.format),))


def _decoded(image: Image.Image, layout: str) -> npt.NDArray[np.uint8]:
    """The pixels, read as if they lay in the file in another way."""
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=layout if isinstance(tile.args, str) else (layout, *tile.args[1:]))
        for tile in image.tile  # type: ignore[attr-defined]
    ]
    return np.asarray(image)


def _check_bounds(values: Samples, low: float, high: float, *, given: bool) -> None:
    if values.min() < low or values.max() > high:
        raise ValueError(
            f"its integer pixels run from {values.min():.0f} to {values.max():.0f}; {low:g} to {high:g} "
            + ("was given as their range" if given else "can be read, or say their range (--data-range LOW,HIGH)")
        )


def _split_alpha(image: Image.Image, layout: str | None) -> tuple[Image.Image, Samples | None]:
    """An image of 8 bits in mode L, RGB or CMYK, and its alpha, (H, W) in [0, 1]."""
    key, profile = image.info.get("transparency"), image.info.get("icc_profile")
    if image.mode in ALPHA_MODES or (image.mode == "P" and key is not None):
        image = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
        alpha: Samples | None = np.asarray(image.getchannel("A")) / 255
        image = image.convert("L" if image.mode == "LA" else "RGB")
    else:
        if image.mode not in ("L", "CMYK"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        alpha = None if key is None else _key_alpha(np.asarray(image), key, layout)
    if profile:
        image.info["icc_profile"] = profile
    return image, alpha


def _key_alpha(pixels: npt.NDArray[np.uint8], key: int | tuple[int, ...], layout: str | None) -> Samples:
    scale = {"L;2": 85, "L;4": 17}.get(layout or "", 1)  # Pillow scales the samples to 8 bits, and not the key
    different = pixels != np.array(key) * scale
    return (different.any(-1) if pixels.ndim == 3 else different).astype(np.float64)


def _blend(values: npt.NDArray[Any], alpha: Samples, white: float) -> Samples:
    cover = alpha if values.ndim == 2 else alpha[..., None]
    blended: Samples = values * cover + white * (1 - cover)
    return blended


def _over_white(image: Image.Image, alpha: Samples | None, mode: str) -> Image.Image:
    if alpha is not None:
        pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
        image = Image.fromarray(np.floor(_blend(pixels, alpha, 255) + 0.5).astype(np.uint8))
    return image.convert(mode)
