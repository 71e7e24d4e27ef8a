"""Networks of class-conditional GANs: a generator that takes the class beside z, and a trunk that critics put heads on.

The class goes in as a one-hot vector behind z (Mirza & Osindero 2014, arXiv:1411.1784, section 3.2).
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from gencore import Model, ModelConfig
from gencore.conditions import ClassLabel, Condition
from gencore.config import check
from gencore.errors import GencoreError
from gencore.nn.dense import mlp
from gencore.nn.labels import one_hot
from gencore.noise import NoiseSource
from gencore_gan.parts.networks import ConvGANConfig, conv_critic, conv_generator


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LabelledGANConfig(ModelConfig):
    """`network`: "dense", `hidden` wide, for images and vectors; "conv", `width` channels at half the image's size."""

    data_shape: tuple[int, ...] = (1, 8, 8)
    num_classes: int = 10
    latent_dim: int = 32
    network: Literal["dense", "conv"] = "dense"
    hidden: tuple[int, ...] = (256, 256)
    width: int = 32

    def __post_init__(self) -> None:
        shape = self.data_shape
        check(bool(shape) and min(shape) > 0, "data_shape", shape, "positive sizes")
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2: data with labels")
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(bool(self.hidden) and min(self.hidden) > 0, "hidden", self.hidden, "positive widths")
        check(self.width > 0, "width", self.width, "a positive integer")
        if self.network == "conv":
            check(len(shape) == 3, "data_shape", shape, '(channels, size, size) for network "conv"')
            self.convolutional(self.latent_dim)

    def convolutional(self, latent_dim: int) -> ConvGANConfig:
        """The convolutional networks' config, for so many numbers that go into the generator."""
        channels, height, width = self.data_shape
        return ConvGANConfig(data_shape=(channels, height, width), latent_dim=latent_dim, width=self.width)

    @property
    def trunk_dim(self) -> int:
        """Features that the critic's trunk gives."""
        return self.hidden[-1] if self.network == "dense" else self.convolutional(1).channels[-1] * 16


def make_generator(config: LabelledGANConfig, inputs: int) -> nn.Sequential:
    """(N, inputs) -> data (N, *data_shape): images in [-1, 1], vectors of any size."""
    if config.network == "conv":
        return nn.Sequential(nn.Unflatten(1, (inputs, 1, 1)), conv_generator(config.convolutional(inputs)))
    squash = nn.Tanh() if len(config.data_shape) == 3 else nn.Identity()
    widths = (inputs, *config.hidden, math.prod(config.data_shape))
    return nn.Sequential(mlp(widths), nn.Unflatten(1, config.data_shape), squash)


def make_trunk(config: LabelledGANConfig) -> nn.Sequential:
    """Data (N, *data_shape) -> features (N, trunk_dim), from which a linear head judges."""
    if config.network == "conv":
        *extract, _ = conv_critic(config.convolutional(1)).children()
        return nn.Sequential(*extract, nn.Flatten())
    return nn.Sequential(nn.Flatten(), mlp((math.prod(config.data_shape), *config.hidden)), nn.LeakyReLU(0.2))


class ClassHeads(nn.Module):
    """A trunk with a head that judges and one that names the class."""

    def __init__(self, config: LabelledGANConfig) -> None:
        super().__init__()
        self.trunk = make_trunk(config)
        self.real = nn.Linear(config.trunk_dim, 1)
        self.classes = nn.Linear(config.trunk_dim, config.num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, *data_shape) -> logits (N,), larger for real, and class logits (N, num_classes)."""
        features = self.trunk(x)
        return rearrange(self.real(features), "n 1 -> n"), self.classes(features)


class LabelledGenerator(Model):
    """Base: `generator` takes (z, class); a subclass adds its critic."""

    config_class = LabelledGANConfig
    config: LabelledGANConfig
    regions: ClassVar[tuple[str, ...]] = ("generator", "critic")

    def __init__(self, config: LabelledGANConfig) -> None:
        super().__init__(config)
        self.generator = make_generator(config, config.latent_dim + config.num_classes)

    @property
    def condition(self) -> Condition:
        """The class that is drawn."""
        return ClassLabel(count=self.config.num_classes)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim), classes (N,) -> data (N, *data_shape). Raises GencoreError without classes."""
        if condition is None:
            raise GencoreError(f"{type(self).__name__} draws the class that it is told: give condition=...")
        return self.generator(torch.cat([z, one_hot(condition, self.config.num_classes, z)], 1))


class ClassHeadGAN(LabelledGenerator):
    """A critic that also names the class (Odena, Olah & Shlens 2017, arXiv:1610.09585)."""

    def __init__(self, config: LabelledGANConfig) -> None:
        super().__init__(config)
        self.critic = ClassHeads(config)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) logits, larger for real, whatever the class."""
        return self.critic(x)[0]

    def classify(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) -> the likeliest class of each, (N,) int64."""
        return self.critic(x)[1].argmax(1)
