"""The digits, half of them under a faint fixed pattern: a nuisance that a representation is to forget.

    x = 0.7 digit + 0.3 a P,   a ~ Bernoulli(1/2) by the example's number, P fixed and random in {-1, 1}

key          shape, dtype
x, label     (N, 1, 8, 8) float32 in [-1, 1], (N,) int64: the digits' own
attributes   (N, 1) float32, 0 or 1: `mark`
"""

from __future__ import annotations

import torch
from torch import Tensor

from gencore.conditions import Attributes, ClassLabel
from gencore.data import digits
from gencore.data.toys import draws
from gencore.data.toys.rendered import Rendered

SHARE = 0.7
_MARK, _PATTERN = 0, 1


def pattern() -> Tensor:
    """P, (1, 8, 8) float32 of -1 and 1."""
    return (draws.integers(0, torch.arange(64), _PATTERN, 2) * 2.0 - 1).view(1, 8, 8)


def marked(x: Tensor, mark: Tensor) -> Tensor:
    """Digits x (N, 1, 8, 8) under the pattern where mark (N, 1) is 1."""
    return SHARE * x + (1 - SHARE) * mark[:, :, None, None] * pattern()


def marked_digits(split: str = "train") -> Rendered:
    """The bundled digits' "train" or "test" part."""
    plain = digits("train" if split == "train" else "test")
    index = torch.arange(len(plain))
    mark = draws.integers(draws.split_seed(0, split), index, _MARK, 2).float()[:, None]
    assert plain.label is not None
    return Rendered(
        x=marked(plain.x, mark),
        further={"label": plain.label, "attributes": mark},
        num_classes=10,
        conditions=(ClassLabel(count=10), Attributes(names=("mark",))),
        name=f"marked digits ({split})",
    )
