"""The range of values: finite numbers, images in [-1, 1], and one rule for what is stored in other numbers.

Whole numbers are taken to run through all that their type holds (0 ... 255 for uint8) and floats through [-1, 1].
Where the data cannot be meant so (is_dark; no float is negative), or the type says nothing (int32), the range must be
stated: data_range=(low, high), --data-range LOW,HIGH.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gencore.errors import GencoreError, NonFiniteError

DataRange = tuple[float, float]

RANGE_TOLERANCE = 1e-3


def check_range(data_range: DataRange | None) -> None:
    """Raise GencoreError unless it is None, or two finite numbers with low < high."""
    if data_range is not None and not (
        len(data_range) == 2 and all(map(math.isfinite, data_range)) and data_range[0] < data_range[1]
    ):
        raise GencoreError(f"data_range is {data_range}; expected (low, high), finite, with low < high.")


def is_dark(peak: int, top: int) -> bool:
    """Whether data whose largest value is `peak` were hardly meant to run up to `top`, the largest of their type.

    So are data of 4 bits or less in 8 (masks of 0 and 1; counts of 0 to 16), and of 14 or less in 16 (cameras,
    scanners). All 0 is black in every range.
    """
    return 0 < peak * (15 if top <= 255 else 4) <= top


def check_peak(peak: int, top: int, what: str) -> None:
    """Raise GencoreError for data that are dark (is_dark), with how to state their range."""
    if is_dark(peak, top):
        raise GencoreError(
            f"{what} have whole numbers up to {peak}, of {top} that their type holds: nearly black. Say which range "
            f"they run through: data_range=(0, {peak}) (--data-range 0,{peak}), or (0, {top}) if they are that dark."
        )


def check_within(bounds: tuple[float, float], data_range: DataRange, what: str) -> None:
    """Raise GencoreError unless the bounds lie in data_range, within a tolerance of 5e-4 of its width."""
    low, high = data_range
    slack = (high - low) * RANGE_TOLERANCE / 2
    if bounds[0] < low - slack or bounds[1] > high + slack:
        raise GencoreError(
            f"{what} has values from {bounds[0]:.6g} to {bounds[1]:.6g}; data_range says {low:g} to {high:g}."
        )


def rescale(x: Tensor, data_range: DataRange) -> Tensor:
    """Numbers of any type in [low, high] as float32 in [-1, 1], clipped."""
    low, high = data_range
    return ((x.double() - low) * (2 / (high - low)) - 1).clamp(-1, 1).float()


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
