"""Causal networks evaluated one place at a time: every layer that looks back keeps its input so far.

A network writes its forward pass once, as a function of `apply(layer, value)`. In training `apply` is `whole`, the
layer itself over all places; while a picture is drawn it is the layer's memory, which is given one place, or one row,
and returns the output there. So drawing does the arithmetic of each place once (Ramachandran et al. 2017, "Fast
Generation for Convolutional Autoregressive Models", arXiv:1704.06001).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

Apply = Callable[[Any, Tensor], Tensor]


def whole(layer: nn.Module, value: Tensor) -> Tensor:
    """The layer over all places."""
    return layer(value)


class Memory(Protocol):
    """What `layer.start(count, height, width)` returns."""

    def step(self, value: Tensor, row: int, column: int) -> Tensor:
        """The layer's output for its input `value` (N, C, h, w) from that row and column on."""
        ...


class Memories:
    """The memories of a network's layers, made when they are first used."""

    def __init__(self, count: int, height: int, width: int) -> None:
        self.size = (count, height, width)
        self.of: dict[nn.Module, Any] = {}

    def get(self, layer: Any) -> Any:
        """The memory of that layer."""
        if layer not in self.of:
            self.of[layer] = layer.start(*self.size)
        return self.of[layer]

    def at(self, row: int, column: int) -> Apply:
        """`apply` for a value from that row and column on."""
        return lambda layer, value: self.get(layer).step(value, row, column)


class PixelSteps(Protocol):
    """A network over pictures while they are drawn."""

    def at(self, x: Tensor, row: int, column: int) -> Tensor:
        """x (N, C, H, W), drawn so far -> the network's output at one pixel, (N, P, 1, 1)."""
        ...

    def put(self, x: Tensor, row: int, column: int) -> None:
        """All channels of x are drawn at that pixel."""
        ...
