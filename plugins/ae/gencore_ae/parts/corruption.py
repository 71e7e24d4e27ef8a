"""Corruptions c(x~ | x) of Vincent et al. 2010, section 3.3; x of any shape (N, ...). They draw from torch's global
random state. `low` and `high` are the ends of the data's range: -1 and 1 for images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from gencore.config import check
from gencore.errors import GencoreError

Corruption = Literal["gaussian", "masking", "salt-and-pepper"]


def add_gaussian(x: Tensor, sigma: float) -> Tensor:
    """x + sigma n with n ~ N(0, I)."""
    return x + sigma * torch.randn_like(x)


def mask(x: Tensor, share: float, low: float = -1.0) -> Tensor:
    """Every number becomes `low` with probability `share`."""
    return torch.where(torch.rand_like(x) < share, low, x)


def salt_and_pepper(x: Tensor, share: float, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Every number becomes `low` or `high`, each with probability share / 2."""
    draw = torch.rand_like(x)
    return torch.where(draw < share / 2, low, torch.where(draw < share, high, x))


def corruption(kind: Corruption, level: float) -> Callable[[Tensor], Tensor]:
    """The corruption by name; `level` is sigma, or the share of numbers that are hit. Raises GencoreError."""
    if kind == "gaussian":
        check(level >= 0, "level", level, "a standard deviation, 0 or more")
        return partial(add_gaussian, sigma=level)
    check(0 <= level <= 1, "level", level, "a share between 0 and 1")
    if kind not in ("masking", "salt-and-pepper"):
        raise GencoreError(f'corruption is {kind!r}; expected "gaussian", "masking" or "salt-and-pepper".')
    return partial(mask if kind == "masking" else salt_and_pepper, share=level)
