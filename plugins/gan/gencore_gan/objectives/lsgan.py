"""LSGAN (Mao et al. 2017, "Least Squares Generative Adversarial Networks", arXiv:1611.04076, equation 2).

    critic     1/2 E_x (D(x) - b)^2 + 1/2 E_z (D(G(z)) - a)^2
    generator  1/2 E_z (D(G(z)) - c)^2
(a, b, c) = (0, 1, 1) is the usual coding (equation 9); (-1, 1, 0) minimises a Pearson chi^2 divergence (equation 8).
The optimal critic is (b p(x) + a q(x)) / (p(x) + q(x)), with p the data's density and q the generator's (equation 5).

Deviations: the family's ConvGAN instead of the paper's deeper networks; weights averaged as in
`gencore_gan.architectures.dcgan`.
"""

from __future__ import annotations

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import least_squares
from gencore.adversarial.objective import Adversarial, generator_average, two_players
from gencore_gan.parts.networks import network

SYSTEM = SystemSpec(
    name="lsgan",
    summary="Least-squares losses instead of the sigmoid's",
    paper=Paper(
        title="Least Squares Generative Adversarial Networks",
        authors="Mao et al.",
        year=2017,
        arxiv="1611.04076",
    ),
    model="gencore_gan.parts.networks:ConvGAN",
    recipe="lsgan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "width": 8, "batch_size": 8},
)


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
