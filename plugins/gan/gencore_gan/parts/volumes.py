"""Networks for solid shapes on cubic grids: three-dimensional convolutions of 4 and stride 2 to an eighth of the volume
twice, and back (Wu et al. 2016, arXiv:1610.07584, section 3.1, whose grids of 64 are halved four times)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from einops import rearrange
from torch import Tensor, nn

from gencore import Model, ModelConfig
from gencore.config import check
from gencore.noise import NoiseSource

HALVINGS = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VolumeGANConfig(ModelConfig):
    """`data_shape`: (channels, size, size, size), sizes that 4 divides. `width`: channels at half the size."""

    data_shape: tuple[int, ...] = (1, 12, 12, 12)
    latent_dim: int = 64
    width: int = 16

    def __post_init__(self) -> None:
        shape = self.data_shape
        cubic = len(shape) == 4 and min(shape) > 0 and shape[1] == shape[2] == shape[3]
        whole = cubic and shape[1] % 2**HALVINGS == 0
        check(whole, "data_shape", shape, "(channels, size, size, size) with a size that 4 divides")
        check(self.latent_dim > 0, "latent_dim", self.latent_dim, "a positive integer")
        check(self.width > 0, "width", self.width, "a positive integer")


def volume_generator(config: VolumeGANConfig) -> nn.Sequential:
    """z (N, latent_dim) -> occupancies (N, *data_shape) in [0, 1], with batch normalisation."""
    channels, size = config.data_shape[0], config.data_shape[1] >> HALVINGS
    wide = 2**HALVINGS * config.width
    return nn.Sequential(
        nn.Linear(config.latent_dim, wide * size**3),
        nn.Unflatten(1, (wide, size, size, size)),
        nn.BatchNorm3d(wide),
        nn.ReLU(),
        nn.ConvTranspose3d(wide, config.width, 4, 2, 1),
        nn.BatchNorm3d(config.width),
        nn.ReLU(),
        nn.ConvTranspose3d(config.width, channels, 4, 2, 1),
        nn.Sigmoid(),
    )


def volume_critic(config: VolumeGANConfig) -> nn.Sequential:
    """Occupancies (N, *data_shape) -> logits (N, 1)."""
    channels, size = config.data_shape[0], config.data_shape[1] >> HALVINGS
    wide = 2**HALVINGS * config.width
    return nn.Sequential(
        nn.Conv3d(channels, config.width, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv3d(config.width, wide, 4, 2, 1),
        nn.BatchNorm3d(wide),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Flatten(),
        nn.Linear(wide * size**3, 1),
    )


class VolumeGAN(Model):
    """A generator and a critic of solid shapes."""

    config_class = VolumeGANConfig
    config: VolumeGANConfig
    regions: ClassVar[tuple[str, ...]] = ("generator", "critic")

    def __init__(self, config: VolumeGANConfig) -> None:
        super().__init__(config)
        self.generator = volume_generator(config)
        self.critic = volume_critic(config)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> occupancies (N, *data_shape) in [0, 1]."""
        return self.generator(z)

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Occupancies (N, *data_shape) -> (N,) logits, larger for real."""
        return rearrange(self.critic(x), "n 1 -> n")

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ U[0, 1], (n, latent_dim)."""
        return noise.uniform(self.config.latent_dim)
