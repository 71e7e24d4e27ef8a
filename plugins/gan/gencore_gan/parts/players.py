"""Two plain players for data of any shape, on which the stabilisers are shown: the Dirac-GAN where it is a number.

Dirac-GAN (Mescheder, Geiger & Nowozin 2018, arXiv:1801.04406, Definition 2.1): G(z) = theta, D(x) = psi x, data all 0.
Both start at 1. Its equilibrium is (0, 0); simultaneous or alternating gradient steps on the plain game do not get
there, and every stabiliser can be judged by how near it does.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from gencore import SGD, Adam, Model, ModelConfig
from gencore.config import check
from gencore.nn.conv import check_image_shape, conv_decoder, conv_encoder
from gencore.nn.dense import mlp
from gencore.noise import NoiseSource
from gencore.optimizers import OptimizerConfig


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlayersConfig(ModelConfig):
    """`data_shape`: (1,) plays the Dirac-GAN, which has no sizes; vectors get multi-layer perceptrons, images
    convolutional networks. `latent_dim` is 64 unless said, `width` 32: channels at half the image's size, or a quarter
    of the perceptrons' hidden width."""

    data_shape: tuple[int, ...] = (1,)
    latent_dim: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        shape = self.data_shape
        check(len(shape) in (1, 3) and min(shape) > 0, "data_shape", shape, "(numbers,) or (channels, size, size)")
        if len(shape) == 3:
            check_image_shape(shape)
        for name in ("latent_dim", "width"):
            size = getattr(self, name)
            fits = size is None or (size > 0 and not self.is_point)
            check(fits, name, size, "a positive integer, and none with data_shape (1,), the Dirac-GAN")

    @property
    def is_point(self) -> bool:
        """Whether this is the Dirac-GAN."""
        return self.data_shape == (1,)

    @property
    def code_size(self) -> int:
        """Numbers in a code; the Dirac-GAN's single one goes unused."""
        return 1 if self.is_point else self.latent_dim or 64


class Point(nn.Module):
    """G(z) = theta."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.ones(1))

    def forward(self, z: Tensor) -> Tensor:
        """z (N, 1), unused -> (N, 1)."""
        return self.theta.expand(len(z), 1)


class Slope(nn.Module):
    """D(x) = psi x."""

    def __init__(self) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, 1) -> (N, 1)."""
        return self.psi * x


class PlayersGAN(Model):
    """Generator and critic by the shape of the data; no batch normalisation, so that each example is judged alone."""

    config_class = PlayersConfig
    config: PlayersConfig
    regions = ("generator", "critic")

    def __init__(self, config: PlayersConfig) -> None:
        super().__init__(config)
        shape, code, width = config.data_shape, config.code_size, config.width or 32
        self.generator: nn.Module
        self.critic: nn.Module
        if config.is_point:
            self.generator, self.critic = Point(), Slope()
        elif len(shape) == 1:
            self.generator = mlp((code, 4 * width, 4 * width, shape[0]))
            self.critic = mlp((shape[0], 4 * width, 4 * width, 1))
        else:
            decoder = conv_decoder(shape, width=width, inputs=code)
            self.generator = nn.Sequential(decoder, nn.Flatten(1, 2), nn.Tanh())
            self.critic = conv_encoder(shape, width=width, outputs=1)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, code_size) -> data (N, *data_shape), images in [-1, 1]."""
        return self.generator(z)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) logits, larger for real."""
        judged: Tensor = self.critic(x)
        return judged.squeeze(1)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, code_size)."""
        return noise.normal(self.config.code_size)


def optimizer_of(config: PlayersConfig, learning_rate: float | None) -> OptimizerConfig:
    """Gradient descent of rate 0.1 on the Dirac-GAN, as its analysis has it; else Adam of rate 5e-4, beta1 = 0.5."""
    if config.is_point:
        return SGD(learning_rate=0.1 if learning_rate is None else learning_rate)
    return Adam(learning_rate=5e-4 if learning_rate is None else learning_rate, betas=(0.5, 0.999))


def data_of(config: PlayersConfig) -> str:
    """The data that such players are shown on where the user names none."""
    return "dirac" if config.is_point else "digits" if len(config.data_shape) == 3 else "ring"
