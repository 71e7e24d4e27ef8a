"""The VAE of binary images (Kingma & Welling 2014, arXiv:1312.6114, appendix C.1).

    log p(x | z) = sum_d b_d log r_d + (1 - b_d) log(1 - r_d),  r = sigmoid(f(z)),  b = (x + 1) / 2 in {0, 1}
Images are made binary anew at every step ("dynamic") or by a threshold: gencore_vae.parts.binary.

Deviations: as gencore_vae.vae.
"""

from __future__ import annotations

from gencore import Paper, Recipe, SystemSpec
from gencore.config import check
from gencore_vae.parts.binary import Binarization
from gencore_vae.parts.networks import VAEConfig
from gencore_vae.vae import VAE, VariationalBound, one_player

SYSTEM = SystemSpec(
    name="bernoulli-vae",
    summary="A VAE of binary images, binarised anew at every step or once",
    paper=Paper(
        title="Auto-Encoding Variational Bayes",
        authors="Kingma & Welling",
        year=2014,
        arxiv="1312.6114",
    ),
    model="VAE",
    recipe="bernoulli_vae",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct", "bound"),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "hidden": (16,), "batch_size": 8},
)


def bernoulli_vae(
    *,
    config: VAEConfig = VAEConfig(data_shape=(1, 8, 8), likelihood="bernoulli"),
    steps: int = 4000,
    batch_size: int = 64,
    binarization: Binarization = "dynamic",
    learning_rate: float = 1e-3,
) -> Recipe:
    """`binarization`: "dynamic", "threshold", or "none" for data that are binary already."""
    check(config.likelihood == "bernoulli", "likelihood", config.likelihood, '"bernoulli"; see also vae')
    objective = VariationalBound(binarization=binarization)
    return Recipe(
        name="bernoulli-vae",
        model=VAE,
        config=config,
        stages=one_player(objective, steps=steps, learning_rate=learning_rate, parts=("encoder", "decoder")),
        batch_size=batch_size,
    )
