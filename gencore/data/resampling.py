"""Bicubic resampling of a box that begins and ends between pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def cubic(distance: Array) -> Array:
    """Keys' kernel with a = -1/2, at |distance| in steps of the coarser grid (Keys 1981, equation 15)."""
    near, far = (1.5 * distance - 2.5) * distance**2 + 1, ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def box_matrix(size: int, count: int, start: float, stop: float) -> Array:
    """(size, count): `count` pixels, of which the stretch from `start` to `stop` counts, to `size` pixels.

    The kernel is stretched by the shrinking factor (antialiased). A pixel that lies partly outside weighs as much as
    lies inside, at the middle of that. Each row sums to 1: what the border cuts off is made up for, as in Pillow.
    """
    edges = np.clip(np.arange(count + 1.0), start, stop)
    step = (stop - start) / size
    centres = start + (np.arange(size) + 0.5) * step
    distance = np.abs((edges[:-1] + edges[1:]) / 2 - centres[:, None]) / max(step, 1.0)
    weight = np.diff(edges) * cubic(distance)
    return weight / weight.sum(axis=1, keepdims=True)


def resample_box(pixels: npt.NDArray[np.uint8], size: int, box: tuple[float, float, float]) -> npt.NDArray[np.uint8]:
    """The square (left, top, side) of `pixels`, (H, W) or (H, W, C), as (size, size) or (size, size, C)."""
    left, top, side = box
    rows = box_matrix(size, pixels.shape[0], top, top + side)
    columns = box_matrix(size, pixels.shape[1], left, left + side)
    resized = np.einsum("ih,hw...,jw->ij...", rows, pixels, columns, optimize=True)
    return np.clip(np.rint(resized), 0, 255).astype(np.uint8)
