"""Images at the border: float tensors in [-1, 1] to and from uint8 and PIL; resizing; grids as PNG files."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from gencore.data.ranges import check_image_range, finite_bounds
from gencore.errors import GencoreError

if TYPE_CHECKING:
    from PIL.Image import Image


def to_uint8(x: Tensor) -> Tensor:
    """Float images in [-1, 1], (N, C, H, W) or (C, H, W), to uint8 0 ... 255 of the same shape, rounded.

    Raises GencoreError: not floating point, wrong number of axes, C not 1 or 3, values outside [-1, 1] by more than
    1e-3; NonFiniteError: NaN or infinite values.
    """
    if x.ndim not in (3, 4) or x.shape[-3] not in (1, 3) or not x.numel():
        raise GencoreError(
            f"got a tensor of shape {tuple(x.shape)}; expected images (N, C, H, W) or (C, H, W) with 1 or 3 channels."
        )
    if not x.is_floating_point():
        raise GencoreError(f"got a tensor of {x.dtype}; expected floating point in [-1, 1] (see from_uint8).")
    x = x.detach().float().cpu()
    check_image_range(finite_bounds(x if x.ndim == 4 else x[None], "the image tensor"), "the image tensor")
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def from_uint8(x: Tensor) -> Tensor:
    """uint8 0 ... 255 of any shape to float32 in [-1, 1]: x / 127.5 - 1."""
    if x.dtype != torch.uint8:
        raise GencoreError(f"got a tensor of {x.dtype}; expected uint8, 0 to 255.")
    return x.float() / 127.5 - 1


def to_pil(x: Tensor) -> Image:
    """One image, (C, H, W) in [-1, 1], as PIL in mode L or RGB. Raises as to_uint8 does."""
    from PIL import Image

    if x.ndim != 3:
        raise GencoreError(
            f"got a tensor of shape {tuple(x.shape)}; expected one image (C, H, W); see grid for several."
        )
    pixels = rearrange(to_uint8(x), "c h w -> h w c").numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def from_pil(
    image: Image, channels: Literal[1, 3] | None = None, data_range: tuple[float, float] | None = None
) -> Tensor:
    """A PIL image of any mode as (C, H, W) float32 in [-1, 1]; C is 1 for grey modes and 3 for others if None.

    Transparency is laid over white; 16 bits are scaled to 8. data_range: the (low, high) of its stored samples, None
    for all that their depth holds. Raises GencoreError for float images, and for samples out of range.
    """
    import numpy as np

    from gencore.data.flatten import flatten, is_grey

    wanted = channels or (1 if is_grey(image) else 3)
    try:
        pixels = np.array(flatten(image, wanted, data_range))
    except ValueError as error:
        raise GencoreError(f"a PIL image of mode {image.mode} cannot be used: {error}.") from error
    return from_uint8(rearrange(torch.from_numpy(pixels), "h w ... -> (...) h w"))


def read_image(
    path: str | os.PathLike[str], channels: int | None = None, size: tuple[int, int] | None = None
) -> Tensor:
    """The picture in a file, (C, H, W) float32 in [-1, 1], upright; C is 1 for grey files and 3 for others if None.

    size: (H, W), to which the central part of that shape is resized; None is the file's own. Raises
    UnreadableImageError, or GencoreError where there is no such file or channels is not 1, 3 or None.
    """
    import numpy as np

    from gencore.data.decode import read_picture

    if channels not in (None, 1, 3) or (size is not None and min(size) < 1):
        raise GencoreError(f"channels is {channels} and size {size}; expected 1, 3 or None, and (H, W) of 1 or more.")
    file = Path(os.path.expanduser(path))
    if not os.path.lexists(file):
        raise GencoreError(f"{file} does not exist; expected an image file.")
    pixels = torch.from_numpy(np.array(read_picture(file, channels, size)))
    return from_uint8(rearrange(pixels, "h w ... -> (...) h w"))


def resize_images(x: Tensor, image_size: int) -> Tensor:
    """Images (N, C, H, W), float in [-1, 1] or uint8, to (N, C, image_size, image_size) of the same dtype.

    Central square, then the antialiased bicubic filter as Pillow has it, clipped to the range (bicubic
    overshoots). uint8 is clipped and rounded after each of the two passes, as in Pillow; float once, at the end.
    """
    if x.ndim != 4:
        raise GencoreError(
            f"image_size is {image_size}, but the data have shape {tuple(x.shape[1:])}: no images (C, H, W)."
        )
    if image_size < 1:
        raise GencoreError(f"image_size is {image_size}; expected at least 1.")
    height, width = x.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = x[..., top : top + side, left : left + side]
    if side == image_size:
        return square
    resized = F.interpolate(square, size=(image_size, image_size), mode="bicubic", antialias=True)
    return resized if x.dtype == torch.uint8 else resized.clamp(-1, 1)


def grid(x: Tensor, columns: int | None = None, padding: int = 2) -> Image:
    """Images (N, C, H, W) in [-1, 1] side by side, row by row, on white; about as many columns as rows if None.

    Raises as to_uint8 does, and GencoreError for columns < 1 or padding < 0.
    """
    if x.ndim != 4:
        raise GencoreError(f"got a tensor of shape {tuple(x.shape)}; expected images (N, C, H, W).")
    if (columns is not None and columns < 1) or padding < 0:
        raise GencoreError(f"columns is {columns} and padding is {padding}; expected columns >= 1 and padding >= 0.")
    pixels = to_uint8(x)
    across = min(columns or math.ceil(math.sqrt(len(x))), len(x))
    empty = -len(x) % across
    cells = F.pad(F.pad(pixels, (0, 0, 0, 0, 0, 0, 0, empty), value=255), (padding, 0, padding, 0), value=255)
    sheet = rearrange(cells, "(r k) c h w -> c (r h) (k w)", k=across)
    return to_pil(from_uint8(F.pad(sheet, (0, padding, 0, padding), value=255)))


def save_grid(x: Tensor, path: str | os.PathLike[str], columns: int | None = None, padding: int = 2) -> None:
    """Write `grid(x, columns, padding)` as a PNG file, whole or not at all.

    Raises as grid does; GencoreError for another suffix than .png; gencore_hub's StorageError (a ValueError) where
    the place cannot be written.
    """
    from gencore_hub.atomic import atomic_write

    if Path(path).suffix.lower() != ".png":
        raise GencoreError(f"the grid's path is {os.fspath(path)!r}; expected a name that ends in .png.")
    buffer = io.BytesIO()
    grid(x, columns, padding).save(buffer, format="PNG")
    atomic_write(path, buffer.getvalue())
