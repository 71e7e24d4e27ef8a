"""beta-VAE (Higgins et al. 2017, "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework",
ICLR 2017, equation 4).

    maximise E_q(z|x) log p(x | z) - beta KL(q(z | x) || N(0, I))
beta > 1 spends fewer nats on z and so pushes single latents towards single factors; beta = 1 is the VAE. The KL is in
nats an example and the likelihood sums over pixels, so beta is the paper's beta (not its beta_norm).

Deviations: dense networks of two layers; binary images unless `binarization` is "none"; beta = 2 by default, since with
4, the paper's least, digits of 8 x 8 pixels that are drawn anew at every step leave no latent in use.
"""

from __future__ import annotations

from gencore import Paper, Recipe, SystemSpec
from gencore_vae.parts.binary import Binarization, check_binarized
from gencore_vae.parts.networks import VAEConfig
from gencore_vae.vae import VAE, VariationalBound, one_player

SYSTEM = SystemSpec(
    name="beta-vae",
    summary="The KL weighted by beta, so that single latents follow single factors",
    paper=Paper(
        title="beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework",
        authors="Higgins et al.",
        year=2017,
    ),
    model="VAE",
    recipe="beta_vae",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct", "bound"),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8},
)


def beta_vae(
    *,
    config: VAEConfig = VAEConfig(data_shape=(1, 8, 8), likelihood="bernoulli"),
    steps: int = 4000,
    batch_size: int = 64,
    beta: float = 2.0,
    binarization: Binarization = "dynamic",
    learning_rate: float = 1e-3,
) -> Recipe:
    """`beta`: the weight of the KL."""
    check_binarized(config.likelihood, binarization)
    objective = VariationalBound(beta=beta, binarization=binarization)
    return Recipe(
        name="beta-vae",
        model=VAE,
        config=config,
        stages=one_player(objective, steps=steps, learning_rate=learning_rate, parts=("encoder", "decoder")),
        batch_size=batch_size,
    )
