"""WGAN-GP: a 1-Lipschitz critic by gradient penalty (Gulrajani et al. 2017, "Improved Training of Wasserstein GANs",
arXiv:1704.00028, Algorithm 1).

    critic     E_z D(G(z)) - E_x D(x) + weight E_u (||grad_u D(u)|| - 1)^2,  u = t x + (1 - t) G(z), t ~ U[0, 1]
    generator -E_z D(G(z))
Weight 10, 5 critic steps, Adam with rate 1e-4 and betas (0, 0.9), no batch normalisation in the critic (section 4),
since the penalty is on each input's own gradient; layer normalisation instead.

Deviations: none in the algorithm; images go through the family's ConvGAN.
"""

from __future__ import annotations

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore.adversarial.losses import wasserstein
from gencore.adversarial.objective import Adversarial, two_players
from gencore.adversarial.penalties import GradientPenalty
from gencore_gan.parts.networks import network

SYSTEM = SystemSpec(
    name="wgan-gp",
    summary="Wasserstein distance, critic held 1-Lipschitz by a gradient penalty",
    paper=Paper(
        title="Improved Training of Wasserstein GANs",
        authors="Gulrajani et al.",
        year=2017,
        arxiv="1704.00028",
    ),
    model="gencore_gan.parts.networks:ConvGAN",
    recipe="wgan_gp",
    roles=("generator", "critic", "sampler"),
    claims=("compiles", "twice-differentiable"),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "width": 8, "batch_size": 8},
)


def wgan_gp(
    *,
    data_shape: tuple[int, ...] = (1, 8, 8),
    steps: int = 4000,
    batch_size: int = 64,
    latent_dim: int = 64,
    width: int = 32,
    critic_steps: int = 5,
    gradient_penalty: float = 10.0,
    learning_rate: float = 1e-4,
) -> Recipe:
    """`gradient_penalty`: the paper's lambda."""
    model, config = network(data_shape, latent_dim=latent_dim, width=width, critic_norm="layer")
    optimizer = Adam(learning_rate=learning_rate, betas=(0.0, 0.9))
    objective = Adversarial(wasserstein, penalties=(GradientPenalty(weight=gradient_penalty),))
    return Recipe(
        name="wgan-gp",
        model=model,
        config=config,
        stages=two_players(objective, optimizer, steps=steps, critic_steps=critic_steps),
        batch_size=batch_size,
    )
