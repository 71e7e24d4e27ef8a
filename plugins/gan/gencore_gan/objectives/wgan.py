"""WGAN (Arjovsky, Chintala & Bottou 2017, "Wasserstein GAN", arXiv:1701.07875, Algorithm 1).

With D the critic's score:
    critic     E_z D(G(z)) - E_x D(x)      minus W1, up to the critic's unknown Lipschitz constant
    generator -E_z D(G(z))
After each of its steps the critic's weights are clipped to [-c, c]. RMSProp with rate 5e-5, 5 critic steps, c = 0.01.
The estimate is W1 only up to scale: clipping bounds the slope by an unknown constant.

Deviations: none in the algorithm; images go through the family's ConvGAN, its critic without normalisation.
"""

from __future__ import annotations

import functools

import torch

from gencore import Model, Paper, Recipe, RMSprop, SystemSpec
from gencore.adversarial.losses import wasserstein
from gencore.adversarial.objective import Adversarial, two_players
from gencore.model import parameters_of
from gencore_gan.parts.networks import network

SYSTEM = SystemSpec(
    name="wgan",
    summary="Wasserstein distance, critic's weights clipped",
    paper=Paper(
        title="Wasserstein GAN",
        authors="Arjovsky, Chintala & Bottou",
        year=2017,
        arxiv="1701.07875",
    ),
    model="gencore_gan.parts.networks:ConvGAN",
    recipe="wgan",
    roles=("generator", "critic", "sampler"),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 8, "width": 8, "batch_size": 8},
)


@torch.no_grad()
def clip_weights(model: Model, limit: float) -> None:
    """Clamp every parameter of the critic to [-limit, limit]."""
    for parameter in parameters_of(model, ("critic",)):
        parameter.clamp_(-limit, limit)


def wgan(
    *,
    data_shape: tuple[int, ...] = (1, 8, 8),
    steps: int = 4000,
    batch_size: int = 64,
    latent_dim: int = 64,
    width: int = 32,
    critic_steps: int = 5,
    weight_clip: float = 0.01,
    learning_rate: float = 5e-5,
) -> Recipe:
    """`weight_clip`: the paper's c."""
    model, config = network(data_shape, latent_dim=latent_dim, width=width, critic_norm="none")
    optimizer = RMSprop(learning_rate=learning_rate)
    objective = Adversarial(wasserstein, after_critic=functools.partial(clip_weights, limit=weight_clip))
    return Recipe(
        name="wgan",
        model=model,
        config=config,
        stages=two_players(objective, optimizer, steps=steps, critic_steps=critic_steps),
        batch_size=batch_size,
    )
