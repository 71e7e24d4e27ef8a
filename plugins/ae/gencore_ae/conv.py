"""Convolutional autoencoder (Masci et al. 2011, "Stacked convolutional auto-encoders for hierarchical feature
extraction", ICANN; the transposed convolution as in Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep
learning", arXiv:1603.07285, section 4).

A transposed convolution is the adjoint of a convolution, <conv(x), y> = <x, convT(y)>, not its inverse; its output has
    o = (i - 1) s - 2 p + k + output_padding
pixels a side. Kernel 4, stride 2, padding 1 doubles the side exactly, and 4 is a multiple of 2: every pixel is made by
equally many weights, so there is no checkerboard. `upsampling` "resize" repeats pixels and convolves instead.

Deviations: strided convolutions where the paper pools; a linear layer to the code; trained as a whole, not in layers.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from torch import nn

from gencore import Adam, ModelConfig, Paper, Recipe, SystemSpec
from gencore.config import check
from gencore_ae.parts.losses import Error
from gencore_ae.parts.networks import Autoencoder, Output
from gencore_ae.parts.reconstruction import Reconstruction, cosine, judged_by, one_phase

SYSTEM = SystemSpec(
    name="conv-autoencoder",
    summary="Convolutions down, transposed convolutions up",
    paper=Paper(
        title="Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction",
        authors="Masci et al.",
        year=2011,
    ),
    model="ConvAutoencoder",
    recipe="conv_autoencoder",
    roles=("encoder", "generator"),
    traits=("reconstruct",),
    claims=("compiles", "exact-data-parallel"),
    tiny={"data_shape": (1, 8, 8), "code_dim": 4, "batch_size": 8, "width": 4},
)

WARM_UP = 100
"""Iterations. Without them Adam's first steps leave all units of wider networks (32, for 32 x 32 pixels) at zero."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConvAutoencoderConfig(ModelConfig):
    """Images with even sides. `width`: channels at half the image's size, doubled at each further halving."""

    data_shape: tuple[int, int, int] = (1, 32, 32)
    code_dim: int = 32
    width: int = 16
    upsampling: Literal["transposed", "resize"] = "transposed"
    output: Output = "linear"

    def __post_init__(self) -> None:
        check(
            min(self.data_shape) > 0 and self.levels > 0,
            "data_shape",
            self.data_shape,
            "(channels, height, width) with even sides of at least 8 pixels: resize the images (--image-size 32)",
        )
        check(self.code_dim > 0, "code_dim", self.code_dim, "a positive integer")
        check(self.width > 0, "width", self.width, "a positive integer")

    @property
    def levels(self) -> int:
        """How often the sides are halved: while both are even and the half has at least 4 pixels."""
        (_, height, width), levels = self.data_shape, 0
        while height % 2 == width % 2 == 0 and min(height, width) >= 8:
            height, width, levels = height // 2, width // 2, levels + 1
        return levels

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the feature maps, from the image down."""
        return (self.data_shape[0], *(self.width * 2**level for level in range(self.levels)))

    @property
    def smallest(self) -> tuple[int, int, int]:
        """The shape of the smallest feature maps."""
        _, height, width = self.data_shape
        return self.channels[-1], height >> self.levels, width >> self.levels


def doubling(channels_in: int, channels_out: int, upsampling: Literal["transposed", "resize"]) -> list[nn.Module]:
    """Layers that double height and width."""
    if upsampling == "transposed":
        return [nn.ConvTranspose2d(channels_in, channels_out, 4, 2, 1)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(channels_in, channels_out, 3, 1, 1)]


class ConvAutoencoder(Autoencoder):
    """Convolutions of stride 2 down, the code, and up again."""

    config_class = ConvAutoencoderConfig
    config: ConvAutoencoderConfig

    def __init__(self, config: ConvAutoencoderConfig) -> None:
        super().__init__(config)
        channels, (deepest, height, width) = config.channels, config.smallest
        features = deepest * height * width
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for level in range(config.levels):
            down += [nn.Conv2d(channels[level], channels[level + 1], 4, 2, 1), nn.ReLU()]
            up = [nn.ReLU(), *doubling(channels[level + 1], channels[level], config.upsampling), *up]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(features, config.code_dim))
        self.decoder = nn.Sequential(nn.Linear(config.code_dim, features), nn.Unflatten(1, config.smallest), *up)


def conv_autoencoder(
    *,
    config: ConvAutoencoderConfig = ConvAutoencoderConfig(data_shape=(1, 8, 8), code_dim=8),
    steps: int = 3000,
    batch_size: int = 64,
    error: Error = "squared",
    learning_rate: float = 3e-3,
) -> Recipe:
    """One phase, one stage."""
    return Recipe(
        name="conv-autoencoder",
        model=ConvAutoencoder,
        config=judged_by(error, config),
        stages=one_phase(
            Reconstruction(error=error), Adam(learning_rate=learning_rate), steps=steps, schedule=cosine(steps, WARM_UP)
        ),
        batch_size=batch_size,
    )
