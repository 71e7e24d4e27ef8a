"""Levels as vectors that are learned, before any network of pixels: for codes, whose numbers have no order."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from gencore.nn.causal import PixelSteps


class Embedded(nn.Module):
    """Whole levels (N, C, H, W) int64 -> what `network` makes of their vectors, (N, C size, H, W), channel by channel.

    Each channel has vectors of its own: level 3 of one is nothing like level 3 of another.
    """

    offset: Tensor

    def __init__(self, network: nn.Module, *, channels: int, levels: int, size: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(channels * levels, size)
        self.network = network
        self.register_buffer("offset", levels * torch.arange(channels).view(-1, 1, 1), persistent=False)

    def embed(self, codes: Tensor) -> Tensor:
        """(N, C, H, W) int64 -> (N, C size, H, W)."""
        return rearrange(self.vectors(codes + self.offset), "n c h w size -> n (c size) h w")

    def forward(self, codes: Tensor, *context: Tensor | None) -> Tensor:
        """All pixels at once."""
        out: Tensor = self.network(self.embed(codes), *context)
        return out

    def start(self, count: int, height: int, width: int, *context: Tensor | None) -> EmbeddedSteps:
        """For `count` pictures that are drawn pixel by pixel."""
        return EmbeddedSteps(self, count, height, width, *context)


class EmbeddedSteps:
    """The network's own steps, over the vectors of what is drawn."""

    def __init__(self, embedded: Embedded, count: int, height: int, width: int, *context: Tensor | None) -> None:
        network: Any = embedded.network
        self.embedded = embedded
        self.steps: PixelSteps = network.start(count, height, width, *context)
        weight = embedded.vectors.weight
        self.vectors = weight.new_zeros(count, len(embedded.offset) * weight.shape[1], height, width)

    def at(self, codes: Tensor, row: int, column: int) -> Tensor:
        """codes (N, C, H, W), drawn so far -> (N, outputs, 1, 1)."""
        self._write(codes, row, column)
        return self.steps.at(self.vectors, row, column)

    def put(self, codes: Tensor, row: int, column: int) -> None:
        """All channels of the codes are drawn at that pixel."""
        self._write(codes, row, column)
        self.steps.put(self.vectors, row, column)

    def _write(self, codes: Tensor, row: int, column: int) -> None:
        here = slice(row, row + 1), slice(column, column + 1)
        self.vectors[:, :, *here] = self.embedded.embed(codes[:, :, *here])


def over_levels(network: nn.Module, *, channels: int, levels: int, size: int) -> nn.Module:
    """The network over vectors of this size, or over grey values if it is 0. It has `inputs(channels, size)` maps."""
    return Embedded(network, channels=channels, levels=levels, size=size) if size else network


def inputs(channels: int, size: int) -> int:
    """How many maps a network is given for pictures of so many channels."""
    return channels * (size or 1)
