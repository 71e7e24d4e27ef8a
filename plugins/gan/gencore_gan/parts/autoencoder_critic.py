"""A critic that is an autoencoder: how badly it rebuilds an image says how unlike the data the image is.

EBGAN (Zhao, Mathieu & LeCun 2017, arXiv:1609.03126, figure 1) and BEGAN (Berthelot, Schumm & Metz 2017,
arXiv:1703.10717, figure 1) differ in the measure of the difference.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from gencore import Model, ModelConfig
from gencore.config import check
from gencore.nn.conv import check_image_shape, conv_decoder, conv_encoder
from gencore.noise import NoiseSource


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderGANConfig(ModelConfig):
    """Square images of 4, 8, 16, ... pixels. `width`: channels at half the image's size, doubled at each halving.

    `latent_dim`: numbers of z; `code_dim`: numbers between the critic's encoder and decoder.
    """

    data_shape: tuple[int, int, int] = (1, 8, 8)
    latent_dim: int = 16
    code_dim: int = 16
    width: int = 32

    def __post_init__(self) -> None:
        check(self.data_shape[0] > 0, "data_shape", self.data_shape, "at least one channel")
        check_image_shape(self.data_shape)
        for name in ("latent_dim", "code_dim", "width"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive integer")


class AutoencoderCritic(nn.Module):
    """Convolutions to a code and back."""

    def __init__(self, config: AutoencoderGANConfig) -> None:
        super().__init__()
        self.encoder = conv_encoder(config.data_shape, width=config.width, outputs=config.code_dim)
        self.decoder = image_decoder(config, config.code_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> the same, rebuilt."""
        return self.decoder(self.encoder(x))


def image_decoder(config: AutoencoderGANConfig, inputs: int) -> nn.Sequential:
    """Codes (N, inputs) -> images (N, C, H, W) in [-1, 1]."""
    return nn.Sequential(
        conv_decoder(config.data_shape, width=config.width, inputs=inputs), nn.Flatten(1, 2), nn.Tanh()
    )


class AutoencoderGAN(Model):
    """Abstract: a decoder as generator, an autoencoder as critic. A subclass judges by what it rebuilds."""

    config_class = AutoencoderGANConfig
    regions = ("generator", "critic.encoder", "critic.decoder")
    config: AutoencoderGANConfig

    def __init__(self, config: AutoencoderGANConfig) -> None:
        super().__init__(config)
        self.generator = image_decoder(config, config.latent_dim)
        self.critic = AutoencoderCritic(config)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> images (N, *data_shape) in [-1, 1]."""
        return self.generator(z)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Images (N, *data_shape) -> what the critic's autoencoder makes of them."""
        return self.critic(x)

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z uniform in [-1, 1), (n, latent_dim)."""
        return 2 * noise.uniform(self.config.latent_dim) - 1
