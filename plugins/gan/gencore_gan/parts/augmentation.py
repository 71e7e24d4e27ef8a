"""Augmentation of all that a critic sees (Karras, Aittala, Hellsten, Laine, Lehtinen & Aila 2020, "Training Generative
Adversarial Networks with Limited Data", arXiv:2006.06676): the pixel blitting of its appendix B. Each of three changes
happens to an example with probability p: a flip (or none), a turn by 0, 90, 180 or 270 degrees, a shift by up to an
eighth of the size in whole pixels, reflected at the borders. For p < 1 the generator's pictures have to look right
unchanged, as no change is then as frequent as none (section 2.2).
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

SHIFT = 0.125


def places(
    side: int, flip: Tensor, turns: Tensor, down: Tensor, right: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Rows and columns (N, side, side) that each pixel of a changed image is taken from: flipped where `flip`, then
    turned left `turns` times, then shifted; all (N,)."""
    line = torch.arange(side, device=device)
    row, column = (_reflected(line - rearrange(shift, "n -> n 1"), side) for shift in (down, right))
    row, column = torch.broadcast_tensors(row[:, :, None], column[:, None, :])
    for turn in range(3):
        now = (turns > turn)[:, None, None]
        row, column = torch.where(now, column, row), torch.where(now, side - 1 - row, column)
    return row, torch.where(flip[:, None, None], side - 1 - column, column)


def _reflected(place: Tensor, side: int) -> Tensor:
    """Places beyond the borders, by less than `side`, mirrored at the border pixels."""
    return side - 1 - (side - 1 - place.abs()).abs()


def augmented(x: Tensor, p: Tensor) -> Tensor:
    """Square images x (N, C, H, H), changed; differentiable any number of times. p: a scalar in [0, 1]."""
    n, channels, side = x.shape[:3]

    def chosen(low: int, high: int) -> Tensor:
        drawn = torch.randint(low, high + 1, (n,), device=x.device)
        return torch.where(torch.rand(n, device=x.device) < p, drawn, 0)

    reach = int(side * SHIFT)
    flip, turns = chosen(0, 1).bool(), chosen(0, 3)
    moved = torch.rand(n, device=x.device) < p
    down, right = (torch.where(moved, torch.randint(-reach, reach + 1, (n,), device=x.device), 0) for _ in range(2))
    row, column = places(side, flip, turns, down, right, x.device)
    example = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    return x[example, channel, row[:, None], column[:, None]]


def adapted(p: Tensor, overfitting: Tensor, target: float, share: float) -> Tensor:
    """p, moved by `share` up where the overfitting r_t = E sign D(x) is above its target, else down, within [0, 1]
    (equation 1 and section 3)."""
    return (p + share * torch.sign(overfitting - target)).clamp(0, 1)
