"""The convolutional VAE: gencore_vae.vae on the networks of DCGAN (Radford, Metz & Chintala 2016, arXiv:1511.06434).

The bound is that of Kingma & Welling 2014. A small decoder_std asks for sharp images and spends more nats on z.

Deviations from DCGAN's networks: no batch normalisation (gencore_vae.parts.networks), a linear output, a dense layer
next to the latent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gencore import Paper, Recipe, SystemSpec
from gencore_vae.parts.networks import VAEConfig
from gencore_vae.vae import VAE, VariationalBound, one_player

SYSTEM = SystemSpec(
    name="conv-vae",
    summary="A VAE on strided convolutions; Gaussian or Bernoulli decoder",
    paper=Paper(
        title="Auto-Encoding Variational Bayes",
        authors="Kingma & Welling",
        year=2014,
        arxiv="1312.6114",
    ),
    model="VAE",
    recipe="conv_vae",
    sized="sized",
    roles=("encoder", "generator", "sampler"),
    traits=("reconstruct", "bound"),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "latent_dim": 3, "width": 4, "batch_size": 8},
)


def sized(data_shape: tuple[int, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """From 4096 numbers an example on (64 x 64 pixels, or 37 x 37 in colour) 64 latents, and 16 channels at half the
    size (at 64 pixels eight minutes)."""
    return {"latent_dim": 64, "width": 16} if math.prod(data_shape) >= 4096 else {}


def conv_vae(
    *,
    config: VAEConfig = VAEConfig(data_shape=(1, 8, 8), latent_dim=16, network="conv"),
    steps: int = 4000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
) -> Recipe:
    """A "bernoulli" likelihood draws the pixels at every step."""
    objective = VariationalBound(binarization="dynamic" if config.likelihood == "bernoulli" else "none")
    return Recipe(
        name="conv-vae",
        model=VAE,
        config=config,
        stages=one_player(objective, steps=steps, learning_rate=learning_rate, parts=("encoder", "decoder")),
        batch_size=batch_size,
    )
