"""LSGAN (Mao et al. 2017, "Least Squares Generative Adversarial Networks", arXiv:1611.04076, equation 2).

    critic     1/2 E_x (D(x) - b)^2 + 1/2 E_z (D(G(z)) - a)^2
    generator  1/2 E_z (D(G(z)) - c)^2
(a, b, c) = (0, 1, 1) is the usual coding (equation 9); (-1, 1, 0) minimises a Pearson chi^2 divergence (equation 8).
The optimal critic is (b p(x) + a q(x)) / (p(x) + q(x)), with p the data's density and q the generator's (equation 5).

Deviations: the family's ConvGAN instead of the paper's deeper networks; weights averaged as in `gencore_gan.dcgan`.
"""

from __future__ import annotations

from torch import Tensor

from gencore import Adam, Recipe
from gencore_gan.adversarial import Adversarial, AdversarialLosses, generator_average, two_players
from gencore_gan.networks import network


def least_squares(coding: tuple[float, float, float] = (0.0, 1.0, 1.0)) -> AdversarialLosses:
    """The two losses for a coding (a, b, c)."""
    a, b, c = coding

    def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * (real - b).square().mean() + 0.5 * (fake - a).square().mean()

    def generator_loss(fake: Tensor) -> Tensor:
        return 0.5 * (fake - c).square().mean()

    return AdversarialLosses(critic_loss, generator_loss)


def lsgan(
    *,
    data_shape: tuple[int, ...] = (1, 8, 8),
    steps: int = 4000,
    batch_size: int = 64,
    latent_dim: int = 64,
    width: int = 32,
    coding: tuple[float, float, float] = (0.0, 1.0, 1.0),
    learning_rate: float = 2e-4,
    ema_decay: float = 0.99,
) -> Recipe:
    """`coding`: the paper's (a, b, c)."""
    model, config = network(data_shape, latent_dim=latent_dim, width=width, critic_norm="batch")
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    return Recipe(
        name="lsgan",
        model=model,
        config=config,
        stages=two_players(Adversarial(least_squares(coding)), optimizer, steps=steps),
        batch_size=batch_size,
        ema=generator_average(ema_decay),
    )
