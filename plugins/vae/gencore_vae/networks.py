"""The family's encoders and decoders, fully connected or convolutional, and what a decoder's numbers mean.

Convolutional: 4 x 4 kernels of stride 2 down to 4 x 4 places and back (Radford, Metz & Chintala 2016,
arXiv:1511.06434), without batch normalisation: a bound of one example must not depend on the others.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Literal

import torch
from torch import Tensor, nn

from gencore import ModelConfig
from gencore.config import check
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


def check_image_shape(shape: tuple[int, ...]) -> None:
    """Raise GencoreError unless the convolutional networks take images of this shape."""
    square = len(shape) == 3 and shape[1] == shape[2] >= 4 and math.log2(shape[1]).is_integer()
    check(
        square,
        "data_shape",
        shape,
        "(channels, size, size) with a size of 4, 8, 16, 32, ...: resize the images (--image-size 32)",
    )


def channels_of(size: int, width: int) -> tuple[int, ...]:
    """Channels of the hidden maps, from half the image's size down to 4 x 4 (2 x 2 for images of 4 x 4)."""
    return tuple(width * 2**level for level in range(max(1, int(math.log2(size // 4)))))


def make_encoder(config: AutoencoderConfig, outputs: int) -> nn.Sequential:
    """x (N, *data_shape) -> (N, outputs)."""
    if config.network == "dense":
        return nn.Sequential(nn.Flatten(), mlp((math.prod(config.data_shape), *config.hidden, outputs)))
    channels, size, _ = config.data_shape
    layers: list[nn.Module] = []
    maps = channels_of(size, config.width)
    for following in maps:
        layers += [nn.Conv2d(channels, following, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        channels = following
    places = (size >> len(maps)) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * places, outputs))


def make_decoder(config: AutoencoderConfig, inputs: int, *, num_parameters: int) -> nn.Sequential:
    """z (N, inputs) -> (N, num_parameters, *data_shape)."""
    shape = config.data_shape
    if config.network == "dense":
        widths = (inputs, *config.hidden[::-1], num_parameters * math.prod(shape))
        return nn.Sequential(mlp(widths), nn.Unflatten(1, (num_parameters, *shape)))
    maps = channels_of(shape[1], config.width)[::-1]
    side = shape[1] >> len(maps)
    layers = [
        nn.Linear(inputs, maps[0] * side**2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Unflatten(1, (maps[0], side, side)),
    ]
    for channels, following in itertools.pairwise(maps):
        layers += [nn.ConvTranspose2d(channels, following, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    last = nn.ConvTranspose2d(maps[-1], num_parameters * shape[0], 4, 2, 1)
    return nn.Sequential(*layers, last, nn.Unflatten(1, (num_parameters, shape[0])))


def data_distribution(parameters: Tensor, config: VAEConfig) -> Drawable:
    """A decoder's numbers (N, num_parameters, *data_shape) as p(x | z)."""
    first = parameters[:, 0]
    if config.likelihood == "bernoulli":
        return SignedBernoulli(first)
    if config.likelihood == "gaussian-diagonal":
        return DiagonalGaussian(first, parameters[:, 1].clamp_min(LOWEST_LOG_VARIANCE))
    log_variance = torch.full((), 2 * math.log(config.decoder_std), dtype=first.dtype, device=first.device)
    return DiagonalGaussian(first, log_variance)
