"""The family's networks: a generator and a critic, fully connected or all-convolutional.

ConvGAN follows Radford, Metz & Chintala 2016 (arXiv:1511.06434), section 3: strided convolutions instead of pooling,
no fully connected hidden layers, ReLU and a final tanh in the generator, LeakyReLU(0.2) in the critic, normalisation
everywhere but at the generator's output and the critic's input, weights from N(0, 0.02^2).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from einops import rearrange
from torch import Tensor, nn

from gencore import Model, ModelConfig
from gencore.config import check
from gencore.nn.dense import mlp
from gencore.noise import NoiseSource

Norm = Literal["batch", "layer", "none"]
BatchView = Literal["none", "discrimination", "stddev"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DenseGANConfig(ModelConfig):
    """Data of any shape, flattened. `output` "tanh" for images in [-1, 1], "linear" for other data; "auto" takes
    "tanh" for shapes (C, H, W) and "linear" for others."""

    data_shape: tuple[int, ...]
    latent_dim: int = 64
    hidden: tuple[int, ...] = (256, 256)
    output: Literal["tanh", "linear", "auto"] = "tanh"

    def __post_init__(self) -> None:
        check(bool(self.data_shape) and min(self.data_shape) > 0, "data_shape", self.data_shape, "positive sizes")
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(bool(self.hidden) and min(self.hidden) > 0, "hidden", self.hidden, "positive widths")
        known = ("tanh", "linear", "auto")
        check(self.output in known, "output", self.output, f"one of {list(known)}")


def dense_generator(config: DenseGANConfig) -> nn.Sequential:
    """z (N, latent_dim) -> data, flattened."""
    squashed = len(config.data_shape) == 3 if config.output == "auto" else config.output == "tanh"
    size = math.prod(config.data_shape)
    return nn.Sequential(mlp((config.latent_dim, *config.hidden, size)), nn.Tanh() if squashed else nn.Identity())


class DenseGAN(Model):
    """Multi-layer perceptrons, as in Goodfellow et al. 2014 (LeakyReLU where the paper has maxout)."""

    config_class = DenseGANConfig
    config: DenseGANConfig
    regions = ("generator", "critic")

    def __init__(self, config: DenseGANConfig) -> None:
        super().__init__(config)
        size = math.prod(config.data_shape)
        self.generator = dense_generator(config)
        self.critic = mlp((size, *config.hidden, 1))

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> data (N, *data_shape)."""
        return self.generator(z).reshape(len(z), *self.config.data_shape)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """x (N, *data_shape) -> (N,) logits or scores, larger for real."""
        return self.critic(x.flatten(1)).squeeze(1)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)


def _without_batch_view(old: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had every critic say what it sees of its batch; improved-gan's alone does."""
    seen = old.pop("batch_view", "none")
    check(seen == "none", "batch_view", seen, "'none' (improved-gan has the others)")
    return old


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConvGANConfig(ModelConfig):
    """Square images of 8, 16, 32, ... pixels. `width`: channels at half the image's size, doubled at each halving."""

    version: ClassVar[int] = 2
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {1: _without_batch_view}

    data_shape: tuple[int, int, int] = (1, 32, 32)
    latent_dim: int = 64
    width: int = 32
    generator_norm: Norm = "batch"
    critic_norm: Norm = "batch"

    def __post_init__(self) -> None:
        _, height, width = self.data_shape
        square = height == width and height >= 8 and math.log2(height).is_integer()
        check(
            square and self.data_shape[0] > 0,
            "data_shape",
            self.data_shape,
            "(channels, size, size) with a size of 8, 16, 32, 64, ...: resize the images (--image-size 32)",
        )
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(self.width > 0, "width", self.width, "a positive integer")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the hidden feature maps, from half the image's size down to 4 x 4."""
        return tuple(self.width * 2**level for level in range(int(math.log2(self.data_shape[1] // 4))))


def _normalise(kind: Norm, channels: int) -> list[nn.Module]:
    """Layer normalisation is over channels and places, as the WGAN-GP paper uses it."""
    if kind == "none":
        return []
    return [nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(1, channels)]


def conv_generator(config: ConvGANConfig) -> nn.Sequential:
    """z (N, latent_dim, 1, 1) -> images, by transposed convolutions of 4 x 4 and stride 2."""
    layers: list[nn.Module] = []
    channels, stride, padding = config.latent_dim, 1, 0
    for following in reversed(config.channels):
        layers += [nn.ConvTranspose2d(channels, following, 4, stride, padding, bias=config.generator_norm == "none")]
        layers += [*_normalise(config.generator_norm, following), nn.ReLU()]
        channels, stride, padding = following, 2, 1
    return nn.Sequential(*layers, nn.ConvTranspose2d(channels, config.data_shape[0], 4, 2, 1), nn.Tanh())


def conv_critic(config: ConvGANConfig, *, batch_view: BatchView = "none") -> nn.Sequential:
    """Images -> (N, 1, 1, 1), by convolutions of 4 x 4 and stride 2; the last layer judges, those before it extract.

    `batch_view`: what the last layer sees of the rest of the batch (gencore.nn.minibatch).
    """
    layers: list[nn.Module] = []
    channels = config.data_shape[0]
    for level, following in enumerate(config.channels):
        norm: Norm = config.critic_norm if level else "none"
        layers += [nn.Conv2d(channels, following, 4, 2, 1, bias=norm == "none")]
        layers += [*_normalise(norm, following), nn.LeakyReLU(0.2, inplace=True)]
        channels = following
    if batch_view != "none":
        view, seen = _batch_view(batch_view, channels)
        return nn.Sequential(*layers, *view, nn.Conv2d(seen, 1, 1 if batch_view == "discrimination" else 4))
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 4))


def _batch_view(batch_view: BatchView, channels: int) -> tuple[list[nn.Module], int]:
    """What lets the critic compare the examples of a batch, and the channels that it leaves. The kernels are imported
    here, since models without such a view load in half the time without them."""
    from gencore.nn.minibatch import MinibatchDiscrimination, MinibatchStddev

    if batch_view == "stddev":
        return [MinibatchStddev()], channels + 1
    similarity = MinibatchDiscrimination(channels * 16)
    return [nn.Flatten(), similarity, nn.Unflatten(1, (-1, 1, 1))], channels * 16 + similarity.kernels


class ConvGAN(Model):
    """All-convolutional generator and critic."""

    config_class = ConvGANConfig
    config: ConvGANConfig
    regions = ("generator", "critic")

    def __init__(self, config: ConvGANConfig) -> None:
        super().__init__(config)
        self.generator = conv_generator(config)
        self.critic = self.new_critic()
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def new_critic(self) -> nn.Sequential:
        """Images -> (N, 1, 1, 1)."""
        return conv_critic(self.config)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> images (N, *data_shape) in [-1, 1]."""
        return self.generator(rearrange(z, "n d -> n d 1 1"))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape) -> (N,) logits or scores, larger for real."""
        return rearrange(self.critic(x), "n 1 1 1 -> n")

    def features(self, x: Tensor) -> Tensor:
        """Images (N, *data_shape) -> what the critic's last layer judges by, (N, ...)."""
        return self.critic[:-1](x)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)


def network(
    data_shape: tuple[int, ...], *, latent_dim: int, width: int, critic_norm: Norm
) -> tuple[type[Model], ModelConfig]:
    """The family's network for data of a shape: ConvGAN for images, DenseGAN (4 `width` wide) for vectors."""
    if len(data_shape) == 3:
        config: ModelConfig = ConvGANConfig(
            data_shape=data_shape, latent_dim=latent_dim, width=width, critic_norm=critic_norm
        )
        return ConvGAN, config
    hidden = (4 * width, 4 * width)
    return DenseGAN, DenseGANConfig(data_shape=data_shape, latent_dim=latent_dim, hidden=hidden, output="linear")
