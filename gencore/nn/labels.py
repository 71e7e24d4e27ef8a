"""Labels as what networks take."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gencore.errors import GencoreError


def one_hot(label: Tensor, num_classes: int, like: Tensor) -> Tensor:
    """label (N,) integers in [0, num_classes) -> (N, num_classes), of the dtype of `like` (N, ...).

    Raises GencoreError for another shape, floats, and labels out of range.
    """
    count = len(like)
    if label.shape != (count,) or label.is_floating_point():
        raise GencoreError(
            f"the labels are {tuple(label.shape)} {label.dtype}; expected ({count},) integers, one for each example."
        )
    if torch.compiler.is_exporting():  # a graph has no values to look at
        return (label[:, None] == torch.arange(num_classes, device=label.device)).to(like.dtype)
    low, high = (int(bound) for bound in torch.aminmax(label))
    if low < 0 or high >= num_classes:
        raise GencoreError(f"labels go from {low} to {high}; expected 0 to {num_classes - 1} (num_classes).")
    return F.one_hot(label.long(), num_classes).to(like.dtype)
