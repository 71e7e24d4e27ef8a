"""Pictures turned, zoomed and shifted, each by its own amount."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def poses(*, turn: Tensor, zoom: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Maps from places in the new picture to places in the old one, (N, 2, 3), from four (N,).

    The content is turned anticlockwise by `turn` radians and made `zoom` times larger about the middle, then moved by
    `across` to the right and `down`, in half sides (2 is the whole picture).
    """
    cos, sin = turn.cos() / zoom, turn.sin() / zoom
    first = torch.stack([cos, -sin, -cos * across + sin * down], 1)
    second = torch.stack([sin, cos, -sin * across - cos * down], 1)
    return torch.stack([first, second], 1)


def warped(x: Tensor, pose: Tensor) -> Tensor:
    """Pictures (N, C, H, W) under maps (N, 2, 3), bilinear; beyond the border its pixels go on."""
    grid = F.affine_grid(pose, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
