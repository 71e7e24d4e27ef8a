"""Denoising autoencoder (Vincent, Larochelle, Bengio & Manzagol 2008, "Extracting and composing robust features with
denoising autoencoders", ICML; Vincent et al. 2010, JMLR 11).

    E_x E_{x~ ~ c(. | x)} ||x - g(f(x~))||^2
The input is corrupted, the target is the clean x. With Gaussian noise the best r = g o f is the posterior mean, and it
knows the score (Vincent 2011; Alain & Bengio 2013, arXiv:1211.4246):
    r(x~) = E[x | x~] = x~ + sigma^2 grad log p_sigma(x~)
so that on N(0, S) the best linear r is S (S + sigma^2 I)^-1.

Deviations: masked numbers become -1 for images in [-1, 1] (the paper's 0, black); trained as a whole, not stacked.
"""

from __future__ import annotations

from gencore import Adam, Paper, Recipe, SystemSpec
from gencore_ae.parts.corruption import Corruption, corruption
from gencore_ae.parts.losses import Error
from gencore_ae.parts.networks import DenseAutoencoder, DenseAutoencoderConfig
from gencore_ae.parts.reconstruction import Reconstruction, cosine, judged_by, one_phase

SYSTEM = SystemSpec(
    name="denoising-autoencoder",
    summary="Rebuilds clean data from corrupted data; knows the score",
    paper=Paper(
        title="Extracting and Composing Robust Features with Denoising Autoencoders",
        authors="Vincent et al.",
        year=2008,
    ),
    model="DenseAutoencoder",
    recipe="denoising_autoencoder",
    roles=("encoder", "generator"),
    traits=("reconstruct",),
    claims=("compiles",),
    tiny={"data_shape": (1, 8, 8), "code_dim": 4, "batch_size": 8, "hidden": (16,)},
)


def denoising_autoencoder(
    *,
    config: DenseAutoencoderConfig = DenseAutoencoderConfig(data_shape=(1, 8, 8), code_dim=32, hidden=(256,)),
    steps: int = 3000,
    batch_size: int = 128,
    noise: Corruption = "gaussian",
    level: float = 0.5,
    error: Error = "squared",
    learning_rate: float = 1e-3,
) -> Recipe:
    """`level`: the noise's standard deviation, or the share of numbers that are hit."""
    return Recipe(
        name="denoising-autoencoder",
        model=DenseAutoencoder,
        config=judged_by(error, config),
        stages=one_phase(
            Reconstruction(error=error, corrupt=corruption(noise, level)),
            Adam(learning_rate=learning_rate),
            steps=steps,
            schedule=cosine(steps),
        ),
        batch_size=batch_size,
    )
