"""Weights and pictures by a formula, under the names of BasicSR's RRDBNet: for the recorded outputs of spandrel's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

WIDTH, GROWTH, BLOCKS, SCALES = 8, 32, 2, (4, 2, 1)


def shapes(scale: int) -> dict[str, tuple[int, int]]:
    """(channels out, channels in) of each 3 x 3 convolution."""
    found = {"conv_first": (WIDTH, 3 * (4 // scale) ** 2)}
    for block in range(BLOCKS):
        for dense in range(1, 4):
            for k in range(1, 6):
                after = WIDTH if k == 5 else GROWTH
                found[f"body.{block}.rdb{dense}.conv{k}"] = (after, WIDTH + (k - 1) * GROWTH)
    found |= dict.fromkeys(("conv_body", "conv_up1", "conv_up2", "conv_hr"), (WIDTH, WIDTH))
    return found | {"conv_last": (3, WIDTH)}


def weights(scale: int) -> dict[str, Tensor]:
    """sin(0.37 n + layer) / sqrt(9 channels in), n the place in the tensor; biases 0.05 cos(0.61 n + layer)."""
    made = {}
    for layer, (name, (after, before)) in enumerate(shapes(scale).items()):
        n = torch.arange(after * before * 9, dtype=torch.float64)
        made[f"{name}.weight"] = ((0.37 * n + layer).sin() / math.sqrt(9 * before)).view(after, before, 3, 3).float()
        made[f"{name}.bias"] = (0.05 * (0.61 * n[:after] + layer).cos()).float()
    return made


def picture() -> Tensor:
    """(1, 3, 8, 12) in [0, 1]."""
    n = torch.arange(3 * 8 * 12, dtype=torch.float64)
    return (0.5 + 0.5 * (0.83 * n + 0.01 * n**2).sin()).view(1, 3, 8, 12).float()
