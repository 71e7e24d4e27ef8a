"""SN-GAN: every layer of the critic is 1-Lipschitz (Miyato et al. 2018, "Spectral Normalization for Generative
Adversarial Networks", arXiv:1802.05957).

Each weight of the critic is divided by its largest singular value, estimated by one round of the power iteration a step
(Algorithm 1; `gencore_gan.parts.spectral`). With D the critic's score:
    critic      E_x [1 - D(x)]+ + E_z [1 + D(G(z))]+                                             (equation 16)
    generator  -E_z D(G(z))                                                             (equation 17)
Adam with betas (0, 0.9), as in the paper's experiments with residual networks (setting C of table 1 has 5 critic steps;
`critic_steps`). Critic: 3 x 3 and 4 x 4 convolutions in pairs, of stride 1 and 2, LeakyReLU(0.1), then a linear layer
(table 3); generator: a linear layer, transposed convolutions of 4 x 4 with batch normalisation and ReLU (table 3).

A spectral norm of a convolution's weight as the matrix (outputs, inputs x 4 x 4) bounds the convolution's own norm only
up to a factor of the kernel's size, as in the paper.

Deviations: `width` and the depth follow the image; rate 5e-4 where the paper has 2e-4, for small images; an average of
the generator's weights is what is sampled (a decay of 0.99; 0 switches it off).
"""

from __future__ import annotations

import dataclasses

from einops import rearrange
from torch import Tensor, nn

from gencore import Adam, Model, ModelConfig, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import hinge
from gencore.adversarial.objective import Adversarial, generator_average, two_players
from gencore.config import check
from gencore.noise import NoiseSource
from gencore_gan.parts.networks import ConvGANConfig, conv_generator
from gencore_gan.parts.spectral import SpectralConv2d, SpectralLinear, iterate

SYSTEM = SystemSpec(
    name="sn-gan",
    summary="Every weight of the critic divided by its largest singular value; hinge losses",
    paper=Paper(
        title="Spectral Normalization for Generative Adversarial Networks",
        authors="Miyato et al.",
        year=2018,
        arxiv="1802.05957",
    ),
    model="SNGAN",
    recipe="sn_gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "width": 8, "batch_size": 8},
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SNGANConfig(ModelConfig):
    """Square images of 8, 16, 32, ... pixels. `width`: channels at half the image's size, doubled at each halving."""

    data_shape: tuple[int, int, int] = (1, 8, 8)
    latent_dim: int = 64
    width: int = 32

    def __post_init__(self) -> None:
        check(self.width > 0, "width", self.width, "a positive integer")
        _ = self.networks

    @property
    def networks(self) -> ConvGANConfig:
        """What the family's generator needs to know."""
        return ConvGANConfig(data_shape=self.data_shape, latent_dim=self.latent_dim, width=self.width)


def spectral_critic(config: ConvGANConfig) -> nn.Sequential:
    """Images (N, *data_shape) -> (N, 1)."""
    layers: list[nn.Module] = []
    channels = config.data_shape[0]
    for following in config.channels:
        layers += [SpectralConv2d(channels, following, 3, 1, 1), nn.LeakyReLU(0.1, inplace=True)]
        layers += [SpectralConv2d(following, following, 4, 2, 1), nn.LeakyReLU(0.1, inplace=True)]
        channels = following
    return nn.Sequential(*layers, nn.Flatten(), SpectralLinear(channels * 16, 1))


class SNGAN(Model):
    """The family's convolutional generator against a spectrally normalised critic."""

    config_class = SNGANConfig
    regions = ("generator", "critic")
    config: SNGANConfig

    def __init__(self, config: SNGANConfig) -> None:
        super().__init__(config)
        self.generator = conv_generator(config.networks)
        self.critic = spectral_critic(config.networks)

    def generate(self, z: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) -> images (N, *data_shape) in [-1, 1]."""
        return self.generator(rearrange(z, "n d -> n d 1 1"))

    def judge(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """Images (N, *data_shape) -> (N,) scores, larger for real."""
        return rearrange(self.critic(x), "n 1 -> n")

    def draw_prior(self, noise: NoiseSource) -> Tensor:
        """z ~ N(0, 1), (n, latent_dim)."""
        return noise.normal(self.config.latent_dim)


def iterate_critic(model: SNGAN) -> None:
    """One round of the power iteration in the critic."""
    iterate(model.critic)


def sn_gan(
    *,
    config: SNGANConfig = SNGANConfig(),
    steps: int = 4000,
    batch_size: int = 64,
    critic_steps: int = 1,
    learning_rate: float = 5e-4,
    ema_decay: float = 0.99,
) -> Recipe:
    """`critic_steps`: the paper's n_dis."""
    objective = Adversarial(hinge, after_critic=iterate_critic)
    optimizer = Adam(learning_rate=learning_rate, betas=(0.0, 0.9))
    return Recipe(
        name="sn-gan",
        model=SNGAN,
        config=config,
        stages=two_players(objective, optimizer, steps=steps, critic_steps=critic_steps),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
