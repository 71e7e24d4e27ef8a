"""What a network's numbers at a pixel say of that pixel: probabilities of its levels, one number after the other."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from einops import rearrange
from torch import Tensor
from torch.nn import functional as F


class Head(Protocol):
    """Reads the outputs of a network, (N, outputs, H, W), for pictures of levels (N, C, H, W) int64."""

    def outputs(self, channels: int) -> int:
        """How many numbers a pixel of so many channels needs."""
        ...

    def log_prob(self, out: Tensor, codes: Tensor) -> Tensor:
        """log p of each picture, (N,) nats."""
        ...

    def conditional(self, out: Tensor, codes: Tensor, channel: int) -> Tensor:
        """log p of every level of one channel, given the channels before it, up to a constant: (N, levels, H, W)."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Softmax:
    """A categorical distribution over the levels; the network itself sees to it that channels see earlier ones."""

    levels: int

    def outputs(self, channels: int) -> int:
        """A logit a level, for each channel."""
        return channels * self.levels

    def log_prob(self, out: Tensor, codes: Tensor) -> Tensor:
        """The sum over all numbers."""
        logits = rearrange(out, "n (c k) h w -> n k c h w", k=self.levels)
        return -F.cross_entropy(logits, codes, reduction="none").flatten(1).sum(1)

    def conditional(self, out: Tensor, codes: Tensor, channel: int) -> Tensor:
        """The logits."""
        return out[:, channel * self.levels : (channel + 1) * self.levels]
