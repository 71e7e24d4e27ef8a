"""The normalisation of a translator's or critic's maps, by name."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from gencore.config import check

Norm = Literal["instance", "batch", "none"]


def check_norm(norm: str) -> None:
    """Raise GencoreError unless `norm` is one of Norm."""
    check(norm in get_args(Norm), "norm", norm, f"one of {list(get_args(Norm))}")


def norm_layers(norm: Norm, channels: int) -> list[nn.Module]:
    """None or one layer for maps of `channels`. "instance" is what batch normalisation is for a batch of one."""
    if norm == "none":
        return []
    return [nn.InstanceNorm2d(channels) if norm == "instance" else nn.BatchNorm2d(channels)]
