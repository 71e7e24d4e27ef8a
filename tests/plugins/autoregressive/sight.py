"""What a pixel sees, for the tests of several pages."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def seen(network: Callable[[Tensor], Tensor], size: tuple[int, int], place: tuple[int, int]) -> Tensor:
    """(H, W) bool: the pixels that the output at a place has a gradient of, of one or more channels."""
    x = torch.randn(1, 2, *size, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x)[0, :, place[0], place[1]].sum(), x)
    return gradient[0].abs().sum(0) > 0


def before(size: tuple[int, int], place: tuple[int, int], *, itself: bool) -> Tensor:
    """(H, W) bool: the pixels before a place in raster order."""
    number = torch.arange(size[0] * size[1]).view(size)
    return number < place[0] * size[1] + place[1] + itself


def missed(network: Callable[[Tensor], Tensor], size: int, place: tuple[int, int]) -> int:
    """How many of the pixels before a place it does not see; it must see no other."""
    torch.manual_seed(0)
    found, past = seen(network, (size, size), place), before((size, size), place, itself=False)
    assert not (found & ~past).any()
    return int((past & ~found).sum())
