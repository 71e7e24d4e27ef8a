"""PixelVAE (Gulrajani et al. 2017, "PixelVAE: A Latent Variable Model for Natural Images", arXiv:1611.05013).

    p(x | z) = prod_i p(x_i | x_<i, z), i in raster order                                       (section 3.1)
under the VAE's bound. z, decoded to feature maps of the image's size, is concatenated to a few masked convolutions
that see the pixels before: they take the local detail, z what is global. With many such layers z is ignored.

Deviations: binary pixels; one layer of latents; residual masked convolutions without gates, where the channels of one
pixel are independent given the pixels before and z: pixels="gated-pixelcnn" has gates, and no such independence.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gencore import Noise, Paper, Recipe, Sampler, SystemSpec
from gencore.config import check
from gencore.densities import draw_levels, picture_density
from gencore.nn.distributions import Drawable, SignedBernoulli
from gencore.nn.levels import from_levels
from gencore.nn.masked import MaskedConv2d
from gencore.noise import NoiseSource
from gencore_vae.parts.binary import Binarization
from gencore_vae.parts.latent_variable import PriorThenDecoder
from gencore_vae.parts.networks import Likelihood, VAEConfig, make_decoder
from gencore_vae.vae import VAE, VariationalBound, one_player

SYSTEM = SystemSpec(
    name="pixel-vae",
    summary="A VAE whose decoder is autoregressive over the pixels",
    paper=Paper(
        title="PixelVAE: A Latent Variable Model for Natural Images",
        authors="Gulrajani et al.",
        year=2017,
        arxiv="1611.05013",
    ),
    model="PixelVAE",
    recipe="pixel_vae",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct", "bound"),
    claims=("compiles",),
    tiny={
        "data_shape": (1, 8, 8),
        "latent_dim": 3,
        "hidden": (16,),
        "batch_size": 8,
        "feature_maps": 2,
        "pixel_width": 4,
    },
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PixelVAEConfig(VAEConfig):
    """`pixel_layers` masked convolutions of `pixel_width` channels, which see `feature_maps` maps made from z, of each
    channel. `pixels`: "masked", or a system that is a density of pictures given maps, such as gated-pixelcnn."""

    likelihood: Likelihood = "bernoulli"
    pixels: str = "masked"
    feature_maps: int = 8
    pixel_width: int = 32
    pixel_layers: int = 2

    def __post_init__(self) -> None:
        VAEConfig.__post_init__(self)
        check(self.likelihood == "bernoulli", "likelihood", self.likelihood, '"bernoulli": the pixels are binary')
        check(len(self.data_shape) == 3, "data_shape", self.data_shape, "images (channels, height, width)")
        for name in ("feature_maps", "pixel_width", "pixel_layers"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")


class PixelNetwork(nn.Module):
    """Logits of each pixel from the pixels before it and the feature maps."""

    def __init__(self, config: PixelVAEConfig) -> None:
        super().__init__()
        channels, width = config.data_shape[0], config.pixel_width
        features = config.feature_maps * channels
        self.first = MaskedConv2d("A", channels, width, 5)
        self.layers = nn.ModuleList(MaskedConv2d("B", width, width, 3) for _ in range(config.pixel_layers - 1))
        self.mix = nn.Conv2d(width + features, width, 1)
        self.last = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Images (N, C, H, W) and feature maps (N, F, H, W) -> logits (N, C, H, W)."""
        hidden = self.first(x)
        for layer in self.layers:
            hidden = hidden + layer(F.relu(hidden))
        mixed = self.mix(torch.cat([F.relu(hidden), features], 1))
        return self.last(F.relu(mixed))


class AutoregressiveImages(Drawable):
    """p(x | z), pixel by pixel, of binary images (N, C, H, W). It has no mean in closed form: draw from it."""

    def __init__(self, network: nn.Module, features: Tensor, data_shape: tuple[int, ...]) -> None:
        super().__init__(features.new_empty(()).expand(len(features), *data_shape))
        self.network, self.features = network, features

    def log_prob(self, value: Tensor) -> Tensor:
        """value (N, C, H, W) of -1 and 1 -> (N,) nats, all pixels at once."""
        return SignedBernoulli(self.network(value, self.features)).log_prob(value)

    @torch.no_grad()
    def draw(self, noise: NoiseSource, k: int = 1) -> Tensor:
        """(k, N, C, H, W), one pixel after the other; rows below the current one are not computed."""
        _, height, width = self.event_shape
        uniform = rearrange(noise.uniform(k, *self.event_shape), "n k ... -> (k n) ...")
        features = self.features.repeat(k, 1, 1, 1)
        x = torch.zeros_like(uniform)
        for row in range(height):
            for column in range(width):
                logits = self.network(x[:, :, : row + 1], features[:, :, : row + 1])[:, :, row, column]
                x[:, :, row, column] = (uniform[:, :, row, column] < logits.sigmoid()).to(x.dtype) * 2 - 1
        return rearrange(x, "(k n) ... -> k n ...", k=k)


def make_pixels(config: PixelVAEConfig) -> nn.Module:
    """What makes the pixels of the feature maps. Raises GencoreError for a system that is no density given maps."""
    if config.pixels == "masked":
        return PixelNetwork(config)
    channels, height, width = config.data_shape
    return picture_density(
        config.pixels,
        data_shape=config.data_shape,
        levels=2,
        width=config.pixel_width,
        layers=config.pixel_layers,
        input_shape=(config.feature_maps * channels, height, width),
    )


class DensityImages(Drawable):
    """p(x | z) of binary images (N, C, H, W) by a density given maps."""

    def __init__(self, density: Any, features: Tensor) -> None:
        super().__init__(features.new_empty(()).expand(len(features), *density.config.data_shape))
        self.density, self.features = density, features

    def log_prob(self, value: Tensor) -> Tensor:
        """value (N, C, H, W) of -1 and 1 -> (N,) nats."""
        return self.density.log_prob(value, condition=self.features)

    @torch.no_grad()
    def draw(self, noise: NoiseSource, k: int = 1) -> Tensor:
        """(k, N, C, H, W), one pixel after the other."""
        drawn = [draw_levels(self.density, noise, condition=self.features) for _ in range(k)]
        return from_levels(torch.stack(drawn), 2).to(self.features)


class PixelVAE(VAE):
    """A VAE whose decoder makes feature maps, of which `pixels` makes the pixels."""

    config_class = PixelVAEConfig
    config: PixelVAEConfig
    regions = ("encoder", "decoder", "pixels")

    def __init__(self, config: PixelVAEConfig) -> None:
        super().__init__(config)
        self.decoder = make_decoder(config, config.latent_dim, num_parameters=config.feature_maps)
        self.pixels = make_pixels(config)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> AutoregressiveImages | DensityImages:
        """z (N, latent_dim) -> p(x | z), event data_shape."""
        features = rearrange(self.decoder(z), "n f c h w -> n (f c) h w")
        if self.config.pixels != "masked":
            return DensityImages(self.pixels, features)
        return AutoregressiveImages(self.pixels, features, self.config.data_shape)

    def reconstruct(self, x: Tensor) -> Tensor:
        """A draw of p(x | z) at the mean of q(z | x), with fixed noise."""
        return self.generate(self.encode(x).mean).draw(Noise(0, 0, len(x), device=x.device))[0]

    def default_sampler(self) -> Sampler:
        """z from the prior, then the pixels one after the other."""
        return PriorThenDecoder(output="sample")


def pixel_vae(
    *,
    config: PixelVAEConfig = PixelVAEConfig(data_shape=(1, 8, 8)),
    steps: int = 4000,
    batch_size: int = 64,
    free_bits: float = 0.0,
    binarization: Binarization = "dynamic",
    learning_rate: float = 1e-3,
) -> Recipe:
    """`free_bits`: nats of KL an example that cost nothing, a guard against an ignored z."""
    objective = VariationalBound(free_bits=free_bits, binarization=binarization)
    return Recipe(
        name="pixel-vae",
        model=PixelVAE,
        config=config,
        stages=one_player(objective, steps=steps, learning_rate=learning_rate, parts=("encoder", "decoder", "pixels")),
        batch_size=batch_size,
    )
