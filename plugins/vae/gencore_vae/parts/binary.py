"""Binary images: values of -1 and 1.

A Bernoulli decoder gives probabilities of binary images alone. Grey images are made binary by drawing each pixel anew
with its grey value as P(1) at every step ("dynamic"), or by the threshold 0. The figures differ: on MNIST by some 2 to
3 nats; say which.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError

Binarization = Literal["none", "dynamic", "threshold"]
BINARIZATIONS = ("none", "dynamic", "threshold")


def binarize(x: Tensor, how: Binarization) -> Tensor:
    """x in [-1, 1], any shape -> the same shape with values -1 and 1; "none" returns x as it is.

    "dynamic" draws from torch's global streams with P(1) = (x + 1) / 2.
    """
    if how == "none":
        return x
    share = (x + 1) / 2
    return (torch.rand_like(x) < share if how == "dynamic" else share > 0.5).to(x.dtype) * 2 - 1


def check_binarized(likelihood: str, how: Binarization) -> None:
    """Raise GencoreError where data are to be made binary for another decoder than the Bernoulli one."""
    fits = how == "none" or likelihood == "bernoulli"
    check(fits, "binarization", how, f"'none' for the likelihood {likelihood!r}, which is of grey images")


def check_binary(x: Tensor) -> None:
    """Raise GencoreError unless all values are -1 or 1."""
    grey = x.abs() != 1
    if grey.any():
        raise GencoreError(
            f"{int(grey.sum())} of {x.numel()} values are neither -1 nor 1, the first {x[grey][0].item():.4g}: a "
            'Bernoulli likelihood is of binary images. Use gencore_vae.parts.binary.binarize(x, "threshold") or '
            '"dynamic".'
        )
