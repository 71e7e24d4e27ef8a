"""Pictures as sequences: p(x) = prod_i p(x_i | x_1 ... x_(i-1)), row by row, each pixel's channels in their order.

A picture is made of levels (gencore.nn.levels), so p is a probability, and sums to 1 over all
pictures.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from gencore import Model, ModelConfig, Sampler
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.causal import PixelSteps
from gencore.nn.levels import Rounding, from_levels, to_levels
from gencore.nn.likelihood import PROBABILITY, Scale
from gencore_autoregressive.parts.ancestral import AncestralSampler
from gencore_autoregressive.parts.embedded import Embedded
from gencore_autoregressive.parts.heads import Head
from gencore_autoregressive.parts.likelihood import over_classes

Place = tuple[int, int, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PixelConfig(ModelConfig):
    """`levels`: how many grey values the data have, evenly from -1 to 1: 256 for 8-bit images, 17 for the digits.
    `rounding`: what to do with values in between, "none" to refuse them, "nearest" to round them. `width`: channels of
    the hidden maps.
    """

    data_shape: tuple[int, int, int] = (1, 8, 8)
    levels: int = 17
    rounding: Rounding = "none"
    width: int = 32

    def __post_init__(self) -> None:
        check(min(self.data_shape) > 0, "data_shape", self.data_shape, "(channels, height, width), each at least 1")
        check(2 <= self.levels <= 65536, "levels", self.levels, "2 to 65536")
        check(self.rounding in ("none", "nearest"), "rounding", self.rounding, '"none" or "nearest"')
        channels = self.data_shape[0]
        check(self.width >= channels, "width", self.width, f"at least {channels}, one for each channel of the data")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig(PixelConfig):
    """`layers`: how many, the first one counted. `embedding`: for levels without an order, such as codes, the size of
    the vector, learned, that each enters as; 0: a level enters as its grey value."""

    layers: int = 4
    embedding: int = 0

    def __post_init__(self) -> None:
        PixelConfig.__post_init__(self)
        check(self.layers >= 1, "layers", self.layers, "at least 1")
        check(self.embedding >= 0, "embedding", self.embedding, "0 or more")


class PixelDensity(Model):
    """Base: a network that sees only earlier pixels, and a head that reads its numbers."""

    config_class = PixelConfig
    config: PixelConfig
    regions = ("network",)

    def __init__(self, config: PixelConfig, network: nn.Module, head: Head) -> None:
        super().__init__(config)
        self.network, self.head = network, head

    @property
    def likelihood_scale(self) -> Scale:
        """A probability of discrete data."""
        return PROBABILITY

    def codes(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> its levels, int64. Raises GencoreError for other shapes, and as `rounding` says."""
        if tuple(x.shape[1:]) != self.config.data_shape:
            raise GencoreError(f"x is {tuple(x.shape)}; expected (N, {', '.join(map(str, self.config.data_shape))}).")
        return to_levels(x, self.config.levels, self.config.rounding)

    def pixels(self, codes: Tensor) -> Tensor:
        """Levels as what the network takes: grey values, or the levels themselves if it has a vector for each."""
        if isinstance(self.network, Embedded):
            return codes
        return from_levels(codes, self.config.levels).to(next(self.network.parameters()).dtype)

    def context(self, condition: Tensor | None) -> tuple[Tensor | None, ...]:
        """What the network takes beside the picture."""
        return ()

    def log_prob(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> log p(x | condition), (N,) nats; without a condition see `over_classes`."""
        codes = self.codes(x)
        pixels = self.pixels(codes)

        def of(given: Tensor | None) -> Tensor:
            return self.head.log_prob(self.network(pixels, *self.context(given)), codes)

        return over_classes(self.condition, condition, len(x), of)

    def conditionals(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, C, H, W) -> log p(x_i = level | x_1 ... x_(i-1), condition) of every level at every place,
        (N, C, levels, H, W)."""
        codes = self.codes(x)
        out = self.network(self.pixels(codes), *self.context(condition))
        return torch.stack(
            [self.head.conditional(out, codes, channel).log_softmax(1) for channel in range(codes.shape[1])], 1
        )

    def default_sampler(self) -> Sampler:
        """Pixel by pixel."""
        return AncestralSampler()

    def start(self, count: int, condition: Tensor | None, *, cached: bool = True) -> PixelDrawing:
        """`count` pictures to be drawn."""
        return PixelDrawing(self, count, condition, cached=cached)


class PixelDrawing:
    """Pictures that are being drawn: gencore_autoregressive.parts.ancestral.Drawing."""

    def __init__(self, model: PixelDensity, count: int, condition: Tensor | None, *, cached: bool) -> None:
        self.model, self.context = model, model.context(condition)
        channels, height, width = model.config.data_shape
        self.places = [(row, column, c) for row in range(height) for column in range(width) for c in range(channels)]
        self.codes = torch.zeros(count, channels, height, width, dtype=torch.int64, device=model.device)
        self.x = torch.zeros_like(model.pixels(self.codes))
        network: Any = model.network
        self.steps: PixelSteps | None = network.start(count, height, width, *self.context) if cached else None

    def logits(self, place: Place) -> Tensor:
        """(N, levels), of one number."""
        row, column, channel = place
        if self.steps is None:
            out = self.model.network(self.x, *self.context)[:, :, row : row + 1, column : column + 1]
        else:
            out = self.steps.at(self.x, row, column)
        codes = self.codes[:, :, row : row + 1, column : column + 1]
        return self.model.head.conditional(out, codes, channel)[:, :, 0, 0]

    def put(self, place: Place, code: Tensor) -> None:
        """code (N,) int64."""
        row, column, channel = place
        self.codes[:, channel, row, column] = code
        self.x[:, channel, row, column] = self.model.pixels(code)
        if self.steps is not None and channel + 1 == self.x.shape[1]:
            self.steps.put(self.x, row, column)

    def result(self) -> Tensor:
        """(N, C, H, W) in [-1, 1]."""
        return from_levels(self.codes, self.model.config.levels).to(next(self.model.network.parameters()).dtype)
