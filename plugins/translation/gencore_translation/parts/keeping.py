"""What of the given picture stands in the result as it is. A network that has to paint all of it anew paints most of it
a little wrong: of photographs coloured by a U-Net light and dark came out right to 30 dB only.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from gencore.config import check
from gencore.data.toys.degradations import grey

Keeps = Literal["nothing", "luma", "known"]

HALF_A_LEVEL = 0.5 / 127.5
"""Of 8 bits: mid grey, 0, lies between two of them."""

SWEEPS = 8


def check_keeps(keeps: str, given: int, made: int) -> None:
    """Raise GencoreError unless a translator of so many channels into so many can keep that."""
    check(keeps in get_args(Keeps), "keeps", keeps, f"one of {list(get_args(Keeps))}")
    fits = {"nothing": True, "luma": (given, made) == (1, 3), "known": given == made}[keeps]
    check(fits, "keeps", keeps, f"another for {given} channels into {made}: luma takes 1 into 3, known as many on both")


def kept_of(degradation: str) -> Keeps:
    """What that word of gencore.data.augmentation.FORMS leaves of a picture as it was."""
    kind = degradation.partition(":")[0]
    if kind in ("hole", "random-hole", "strokes"):
        return "known"
    return "luma" if kind == "grey" else "nothing"


def holes(given: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 1, H, W) bool: pixels that are mid grey in all channels within half a level of 8 bits."""
    return (given.abs() <= 1.01 * HALF_A_LEVEL).all(1, keepdim=True)


def membrane(x: Tensor, hole: Tensor) -> Tensor:
    """x (N, C, H, W) whose pixels in hole (N, 1, H, W) are filled smoothly from those around them.

    They come near to Laplace's equation, each the mean of its four neighbours, by cascadic multigrid (Bornemann &
    Deuflhard 1996): the half-sized picture, from the means of the known pixels, is filled first, enlarged into the
    hole, and `SWEEPS` rounds of Jacobi's method smooth the rest. Where nothing is known, nothing changes.
    """
    if max(x.shape[-2:]) > 1:
        known = (~hole).to(x.dtype)
        share = F.avg_pool2d(known, 2, ceil_mode=True)
        half = F.avg_pool2d(x * known, 2, ceil_mode=True) / share.clamp(min=0.25)
        half = membrane(half, share == 0)
        x = torch.where(hole, F.interpolate(half, x.shape[-2:], mode="bilinear"), x)
    for _ in range(SWEEPS):
        wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
        around = wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1] + wide[..., 1:-1, :-2] + wide[..., 1:-1, 2:]
        x = torch.where(hole, around / 4, x)
    return x


def seen(given: Tensor, keeps: Keeps) -> Tensor:
    """What a translator that keeps this sees of the picture `given` (N, C, H, W).

    known    (N, C + 1, H, W): the picture with its holes filled by `membrane`, and a map that is 1 in them, else 0
    else     the picture itself
    """
    if keeps != "known":
        return given
    hole = holes(given)
    return torch.cat([membrane(given, hole), hole.to(given.dtype)], 1)


def kept(made: Tensor, shown: Tensor, keeps: Keeps) -> Tensor:
    """made (N, C', H, W), with what was `seen` -> pictures (N, C', H, W), which may lead out of [-1, 1]

    luma     `made`, all channels of a pixel shifted alike to the light and dark (BT.601) of the given picture
    known    the given picture, in its holes `made` added to the membrane
    """
    if keeps == "luma":
        return made + (shown - grey(made))
    if keeps == "known":
        return torch.addcmul(shown[:, :-1], made, shown[:, -1:])
    return made
