"""What of the given picture stands in the result as it is. A network that has to paint all of it anew paints most of it
a little wrong: of photographs coloured by a U-Net light and dark came out right to 30 dB only.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from gencore.config import check
from gencore.data.toys.degradations import grey

Keeps = Literal["nothing", "luma", "known"]

HALF_A_LEVEL = 0.5 / 127.5
"""Of 8 bits: mid grey, 0, lies between two of them."""


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


def kept(made: Tensor, given: Tensor, keeps: Keeps) -> Tensor:
    """made (N, C', H, W), given (N, C, H, W) -> (N, C', H, W) that has of `given`

    luma     its light and dark (BT.601): all channels of a pixel are shifted alike, which may lead out of [-1, 1]
    known    every pixel but those that are mid grey within half a level of 8 bits: holes
    """
    if keeps == "luma":
        return made + (given - grey(made))
    if keeps == "known":
        hole = (given.abs() <= 1.01 * HALF_A_LEVEL).all(1, keepdim=True)
        return torch.where(hole, made, given)
    return made
