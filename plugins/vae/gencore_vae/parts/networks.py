"""The family's encoders and decoders, fully connected or convolutional, and what a decoder's numbers mean."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import torch
from torch import Tensor, nn

from gencore import ModelConfig
from gencore.config import check
from gencore.nn.conv import check_image_shape, conv_decoder, conv_encoder
from gencore.nn.dense import mlp
from gencore.nn.distributions import DiagonalGaussian, Drawable, SignedBernoulli
from gencore.nn.likelihood import PROBABILITY, Scale, density_of_levels

Likelihood = Literal["gaussian", "gaussian-diagonal", "bernoulli"]
NUM_PARAMETERS = {"gaussian": 1, "gaussian-diagonal": 2, "bernoulli": 1}
LOWEST_LOG_VARIANCE = -6.0
"""Without a floor a pixel that never changes makes the likelihood unbounded."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderConfig(ModelConfig):
    """`hidden`: widths of the dense networks, () for linear maps. `width`: channels of the convolutional ones at half
    the image's size."""

    data_shape: tuple[int, ...]
    latent_dim: int = 8
    network: Literal["dense", "conv"] = "dense"
    hidden: tuple[int, ...] = (256, 256)
    width: int = 32

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(self.network in ("dense", "conv"), "network", self.network, '"dense" or "conv"')
        check(min(self.hidden, default=1) > 0, "hidden", self.hidden, "positive widths")
        check(self.width > 0, "width", self.width, "a positive integer")
        if self.network == "conv":
            check_image_shape(self.data_shape)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VAEConfig(AutoencoderConfig):
    """`likelihood`, the decoder's p(x | z):
    gaussian            N(f(z), decoder_std^2 I)
    gaussian-diagonal   N(f(z), diag s(z)^2), the variance a second head of the decoder, at least exp(-6)
    bernoulli           binary images of -1 and 1; decoder_std is not used
    `levels`: of the data, for bits per dimension; 256 for 8-bit images.
    """

    likelihood: Likelihood = "gaussian"
    decoder_std: float = 0.3
    levels: int = 256

    def __post_init__(self) -> None:
        AutoencoderConfig.__post_init__(self)
        check(self.likelihood in NUM_PARAMETERS, "likelihood", self.likelihood, f"one of {list(NUM_PARAMETERS)}")
        check(self.decoder_std > 0, "decoder_std", self.decoder_std, "a positive standard deviation")
        check(self.levels >= 2, "levels", self.levels, "at least 2")

    @property
    def scale(self) -> Scale:
        """What the likelihood is of."""
        return PROBABILITY if self.likelihood == "bernoulli" else density_of_levels(self.levels)


def make_encoder(config: AutoencoderConfig, outputs: int) -> nn.Sequential:
    """x (N, *data_shape) -> (N, outputs)."""
    if config.network == "dense":
        return nn.Sequential(nn.Flatten(), mlp((math.prod(config.data_shape), *config.hidden, outputs)))
    return conv_encoder(config.data_shape, width=config.width, outputs=outputs)


def make_decoder(config: AutoencoderConfig, inputs: int, *, num_parameters: int) -> nn.Sequential:
    """z (N, inputs) -> (N, num_parameters, *data_shape)."""
    shape = config.data_shape
    if config.network == "dense":
        widths = (inputs, *config.hidden[::-1], num_parameters * math.prod(shape))
        return nn.Sequential(mlp(widths), nn.Unflatten(1, (num_parameters, *shape)))
    return conv_decoder(shape, width=config.width, inputs=inputs, num_parameters=num_parameters)


def data_distribution(parameters: Tensor, config: VAEConfig) -> Drawable:
    """A decoder's numbers (N, num_parameters, *data_shape) as p(x | z)."""
    first = parameters[:, 0]
    if config.likelihood == "bernoulli":
        return SignedBernoulli(first)
    if config.likelihood == "gaussian-diagonal":
        return DiagonalGaussian(first, parameters[:, 1].clamp_min(LOWEST_LOG_VARIANCE))
    log_variance = torch.full((), 2 * math.log(config.decoder_std), dtype=first.dtype, device=first.device)
    return DiagonalGaussian(first, log_variance)
