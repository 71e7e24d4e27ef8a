"""Grey levels: a picture's numbers as whole ones, and back.

Level k of L stands for 2 k / (L - 1) - 1: -1 is level 0, 1 is level L - 1. Pictures of 8 bits have 256 levels, the
bundled digits 17.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gencore.errors import GencoreError

Rounding = Literal["none", "nearest"]

TOLERANCE = 1e-3
"""Beyond [-1, 1], and of the distance of two levels: what float32 loses of 256 levels is a tenth of it."""


def check_range(x: Tensor) -> None:
    """Raise GencoreError unless all values are finite and in [-1, 1], within a tolerance."""
    low, high = (float(bound) for bound in torch.aminmax(x.detach()))
    if not -1 - TOLERANCE <= low <= high <= 1 + TOLERANCE:
        raise GencoreError(f"the data go from {low:.4g} to {high:.4g}; expected finite values in [-1, 1].")


def to_levels(x: Tensor, levels: int, rounding: Rounding) -> Tensor:
    """x in [-1, 1], any shape -> int64 in 0 ... levels - 1.

    Raises GencoreError for values outside [-1, 1], and under "none" for values between two levels; "nearest" takes them
    to the nearest one, a half up.
    """
    check_range(x)
    scaled = (x.detach() + 1) * ((levels - 1) / 2)
    rounded = (scaled + 0.5).floor()
    if rounding == "none" and (off := (scaled - rounded).abs() > TOLERANCE).any():
        raise GencoreError(
            f"{int(off.sum())} of {off.numel()} values lie between the {levels} levels from -1 to 1, the first "
            f"{x[off][0].item():.4g}. Set levels to how many the data have (256 for 8-bit images, 17 for the digits), "
            'or rounding="nearest" to have them rounded.'
        )
    return rounded.clamp(0, levels - 1).long()


def from_levels(codes: Tensor, levels: int) -> Tensor:
    """int64 in 0 ... levels - 1 -> float32 in [-1, 1]."""
    return codes.float() * (2 / (levels - 1)) - 1
