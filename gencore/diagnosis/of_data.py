"""Failures that the training data show."""

from __future__ import annotations

from torch import Tensor

from gencore.diagnosis.finding import Finding

NARROW = 0.5
"""Of the 2 that images in [-1, 1] have."""
SMALL, LARGE = 0.02, 50.0
"""Standard deviations of numbers that are no images."""


def range_wrong(x: Tensor) -> Finding:
    """Images (N, C, H, W) that use a small part of [-1, 1] (`NARROW`, from the 1st to the 99th percentile), or other
    data whose standard deviation is outside `SMALL` to `LARGE`: they were stored on another scale than was read."""
    numbers = x.float().flatten()
    if x.ndim == 4:
        low, high = (numbers.kthvalue(max(1, round(q * len(numbers)))).values.item() for q in (0.01, 0.99))
        return Finding(
            high - low < NARROW,
            f"the middle 98 % lie from {low:.2f} to {high:.2f}; the bar is a width of {NARROW} of [-1, 1]",
        )
    std = numbers.std().item()
    return Finding(not SMALL <= std <= LARGE, f"standard deviation {std:.3g}; expected from {SMALL} to {LARGE:g}")
