"""What is read off pictures of captioned shapes by formulas: where colour lies, and which shape fills a box."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import einsum
from torch import Tensor

from gencore.data.toys.captions import FACTORS, coverage


def drawn_box(x: Tensor) -> Tensor:
    """The extent of what is coloured on pictures (N, 3, 16, 16): (N, 4) float32, x0, y0, x1, y1 in pixels.

    Grey has no colour: a pixel counts whose channels differ by more than half of the most in its picture.
    """
    colour = x.amax(1) - x.amin(1)
    on = colour > 0.5 * colour.amax((1, 2), keepdim=True)
    pixel = torch.arange(x.shape[-1])
    columns, rows = on.any(1), on.any(2)
    low = [torch.where(line, pixel, 99).amin(1) for line in (columns, rows)]
    high = [torch.where(line, pixel + 1, 0).amax(1) for line in (columns, rows)]
    return torch.stack([*low, *high], dim=1).float()


def shape_in_box(x: Tensor, box: Tensor) -> Tensor:
    """Which shape lies in a box that is known, on pictures (N, 3, 16, 16) and boxes (N, 4): (N,) int64, an index into
    FACTORS["shape"]. Whose coverage of the pixels goes best with how coloured they are; right on all real pictures."""
    colour = (x.amax(1) - x.amin(1)).flatten(1)
    kinds = [coverage(torch.full((len(x),), kind), box).flatten(1) for kind in range(len(FACTORS["shape"]))]
    drawn = torch.stack(kinds, 1)
    drawn = F.normalize(drawn - drawn.mean(2, keepdim=True), dim=2)
    return einsum(colour, drawn, "n d, n k d -> n k").argmax(1)
