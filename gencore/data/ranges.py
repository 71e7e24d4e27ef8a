"""The range of values: finite numbers, images in [-1, 1]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencore.errors import GencoreError, NonFiniteError

RANGE_TOLERANCE = 1e-3


def finite_bounds(x: Tensor, what: str, index: Tensor | None = None) -> tuple[float, float]:
    """The least and the greatest value of x, (N, ...) floating point.

    Raises NonFiniteError with the number of NaN or infinite values and the first such example (its row, or `index`
    there). One pass: torch.aminmax lets NaN through, and costs 0.17 ms for (128, 3, 64, 64), isfinite().all() 3 ms.
    """
    low, high = (bound.item() for bound in torch.aminmax(x))
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    bad = ~torch.isfinite(x.reshape(len(x), -1))
    row = int(bad.any(1).nonzero()[0])
    first = row if index is None else int(index[row])
    raise NonFiniteError(
        f"{what} has {int(bad.sum())} values that are NaN or infinite, in {int(bad.any(1).sum())} of {len(x)} "
        f"examples; the first is example {first}. Remove or repair these examples."
    )


def check_image_range(bounds: tuple[float, float], what: str) -> None:
    """Raise GencoreError unless the bounds lie in [-1, 1], within a tolerance of 1e-3."""
    low, high = bounds
    if low < -1 - RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise GencoreError(
            f"{what} holds images with values from {low:.4g} to {high:.4g}; expected [-1, 1]. Scale them, x / 127.5 - "
            "1 from 0 ... 255 or x * 2 - 1 from [0, 1], or clip what is little beyond, x.clamp(-1, 1)."
        )


def is_image_key(key: str, value: Tensor) -> bool:
    """Whether a batch's entry holds images: x, or the x of another stream, with axes NCHW."""
    return (key == "x" or key.startswith("x_")) and value.ndim == 4
