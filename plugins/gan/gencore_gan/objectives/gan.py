"""GAN: the two-player game (Goodfellow et al. 2014, "Generative Adversarial Nets", arXiv:1406.2661, Algorithm 1).

With D the critic's logit, s the sigmoid and sp(u) = log(1 + exp(u)):
    critic                      E_x sp(-D(x)) + E_z sp(D(G(z)))        = -E log s(D) - E log(1 - s(D))   (equation 1)
    generator, minimax         -E_z sp(D(G(z)))                        = E log(1 - s(D))                 (equation 1)
    generator, non-saturating   E_z sp(-D(G(z)))                       = -E log s(D)                     (section 3)
Non-saturating is another loss, not another form of the same game: the fixed point agrees, the dynamics do not.

Deviations: LeakyReLU networks where the paper has maxout and dropout; Adam where it has momentum; inputs in [-1, 1].
"""

from __future__ import annotations

from typing import Literal

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import minimax, non_saturating
from gencore.adversarial.objective import Adversarial, two_players
from gencore_gan.parts.networks import DenseGAN, DenseGANConfig

SYSTEM = SystemSpec(
    name="gan",
    summary="The two-player game on fully connected networks; minimax or non-saturating",
    paper=Paper(
        title="Generative Adversarial Nets",
        authors="Goodfellow et al.",
        year=2014,
        arxiv="1406.2661",
    ),
    model="DenseGAN",
    recipe="gan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "hidden": (32,), "batch_size": 8},
)


def gan(
    *,
    data_shape: tuple[int, ...] = (1, 8, 8),
    steps: int = 10_000,
    batch_size: int = 64,
    latent_dim: int = 64,
    hidden: tuple[int, ...] = (256, 256),
    generator_loss: Literal["non-saturating", "minimax"] = "non-saturating",
    critic_steps: int = 1,
    learning_rate: float = 2e-4,
) -> Recipe:
    """The paper's k is `critic_steps`."""
    optimizer = Adam(learning_rate=learning_rate, betas=(0.5, 0.999))
    objective = Adversarial({"non-saturating": non_saturating, "minimax": minimax}[generator_loss])
    return Recipe(
        name="gan",
        model=DenseGAN,
        config=DenseGANConfig(
            data_shape=data_shape,
            latent_dim=latent_dim,
            hidden=hidden,
            output="tanh" if len(data_shape) == 3 else "linear",
        ),
        stages=two_players(objective, optimizer, steps=steps, critic_steps=critic_steps),
        batch_size=batch_size,
    )
